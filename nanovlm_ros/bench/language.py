# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The language model alone, beside its peers in turns, and the floor that memory sets."""
from contextlib import ExitStack
from typing import Any, Dict, List

import numpy as np
import torch

from nanovlm_ros.bench.contender import Contender, Ours
from nanovlm_ros.bench.machine import bandwidth
from nanovlm_ros.bench.samples import in_ms, take_turns
from nanovlm_ros.mlc.repack import parameters
from nanovlm_ros.mlc.shape import DecoderShape

ROWS = (256, 1024)
BATCHES = (1, 2, 4, 8)
Measured = Dict[str, Dict[str, Any]]


def measure_ours(ours: Ours, repeat: int, brief: bool) -> Measured:
    """Return what no peer is measured for: sequences together, and with sampling."""
    found: Measured = {}
    if brief:
        return found
    rows = min(ROWS[0], ours.most_rows(1))
    with ours.decode(rows, sample=True) as run:
        found[f'decode_sampled_{rows}'] = in_ms(take_turns({'': run}, repeat)[''])
    for batch in BATCHES:
        rows = min(ROWS[0], ours.most_rows(batch))
        if rows < 1:
            continue
        with ours.decode(rows, batch) as run:
            found[f'batch_{batch}_{rows}'] = in_ms(take_turns({'': run}, repeat)[''])
    return found


def measure_together(ours: Ours, peers: List[Contender], repeat: int, brief: bool
                     ) -> Dict[str, Measured]:
    """Return, by contender, prefill and decode; they take turns."""
    found: Dict[str, Measured] = {c.name: {} for c in (ours, *peers)}
    for rows in ROWS:
        most = ours.most_rows(1)
        _turns(found, f'prefill_{min(rows, ours.positions)}', 'prefill',
               min(rows, ours.positions), (ours, *peers), repeat)
        if not (brief and rows > ROWS[0]):
            _turns(found, f'decode_{min(rows, most)}', 'decode', min(rows, most),
                   (ours, *peers), repeat)
    return found


def _turns(found, name: str, what: str, rows: int, contenders, repeat: int) -> None:
    with ExitStack() as stack:
        runs = {c.name: stack.enter_context(getattr(c, what)(rows))
                for c in contenders if hasattr(c, what)}
        for contender, seconds in take_turns(runs, repeat).items():
            found[contender][name] = in_ms(seconds)


def floor(shape: DecoderShape) -> Dict[str, float]:
    """Return how long reading the weights of a token takes, if nothing else takes time.

    The embedding table is not read, but for a row.
    """
    read = sum(int(np.prod(size)) * np.dtype(kind).itemsize
               for name, (size, kind) in parameters(shape).items()
               if not name.startswith('embedding.'))
    speed = bandwidth(torch.device(shape.device))
    return {'weights_mib': round(read / 2 ** 20, 1), 'bandwidth_gb_s': round(speed / 1e9, 1),
            'ms': float(f'{read / speed * 1000:.4g}')}
