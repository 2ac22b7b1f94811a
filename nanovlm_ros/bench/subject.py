# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What is measured: a model of files, or one of published dimensions and random weights."""
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, Optional

from nanovlm_ros.bench.contender import STEPS
from nanovlm_ros.bench.random_checkpoint import random_checkpoint
from nanovlm_ros.bench.random_weights import RandomWeights
from nanovlm_ros.engine.build import companion_library, library
from nanovlm_ros.engine.companion import Companion
from nanovlm_ros.engine.device import choose_device
from nanovlm_ros.engine.loader import (
    DEMO_MODEL, assemble, cache_slots, load, open_checkpoint, use_converted)
from nanovlm_ros.mlc.language_model import LanguageModel, open_language_model
from nanovlm_ros.mlc.packing import QUANTIZATIONS, Quantization
from nanovlm_ros.mlc.shape import DecoderShape
from nanovlm_ros.mlc.target import Target
from nanovlm_ros.models.checkpoint import ANYRES, Checkpoint, check_llm
from nanovlm_ros.models.placement import Placement
from nanovlm_ros.models.published import Published, configured
from nanovlm_ros.types import ErrorCode, NanoVlmError, Progress

CONTEXT = 2048  # of random weights, where nothing is said: room for all that is measured


@dataclass(frozen=True)
class Subject:
    """A model and how it is loaded; `load` is None for a language model alone."""

    checkpoint: Checkpoint
    shape: DecoderShape
    context: int
    max_sequences: int
    slots: int         # rows of the KV cache
    place: Placement  # of vision
    weights: str  # 'random', or where they are from
    load: Optional[Callable]
    progress: Progress

    def compile(self) -> float:
        """Return the seconds it takes to have the libraries, which may be here already."""
        began = time.monotonic()
        self._library(self.shape)
        companion_library(self.progress, Target.here(self.shape.device))
        return time.monotonic() - began

    def language_model(self) -> LanguageModel:
        """Return the language model alone, with random weights: numbers do not take time."""
        return self.open_model(self.shape, RandomWeights(self.shape), self.context, self.slots)

    def open_model(self, shape: DecoderShape, weights, context: int, slots: int
                   ) -> LanguageModel:
        """Return a language model of this kind with other weights."""
        return open_language_model(
            shape, self._library(shape), weights, positions=context, slots=slots,
            rope_theta=self.checkpoint.rope_theta)

    def _library(self, shape: DecoderShape) -> Path:
        return library(shape, self.progress, Target.here(shape.device))


def model_subject(model: str, options: Dict[str, Any], max_sequences: int, progress: Progress
                  ) -> Subject:
    """Return a model that has files; `options` are those of `engine.loader.load`.

    Raises INVALID_REQUEST for a context that cannot be measured.
    """
    checkpoint, given = use_converted(
        open_checkpoint(model, options['revision'], options['trust_pickle'], progress),
        options['mlc_weights'], progress)
    quantization = given.quantization if given else QUANTIZATIONS[options['quantization']]
    context = options['context_length'] or checkpoint.positions
    _check_context(context, checkpoint)
    shape = _shape(checkpoint, quantization, options['device'], options['activations'])
    return Subject(
        checkpoint, shape,
        context, max_sequences, cache_slots(context, max_sequences, options['kv_cache_tokens']),
        _place(shape, options['vision_weights'], options['activations']),
        model or DEMO_MODEL, lambda: load(
            model, progress=progress, max_sequences=max_sequences, **options), progress)


def random_subject(model: Published, *, quantization: str, device: str, activations: str,
                   vision_weights: str, context_length: int, max_sequences: int,
                   kv_cache_tokens: int, progress: Progress) -> Subject:
    """Return a model of published dimensions; nothing of it is read from a disk.

    Raises INVALID_REQUEST for a context that cannot be measured.
    """
    known = configured(model)
    check_llm(known.llm, known.path)
    # Tiles of one image take more rows than CONTEXT has.
    usual = known.positions if known.aspect_ratio == ANYRES else CONTEXT
    context = context_length or min(usual, known.positions)
    _check_context(context, known)
    shape = _shape(known, QUANTIZATIONS[quantization], device, activations)
    slots = cache_slots(context, max_sequences, kv_cache_tokens)

    def assembled():
        with random_checkpoint(model) as checkpoint:
            return assemble(checkpoint, shape, lambda: RandomWeights(shape), context=context,
                            slots=slots, vision_weights=vision_weights,
                            activations=activations, progress=progress)
    return Subject(known, shape, context, max_sequences, slots,
                   _place(shape, vision_weights, activations), 'random',
                   assembled if model.vision else None, progress)


def _check_context(context: int, checkpoint: Checkpoint) -> None:
    """Refuse a context longer than the model's, or without room for a run of decoding."""
    if not STEPS < context <= checkpoint.positions:
        raise NanoVlmError(
            ErrorCode.INVALID_REQUEST,
            f'context_length is {context}, but {checkpoint.name} has {checkpoint.positions} '
            f'positions, and a run decodes {STEPS} tokens after a prompt; set it to '
            f'{STEPS + 1} to {checkpoint.positions}, or 0.')


def _place(shape: DecoderShape, vision_weights: str, activations: str) -> Placement:
    return Companion(shape.device).placement(shape, vision_weights, activations)


def _shape(checkpoint: Checkpoint, quantization: Quantization, device: str, activations: str
           ) -> DecoderShape:
    return checkpoint.shape(quantization).on(
        choose_device(device, quantization.name), activations)
