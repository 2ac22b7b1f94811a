# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The measurements of one model, in order."""
import gc
import time
from typing import Any, Callable, Dict, List, Sequence

import torch

from nanovlm_ros.bench import hf, llama_cpp
from nanovlm_ros.bench.apart import Apart
from nanovlm_ros.bench.contender import Contender, Ours
from nanovlm_ros.bench.engine import measure_engine
from nanovlm_ros.bench.language import ROWS, floor, measure_ours, measure_together
from nanovlm_ros.bench.machine import tvm_threads
from nanovlm_ros.bench.numerics import measure_numerics
from nanovlm_ros.bench.subject import Subject
from nanovlm_ros.bench.used_memory import MIB, UsedMemory
from nanovlm_ros.engine.loader import WAITING
from nanovlm_ros.engine.memory import check_memory, needed
from nanovlm_ros.types import ErrorCode, NanoVlmError

HF, LLAMA_CPP = 'hf', 'llama.cpp'
NUMERICS_ROWS = 128  # of the KV cache


def check_peers(subject: Subject, peers: Sequence[str]) -> None:
    """Raise INVALID_REQUEST before minutes are spent, where a peer cannot be measured."""
    if LLAMA_CPP not in peers:
        return
    if subject.shape.device != 'cpu':
        raise NanoVlmError(ErrorCode.INVALID_REQUEST,
                           '`--against llama.cpp` is for the CPU: add `--device cpu`.')
    llama_cpp.check_installed()
    llama_cpp.check_shape(subject.checkpoint.llm)


def measure(subject: Subject, *, repeat: int, brief: bool, peers: Sequence[str],
            numerics: bool, fits_gb: float, note: Callable[[str], None]) -> Dict[str, Any]:
    """Return all that is measured of a model. `note` tells what goes on."""
    check_peers(subject, peers)
    told, used, notes = _told(subject), UsedMemory(subject.shape.device), []
    result = {**_head(subject), 'measured': {}}
    if subject.load:
        note('engine')
        result.update(measure_engine(subject.load, repeat, brief))
        result['memory'] = {**told, **_used(used, fits_gb)}
        _free()
    note('language model')
    began = time.monotonic()
    ours = Ours(subject.language_model(), subject.shape.vocab)
    result.setdefault('load_s', round(time.monotonic() - began, 2))
    if 'memory' not in result:
        _fill_most(ours)
        result['memory'] = {**told, **_used(used, fits_gb)}
    together = _beside(subject, ours, peers, repeat, brief, notes, note)
    result['measured'].update(together.pop(ours.name))
    result['measured'].update(measure_ours(ours, repeat, brief))
    ours.close()
    _free()
    result.update(peers=together, floor=floor(subject.shape))
    if numerics:
        note('numerics')
        result['numerics'] = measure_numerics(
            subject.checkpoint.llm, subject.shape, lambda shape, weights: subject.open_model(
                shape, weights, NUMERICS_ROWS, NUMERICS_ROWS))
    return {**result, 'notes': notes}


def _head(subject: Subject) -> Dict[str, Any]:
    """Return what is measured, and how long it took to compile it where that was to be done."""
    shape, compiled = subject.shape, subject.compile()
    return {
        'name': subject.checkpoint.name, 'weights': subject.weights,
        'quantization': shape.quantization.name, 'device': shape.device,
        'context': subject.context, 'max_sequences': subject.max_sequences,
        'kv_cache_tokens': subject.slots,
        'vision_weights': 'int8' if subject.place.linear else 'float',
        'shape': shape.to_json(), **({'compile_s': round(compiled, 1)} if compiled > 1 else {})}


def _used(used: UsedMemory, fits_gb: float) -> Dict[str, Any]:
    found = used.read()
    if not fits_gb:
        return found
    return {**found, 'asked_gb': fits_gb, 'fits': found['in_all_mib'] * MIB <= fits_gb * 1e9}


def _beside(subject: Subject, ours: Ours, peers: Sequence[str], repeat: int, brief: bool,
            notes: List[str], note: Callable[[str], None]) -> Dict[str, Any]:
    """Measure what peers do, too, in turns with them."""
    made: List[Contender] = []
    try:
        if HF in peers:
            note('transformers')
            made += hf.contenders(subject.checkpoint.llm, subject.shape.device, notes.append)
        if LLAMA_CPP in peers:
            note('llama.cpp')
            made.append(Apart(llama_cpp.LlamaCpp, subject.checkpoint.llm, max(ROWS), tvm_threads(),
                              torch.device('cpu'), without=[WAITING]))
        note('prefill and decode')
        return measure_together(ours, made, repeat, brief)
    finally:
        for contender in made:
            contender.close()
        _free()


def _fill_most(ours: Ours) -> None:
    """Take the memory that the longest fill takes."""
    with ours.prefill(min(max(ROWS), ours.positions)) as run:
        run()


def _told(subject: Subject) -> Dict[str, Any]:
    """Return what all of a model will take. Raises OUT_OF_MEMORY where there is less."""
    wanted = needed(subject.checkpoint, subject.shape, subject.slots, subject.place)
    check_memory(subject.checkpoint.name, wanted)
    return {'told_mib': round(wanted.total / MIB, 1), 'told': str(wanted)}


def _free() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
