# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What each quantisation does to the logits, against float32 weights in the same engine.

With 4-bit weights the activations are float32 or int8, and vision is in float or in int8.

    python -m training.quantization_error [--model FOLDER] [--prompts 40] [--tokens 32]

The float32 model answers questions about held-out pictures, greedily. The others read the same
answers token by token, and the logits at every token are compared. Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from itertools import islice, product

import numpy as np

from nanovlm_ros.engine.loader import load
from nanovlm_ros.engine.model import VisionLanguageModel
from nanovlm_ros.mlc.packing import QUANTIZATIONS
from nanovlm_ros.mlc.shape import ACTIVATIONS, FLOAT32, INT8
from nanovlm_ros.models.prompt import Turn
from nanovlm_ros.types import Frame
from training.evaluate import held_out

REFERENCE, FLOAT = 'q0f32', 'float'


@dataclass
class Difference:
    """Of logits (n, vocabulary) to the reference's."""

    max_abs: float
    mean_abs: float
    mean_kl: float   # of the distribution from the reference's, nats
    max_kl: float
    top1: float      # how often the likeliest token is the same, percent

    @classmethod
    def between(cls, logits: np.ndarray, reference: np.ndarray) -> Difference:
        """Compare two arrays, row by row."""
        off = np.abs(logits - reference)
        log_p, log_q = log_softmax(reference), log_softmax(logits)
        kl = (np.exp(log_p) * (log_p - log_q)).sum(-1)
        same = logits.argmax(-1) == reference.argmax(-1)
        return cls(float(off.max()), float(off.mean()), float(kl.mean()), float(kl.max()),
                   100 * float(same.mean()))


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Log of the probabilities over the last axis, float64."""
    shifted = logits.astype(np.float64) - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def read(model: VisionLanguageModel, turn: Turn, answer: list[int] | None,
         tokens: int) -> tuple[list[int], np.ndarray]:
    """(tokens after the prompt, logits before each of them); without an answer, greedily."""
    prompt = model.tokenize([turn])
    sequence, shared = model.open(prompt)
    rows, said = [model.step([(sequence, prompt.n_tokens - shared)], [])[0].numpy()], []
    while True:
        token = answer[len(said)] if answer else int(rows[-1].argmax())
        said.append(token)
        if len(said) == (len(answer) if answer else tokens) or token in model.stop_ids:
            break
        rows.append(model.step([], [(sequence, token)])[0].numpy())
    model.release(sequence, keep=False)
    return said, np.stack(rows)


def questions(prompts: int) -> list[Turn]:
    """Questions about held-out pictures, each about a picture of its own."""
    return [Turn(chats[i % len(chats)][0].question, (Frame.from_rgb(pictures[0]),))
            for i, (pictures, chats, _) in enumerate(islice(held_out(prompts, 0), prompts))]


def compare(model: str, prompts: int,
            tokens: int) -> tuple[dict[str, Difference], np.ndarray]:
    """Differences by how a model is loaded, and the logits of the reference."""
    turns = questions(prompts)
    answers, expected = _logits(
        model, (REFERENCE, FLOAT32, FLOAT), turns, [None] * len(turns), tokens)
    differences = {}
    for q in QUANTIZATIONS.values():
        kinds = product(ACTIVATIONS, (FLOAT, INT8)) if q.quantized else [(FLOAT32, FLOAT)]
        for kind in kinds if q.name != REFERENCE else ():
            logits = _logits(model, (q.name, *kind), turns, answers, tokens)[1]
            differences[', '.join((q.name, *kind))] = Difference.between(logits, expected)
    return differences, expected


def _logits(folder: str, kind: tuple[str, str, str], turns: list[Turn], answers: list,
            tokens: int):
    quantization, activations, vision = kind
    model = load(folder, quantization=quantization, activations=activations,
                 vision_weights=vision)
    said = [read(model, turn, answer, tokens) for turn, answer in zip(turns, answers)]
    model.close()
    return [answer for answer, _ in said], np.concatenate([rows for _, rows in said])


def table(differences: dict[str, Difference]) -> str:
    """The differences in Markdown."""
    lines = [
        '| weights, activations, vision | max abs | mean abs | mean KL [nats] | max KL [nats] '
        '| top-1 [%] |',
        '|---|---|---|---|---|---|']
    lines += [f'| {name} | {d.max_abs:.4f} | {d.mean_abs:.5f} | {d.mean_kl:.2e} | {d.max_kl:.2e} '
              f'| {d.top1:.2f} |' for name, d in differences.items()]
    return '\n'.join(lines)


def main(argv: list[str] | None = None) -> None:
    """Print the table."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument('--model', default='', help='folder (default: the demo model)')
    p.add_argument('--prompts', type=int, default=40)
    p.add_argument('--tokens', type=int, default=32, help='longest answer')
    args = p.parse_args(argv)
    differences, expected = compare(args.model, args.prompts, args.tokens)
    print(f'Logits at {len(expected)} tokens of {args.prompts} answers, against {REFERENCE}, whose '
          f'logits reach from {expected.min():.1f} to {expected.max():.1f}:\n')
    print(table(differences))


if __name__ == '__main__':
    main()
