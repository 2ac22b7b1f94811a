# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""How far our logits and torch's own float16 lie from float32, at a model's full width."""
from dataclasses import replace
from typing import Any, Dict, List

import numpy as np
import torch

from nanovlm_ros.bench.hf import compute_rotations, empty_reference
from nanovlm_ros.mlc.convert import convert_decoder
from nanovlm_ros.mlc.mlc_layout import decoder_groups
from nanovlm_ros.mlc.packing import round_trip
from nanovlm_ros.mlc.shape import DecoderShape

LAYERS = 2
FILLS = (40, 24)    # rows
DECODES = 16        # rows after those, one by one
SPREAD = 0.02       # of the weights, as transformers initialises them
NORM_SPREAD = 0.1   # of the weights and biases of norms, about 1 and 0


def measure_numerics(llm: Dict[str, Any], shape: DecoderShape, open_model) -> Dict[str, Any]:
    """Return the largest error of a logit against float32, ours and torch's in float16.

    All three have the same weights, those that our 4 bits stand for. `open_model(shape, weights)`
    makes our `LanguageModel`; compared are the rows whose logits it gives: the last of each fill
    and every decoded one.
    """
    shape = replace(shape, layers=LAYERS)
    tensors = random_matrices(shape)
    ids = np.random.default_rng(1).integers(0, shape.vocab, sum(FILLS) + DECODES)
    model = open_model(shape, dict(convert_decoder(shape, tensors.__getitem__, tied=False)))
    ours, device = _logits(model, ids.tolist()), model.device
    del model
    reference = empty_reference({**llm, 'num_hidden_layers': LAYERS}, device.type, torch.float32)
    _fill(reference, tensors, shape)
    rows = [FILLS[0] - 1, *range(sum(FILLS) - 1, len(ids))]
    exact = _reference_logits(reference, ids, rows)
    reference.half()
    compute_rotations(reference)
    half = _reference_logits(reference, ids, rows)
    errors = [float((logits - exact).abs().max()) for logits in (ours, half)]
    return {
        'layers': LAYERS, 'rows': len(rows), 'largest_error': float(f'{errors[0]:.4g}'),
        'largest_error_torch_float16': float(f'{errors[1]:.4g}'),
        'ratio': float(f'{errors[0] / errors[1]:.3g}'),
        'spread_of_logits': float(f'{float(exact.std()):.4g}'),
        'same_likeliest': float((ours.argmax(-1) == exact.argmax(-1)).float().mean())}


def random_matrices(shape: DecoderShape) -> Dict[str, np.ndarray]:
    """Return the tensors of a checkpoint of a shape by their published names, float32."""
    random, out = np.random.default_rng(0), {}
    for group in decoder_groups(shape, tied=False):
        for source, rows in zip(group.sources, group.rows or (0,)):
            if rows:
                out[f'{source}.weight'] = SPREAD * random.standard_normal(
                    (rows, group.columns), np.float32)
                continue
            for part in group.parameters:
                numbers = NORM_SPREAD * random.standard_normal(group.columns, np.float32)
                # As the stored type has them, so that all have the same.
                out[f'{source}.{part}'] = (numbers + (part == 'weight')).astype(
                    np.float16).astype(np.float32)
    return out


def _logits(model, ids: List[int]) -> torch.Tensor:
    """Return the logits (rows, vocab) float32 that come of fills and of decoded tokens."""
    sequence, done, out = model.cache.add(), 0, []
    for count in FILLS:
        rows = model.embed(ids[done:done + count]).clone()
        out.append(model.run([(sequence, count)], rows).clone())
        done += count
    for token in ids[done:]:
        out.append(model.decode([(sequence, token)]).clone())
    return torch.cat(out).cpu()


def _fill(reference, tensors: Dict[str, np.ndarray], shape: DecoderShape) -> None:
    for name, parameter in reference.named_parameters():
        numbers = tensors[name]
        if numbers.ndim == 2:
            numbers = round_trip(numbers, shape.quantization)
        parameter.copy_(torch.from_numpy(numbers))


@torch.no_grad()
def _reference_logits(reference, ids: np.ndarray, rows: List[int]) -> torch.Tensor:
    tokens = torch.from_numpy(ids)[None].to(reference.device)
    return reference(tokens).logits[0, rows].float().cpu()
