# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""How much memory a model will take, told and checked before anything is loaded."""
import logging
from pathlib import Path
from typing import NamedTuple, Optional, Tuple

import numpy as np
import torch

from nanovlm_ros.engine.device import CPU, CUDA
from nanovlm_ros.engine.image_cache import kept_frames
from nanovlm_ros.engine.model import PREFILL_CHUNK
from nanovlm_ros.mlc.cuda.scratch import scratch_bytes
from nanovlm_ros.mlc.mlc_layout import decoder_groups
from nanovlm_ros.mlc.shape import DecoderShape
from nanovlm_ros.models.anyres import AnyRes
from nanovlm_ros.models.checkpoint import ANYRES, Checkpoint
from nanovlm_ros.models.placement import Placement
from nanovlm_ros.models.projector import empty_projector, tokens_per_image
from nanovlm_ros.models.vision_tower import empty_tower
from nanovlm_ros.types import ErrorCode, NanoVlmError

LOG = logging.getLogger(__name__)
HALF = 2         # bytes of a number of a matrix that was unpacked for a GPU's prefill
# On the CPU: Python, torch, TVM, activations; measured with models of 12 million and 3 billion
# parameters. On a GPU: what the driver, CUDA's libraries and graphs take; measured with models of 3
# to 13 billion on an H200, whose driver alone takes 423 MiB.
REST = {CPU: 600 << 20, CUDA: 800 << 20}
NAMES = {CPU: 'memory', CUDA: 'GPU memory'}

MEMINFO = Path('/proc/meminfo')
# Control groups, version 2 and 1: limit, what is in use, and what of that is cached files, which
# give way (a checkpoint that was just copied or converted is among them).
GROUPS = tuple(
    (folder / limit, folder / usage, folder / 'memory.stat', prefix)
    for folder, limit, usage, prefix in (
        (Path('/sys/fs/cgroup'), 'memory.max', 'memory.current', ''),
        (Path('/sys/fs/cgroup/memory'), 'memory.limit_in_bytes', 'memory.usage_in_bytes',
         'total_')))
CACHED = ('active_file', 'inactive_file')


class Needed(NamedTuple):
    """Bytes, by what takes them."""

    weights: int      # of the language model
    row: int          # of K and V, a token
    slots: int        # rows of the KV cache
    vision: int       # tower and projector
    images: int       # rows of the newest images
    filling: int = 0  # on a GPU: the largest matrix in float16, and activations of a chunk
    device: str = CPU

    @property
    def total(self) -> int:
        return (self.weights + self.row * self.slots + self.vision + self.images + self.filling
                + REST[self.device])

    def __str__(self) -> str:
        filling = f'{size(self.filling)} for filling prompts, ' * (self.filling > 0)
        return (f'{size(self.weights)} of weights, {size(self.row * self.slots)} of KV cache '
                f'({self.slots} tokens, {size(1000 * self.row)} per 1,000), '
                f'{size(self.vision)} for vision, {size(self.images)} for images, {filling}'
                f'{size(REST[self.device])} for the rest')


def needed(checkpoint: Checkpoint, shape: DecoderShape, slots: int,
           place: Placement) -> Needed:
    """Return what a model with a KV cache of so many rows will take.

    `place` is that of vision; of a checkpoint without a tower nothing is for vision and images.
    """
    # A tied head is the embedding table a second time, laid out as the head.
    groups = decoder_groups(shape, checkpoint.tied)
    weights = sum(p.nbytes for group in groups for p in group.parameters.values())
    filling = 0
    if shape.device == CUDA:
        filling = scratch_bytes(shape, PREFILL_CHUNK[CUDA], 1, min(slots, checkpoint.positions))
        if shape.quantization.quantized:
            filling += HALF * max(sum(group.rows) * group.columns for group in groups
                                  if group.name.startswith('layers.'))
    number = np.dtype(shape.cache_dtype).itemsize
    vision, images = _seeing(checkpoint, shape.hidden, place) if checkpoint.vision else (0, 0)
    return Needed(weights, 2 * shape.layers * shape.kv_heads * shape.head_dim * number, slots,
                  vision, images, filling, shape.device)


def _seeing(checkpoint: Checkpoint, hidden: int, place: Placement) -> Tuple[int, int]:
    """Return the bytes of tower and projector, and of the rows of the newest images."""
    tower = empty_tower(checkpoint.vision, checkpoint.select_layer, checkpoint.keep_class_token)
    projector = empty_projector(checkpoint.projector_type, tower.shape.hidden, hidden)
    images = kept_frames(checkpoint.several_images) * most_rows(
        checkpoint, tower.shape.image_size, tower.shape.side, tower.tokens)
    return (place.nbytes(tower) + place.nbytes(projector),
            images * hidden * place.dtype.itemsize)


def most_rows(checkpoint: Checkpoint, size: int, side: int, patches: int) -> int:
    """Return the most rows that an image takes; `size` and `side` are those of a view."""
    if checkpoint.aspect_ratio != ANYRES:
        return tokens_per_image(checkpoint.projector_type, patches)
    layout = AnyRes.from_config(size, side, checkpoint.grid_pinpoints, checkpoint.unpad)
    return max(layout.rows(*resolution) for resolution in layout.pinpoints)


def check_memory(name: str, wanted: Needed) -> None:
    """Log what a model needs; raise OUT_OF_MEMORY with the numbers where there is less."""
    free = available_on_gpu() if wanted.device == CUDA else available()
    memory = NAMES[wanted.device]
    LOG.info('%s needs %s of %s: %s.', name, size(wanted.total), memory, wanted)
    if free is not None and wanted.total > free:
        raise NanoVlmError(
            ErrorCode.OUT_OF_MEMORY,
            f'{name} needs {size(wanted.total)} of {memory} and {size(free)} are free: {wanted}. '
            'Lower kv_cache_tokens, context_length or max_sequences, take a smaller quantization '
            'or model, or end other programs'
            + (', or set device to cpu.' if wanted.device == CUDA else '.'))


def available() -> Optional[int]:
    """Return the bytes that this process may still take; None where the system does not tell."""
    found = []
    if MEMINFO.is_file():
        found += [int(line.split()[1]) << 10 for line in MEMINFO.read_text().splitlines()
                  if line.startswith('MemAvailable')]
    for limit, usage, statistics, prefix in GROUPS:
        try:
            free = int(limit.read_text()) - int(usage.read_text())
            said = dict(line.split() for line in statistics.read_text().splitlines())
        except (OSError, ValueError):  # no control groups, or no limit ("max")
            continue
        found.append(free + sum(int(said.get(prefix + name, 0)) for name in CACHED))
    return min(found, default=None)


def available_on_gpu() -> int:
    """Return the bytes of the current GPU that are free.

    A Jetson's are those of the machine, of which this process may have less.
    """
    free, _ = torch.cuda.mem_get_info()
    if torch.cuda.get_device_properties(torch.cuda.current_device()).is_integrated:
        return min(found for found in (free, available()) if found is not None)
    return free


def size(count: int) -> str:
    """Return bytes as text."""
    return f'{count / 2**30:.2f} GiB' if count >= 2**29 else f'{count / 2**20:.1f} MiB'
