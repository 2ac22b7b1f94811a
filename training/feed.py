# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Draws samples in worker processes and hands them over in shared memory."""

from __future__ import annotations

import mmap
import multiprocessing as mp
import os
import signal
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from training.pack import dense_labels, fields, pack, random_system
from training.prompt import Prompter
from training.questions.frames import frame_turns
from training.questions.asking import Asker
from training.questions.samples import single_chats, single_scene
from training.world.change import random_frames
from training.world.lens import camera_image, model_input, quick_image

SINGLE = 128                                       # pictures in a chunk of single frames
PICTURES = 96                                      # pictures in a chunk of several frames
FRAME_COUNTS = (2, 2, 2, 3, 4, 6, 8)
TEXT = ('tokens', 'segment', 'seen', 'position', 'skill', 'weight')


def samples_in(frames: int) -> int:
    """Samples in a chunk of this many frames each."""
    return SINGLE if frames == 1 else PICTURES // frames


def views(buffer, frames: int, count: int, variants: int) -> dict[str, np.ndarray]:
    """Numpy arrays over the start of a buffer, by field."""
    out, at = {}, 0
    for name, (shape, dtype) in fields(frames, count, variants).items():
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        out[name] = np.frombuffer(buffer, dtype, int(np.prod(shape)), at).reshape(shape)
        at += (size + 63) // 64 * 64
    return out


def chunk_bytes(frames: int, count: int, variants: int) -> int:
    """Bytes that views() needs."""
    return sum((int(np.prod(s)) * np.dtype(d).itemsize + 63) // 64 * 64
               for s, d in fields(frames, count, variants).values())


def fill_chunk(prompter: Prompter, r: np.random.Generator, out: dict[str, np.ndarray], frames: int,
               train: bool, real: float) -> list[list[tuple]]:
    """Fills one chunk; a share `real` of the pictures goes through the whole camera.

    Returns for each sample of variant 0 the placed (branch, turn) pairs.
    """
    placed = []
    variants, count = out['tokens'].shape[:2]
    for i in range(count):
        if frames == 1:
            scene = single_scene(r, train)
            scenes, story = [scene], None
        else:
            story = random_frames(r, frames, train)
            scenes = story.scenes
        whole = r.random() < real
        for k, scene in enumerate(scenes):
            n = i * frames + k
            pixels, labels = (camera_image if whole else quick_image)(scene, r)
            out['pixels'][n] = model_input(pixels) if whole else pixels
            out['raw'][n] = not whole
            dense_labels(labels, out['cover'][n], out['centre'][n], out['letters'][n])
        for v in range(variants):
            if story is None:
                chats, blind = single_chats(r, scenes[0], train)
            else:
                chats, blind = [[t] for t in frame_turns(Asker(r, train), story)], []
            rows = {name: out[name][v, i] for name in TEXT}
            done = pack(prompter, r, frames, chats, blind, rows, random_system(r))
            if v == 0:
                placed.append(done)
    return placed


def _work(index: int, seed: int, tokenizer: str, buffers, free, ready, variants: int, real: float):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ['OMP_NUM_THREADS'] = '1'
    prompter = Prompter(Tokenizer.from_file(tokenizer))
    r = np.random.default_rng([seed, index, 1])
    turn = index
    while True:
        slot = free.get()
        if slot is None:
            return
        turn += 1
        # Of three chunks two hold single pictures.
        frames = 1 if turn % 3 else FRAME_COUNTS[int(r.integers(len(FRAME_COUNTS)))]
        count = samples_in(frames)
        fill_chunk(prompter, r, views(buffers[slot], frames, count, variants), frames, True, real)
        ready.put((slot, frames))


class Feed:
    """Worker processes and their ring of shared buffers. Start it before CUDA."""

    def __init__(self, tokenizer: Path, workers: int, seed: int, variants: int = 2,
                 real: float = .1):
        self.variants = variants
        context = mp.get_context('fork')
        size = max(chunk_bytes(f, samples_in(f), variants) for f in (1, *FRAME_COUNTS))
        self._buffers = [mmap.mmap(-1, size) for _ in range(2 * workers + 4)]
        self._free, self._ready = context.Queue(), context.Queue()
        for i in range(len(self._buffers)):
            self._free.put(i)
        self._processes = [context.Process(
            target=_work, args=(i, seed, str(tokenizer), self._buffers, self._free, self._ready,
                                variants, real), daemon=True) for i in range(workers)]
        for p in self._processes:
            p.start()

    def take(self, timeout: float | None) -> tuple[int, int, dict[str, np.ndarray]]:
        """(slot, frames, arrays); raises queue.Empty after timeout seconds (0: at once)."""
        slot, frames = self._ready.get(timeout != 0, timeout or None)
        return slot, frames, views(self._buffers[slot], frames, samples_in(frames), self.variants)

    def give_back(self, slot: int) -> None:
        """The arrays of this slot are no longer needed."""
        self._free.put(slot)

    def stop(self) -> None:
        """Ends the workers."""
        for p in self._processes:
            p.terminate()
