# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Asks thousands of held-out questions and writes RESULTS.md and results.json.

    python -m training.evaluate [--model FOLDER] [--images 640] [--sequences 60]
    python -m training.evaluate --engine package.module:function

Pictures come from unseen seeds through the whole camera (640x480, light, noise, JPEG, bicubic
resize). Without --engine the torch model is judged with float and with 4-bit weights. An engine is
a callable(images, question, schema) -> text: images is a list of RGB uint8 arrays, schema a JSON
schema or None.
"""

from __future__ import annotations

import argparse
import importlib
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer

from training.export import load_checkpoint
from training.learn import normalise, wrong_answers
from training.model import VisionLanguage
from training.pack import fields, pack
from training.prompt import SYSTEM, Prompter
from training.questions.asking import Asker
from training.questions.frames import frame_turns
from training.questions.samples import Chat, single_chats, single_scene
from training.questions.structured import KEY_TYPES
from training.scoring import Score, table
from training.tokenizer import EOS
from training.world.change import random_frames
from training.world.lens import camera_image, model_input

HERE = Path(__file__).parent
DEMO = HERE.parent / 'assets/demo_model'
BARS = {'all': 95, 'yes_no': 97}
Engine = Callable[[list[np.ndarray], str, dict | None], str]
_JSON = re.compile(r'^(.*?) ?Answer in JSON with the keys: ([\w, ]+)\.$')
_SCHEMAS = {
    'integer': {'type': 'integer'}, 'boolean': {'type': 'boolean'}, 'string': {'type': 'string'},
    'string or null': {'type': ['string', 'null']}, 'array of strings': {
        'type': 'array', 'items': {'type': 'string'}}}


def held_out(images: int,
             sequences: int) -> Iterator[tuple[list[np.ndarray], list[Chat], list[Chat]]]:
    """(camera pictures, chats, chats without a picture) of scenes that training never draws."""
    for i in range(images):
        r = np.random.default_rng([77, i, 3])
        scene = single_scene(r, False)
        pixels, _ = camera_image(scene, r)
        yield [pixels], *single_chats(r, scene, False)
    for count in (2, 3, 4, 6, 8):
        for i in range(sequences):
            r = np.random.default_rng([78, i, count])
            story = random_frames(r, count, False)
            pictures = [camera_image(s, r)[0] for s in story.scenes]
            yield pictures, [[t] for t in frame_turns(Asker(r, False), story)], []


class TorchAnswerer:
    """Greedy answers of the training model; also judges many questions in one pass."""

    def __init__(self, model: VisionLanguage, tokenizer: Tokenizer, device: str = 'cpu'):
        self.model, self.tokenizer, self.device = model.to(device), tokenizer, device
        self.prompter = Prompter(tokenizer)

    @torch.no_grad()
    def _embed(self, images: list[np.ndarray]) -> torch.Tensor:
        pixels = torch.from_numpy(np.stack([model_input(i) for i in images])).to(self.device)
        return self.model.encode(normalise(pixels))[1]

    @torch.no_grad()
    def generate(self, ids: list[int], images: list[np.ndarray], limit: int = 160) -> str:
        """Greedy continuation of ids, in which -1 marks the place of an image embedding."""
        embedded = self._embed(images) if images else torch.zeros(0, self.model.shape.hidden,
                                                                  device=self.device)
        out: list[int] = []
        while len(out) < limit:
            t = torch.tensor([ids + out], device=self.device)
            n = t.shape[1]
            mask = torch.ones(n, n, dtype=torch.bool, device=self.device).tril()[None, None]
            flat = embedded.reshape(-1, embedded.shape[-1])
            hidden = self.model.decode(t.clamp_min(0), flat, t < 0,
                                       torch.arange(n, device=self.device)[None], mask)
            token = int(self.model.lm_head(hidden[0, -1]).argmax())
            if token == EOS:
                break
            out.append(token)
        return self.tokenizer.decode(out)

    def __call__(self, images: list[np.ndarray], question: str, schema: dict | None = None) -> str:
        """The answer to one question about these pictures."""
        if schema:
            question += f" Answer in JSON with the keys: {', '.join(schema['properties'])}."
        p = self.prompter
        head, shared = p.head(SYSTEM)
        if not images:
            return self.generate(head[:shared] + p.later(question.strip()), [])
        return self.generate(_prefix(p, len(images)) + p.question(question.strip()), images)

    def judge(self, score: Score, images: list[np.ndarray], chats: list[Chat], blind: list[Chat]):
        """Adds every turn to score; an answer is generated only where a token went wrong."""
        frames = len(images)
        rows = {n: np.zeros(s[2:], d) for n, (s, d) in fields(frames, 1, 1).items() if len(s) == 3}
        todo = [(c, False) for c in chats] + [(c, True) for c in blind]
        while todo:
            part_c = [c for c, b in todo if not b]
            part_b = [c for c, b in todo if b]
            placed = pack(self.prompter, np.random.default_rng(0), frames, part_c, part_b, rows,
                          SYSTEM)
            batch = {k: torch.from_numpy(v[None].copy()).to(self.device) for k, v in rows.items()}
            batch['pixels'] = torch.from_numpy(np.stack([model_input(i) for i in images])).to(
                self.device)
            wrong, _ = wrong_answers(self.model, batch, torch.float32, self.device)
            done = set()
            for branch, turn in placed:
                done.add(id(turn))
                if not wrong[0, branch]:
                    score.add(turn, turn.answer)
                    continue
                chat = next(c for c, _ in todo if any(t is turn for t in c))
                score.add(turn, self._in_chat(images, chat, turn, chat in blind))
            left = [(c, b) for c, b in todo if id(c[0]) not in done]
            if len(left) == len(todo):
                raise RuntimeError(f'A chat is too long to be judged: {left[0][0]}')
            todo = left

    def _in_chat(self, images: list[np.ndarray], chat: Chat, turn, blind: bool) -> str:
        """The answer to a turn after the right answers to the turns before it."""
        p = self.prompter
        head, shared = p.head(SYSTEM)
        ids = head[:shared] if blind else _prefix(p, len(images))
        for i, t in enumerate(chat):
            ids = ids + (p.later(t.question) if blind or i else p.question(t.question))
            if t is turn:
                break
            ids += p.answer(t.answer)
        return self.generate(ids, [] if blind else images)


def _prefix(p: Prompter, frames: int) -> list[int]:
    ids = p.head(SYSTEM)[0]
    for i in range(frames):
        ids = ids + (p.between() if i else []) + [-1] * 64
    return ids


def judge_engine(engine: Engine, images: int, sequences: int) -> Score:
    """Asks an engine every first question of every chat."""
    score = Score()
    for pictures, chats, blind in held_out(images, sequences):
        for chat, shown in [(c, pictures) for c in chats] + [(c, []) for c in blind]:
            turn = chat[0]
            match = _JSON.match(turn.question)
            keys = match.group(2).split(', ') if match else []
            if match and all(k in KEY_TYPES for k in keys):
                schema = {
                    'type': 'object', 'properties': {k: _SCHEMAS[KEY_TYPES[k]]
                                                     for k in keys}, 'required': keys,
                    'additionalProperties': False}
                said = engine(shown, match.group(1), schema)
            else:
                said = engine(shown, turn.question, None)
            score.add(turn, said)
    return score


def judge_torch(folder: Path, images: int, sequences: int, device: str) -> dict[str, Score]:
    """Scores of the float and of the 4-bit model."""
    tokenizer = Tokenizer.from_file(str(folder / 'llm/tokenizer.json'))
    answerer = TorchAnswerer(load_checkpoint(folder), tokenizer, device)
    scores = {'float': Score(), '4-bit': Score()}
    for n, sample in enumerate(held_out(images, sequences)):
        for name, score in scores.items():
            answerer.model.quantize(name == '4-bit')
            answerer.judge(score, *sample)
        if n % 100 == 99:
            print(n + 1, {k: s.as_dict()['percent']['all'] for k, s in scores.items()}, flush=True)
    return scores


def report(scores: dict[str, dict]) -> str:
    """The Markdown of RESULTS.md."""
    names = list(scores)
    first = scores[names[0]]
    order = [
        'all', 'yes_no', *sorted(k for k in first['asked'] if k not in BARS and ' ' not in k),
        'seen phrasing', 'unseen phrasing']
    lines = [
        '# Results', '',
        'Held-out scenes, sign texts and (half of the) phrasings; percent of answers '
        'that are exactly right. A description is right when it states exactly the true facts. '
        'Bars: all 95, yes/no 97, every skill 90.', '',
        '| skill | questions | ' + ' | '.join(names) + ' |', '|---|---|' + '---|' * len(names)]
    for key in order:
        if key in first['asked']:
            lines.append(f"| {key} | {first['asked'][key]} | " +
                         ' | '.join(f"{scores[n]['percent'][key]:.2f}" for n in names) + ' |')
    for t, confusion in sorted(scores[names[-1]]['confusion'].items()):
        lines += ['', f'## Confusions: {t} ({names[-1]})', '', table(confusion)]
    return '\n'.join(lines) + '\n'


def main(argv: list[str] | None = None) -> int:
    """Returns 1 when a bar is missed."""
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('--model', type=Path, default=DEMO)
    p.add_argument('--engine', default='')
    p.add_argument('--images', type=int, default=640)
    p.add_argument('--sequences', type=int, default=60, help='for each number of frames')
    p.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    p.add_argument('--out', type=Path, default=HERE)
    args = p.parse_args(argv)
    if args.engine:
        module, name = args.engine.split(':')
        engine = getattr(importlib.import_module(module), name)
        scores = {'engine': judge_engine(engine, args.images, args.sequences)}
    else:
        scores = judge_torch(args.model, args.images, args.sequences, args.device)
    results = {k: s.as_dict() for k, s in scores.items()}
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / 'results.json').write_text(json.dumps(results, indent=1) + '\n')
    text = report(results)
    (args.out / 'RESULTS.md').write_text(text)
    print(text)
    return int(
        any(percent < BARS.get(skill, 90) for r in results.values()
            for skill, percent in r['percent'].items() if ' ' not in skill))


if __name__ == '__main__':
    raise SystemExit(main())
