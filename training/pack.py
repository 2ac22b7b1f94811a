# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Packs the chats about one sample behind one copy of its images.

Every chat is a branch: it sees the prefix (system text and images) and itself. Token id -1 marks
the place of an image embedding.
"""

from __future__ import annotations

import numpy as np

from training.prompt import SYSTEM, Prompter
from training.questions.samples import SKILLS, Chat
from training.world.draw import Labels

IMAGE = -1
PAD_SEGMENT = 255
_OTHER_SYSTEMS = ('', 'You are a helpful robot.',
                  'You are the eyes of a mobile robot. Answer briefly.', 'Answer in a few words.',
                  'You are a helpful assistant.', 'You are a vision system.',
                  'A chat between a robot and its user.', 'Be brief.',
                  )
GRID = 16
LETTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/'
SLOTS = 4   # characters side by side in one patch
KINDS = tuple([
    f'box:{c}'
    for c in ('red', 'blue', 'green', 'yellow', 'orange', 'purple', 'white', 'black', 'brown')] + [
        f'{k}:{c}' for k in ('ball', 'person')
        for c in ('red', 'blue', 'green', 'yellow', 'orange', 'purple', 'white', 'black')] +
              ['cone:orange', 'window', 'picture', 'shelf', 'puddle', 'cable'] +
              [f'sign:{c}'
               for c in ('green', 'blue', 'red', 'yellow', 'white', 'orange', 'black')] + [
                   f'door:{s}:{c}' for s in ('open', 'closed')
                   for c in ('brown', 'gray', 'blue', 'green', 'white', 'red')])
_KIND_ID = {k: i + 1 for i, k in enumerate(KINDS)}


def random_system(r: np.random.Generator) -> str:
    """The system prompt of the template, now and then another one."""
    return SYSTEM if r.random() < .92 else _OTHER_SYSTEMS[int(r.integers(len(_OTHER_SYSTEMS)))]


def length(frames: int) -> int:
    """Room for tokens in a sample with this many frames."""
    return 512 if frames == 1 else (208 + 66 * frames + 63) // 64 * 64


def pack(prompter: Prompter, r: np.random.Generator, sample_frames: int, chats: list[Chat],
         blind: list[Chat], out: dict[str, np.ndarray], system: str) -> list[tuple]:
    """Fills out's arrays (each of length(frames)) and returns [(branch, turn)] that fit.

    tokens int16; segment uint8: 0 prefix, 255 padding, else the branch; seen int16: how much of the
    prefix a token sees; position int16; skill uint8: 0 or 1 + the skill of an answer token; weight
    float16: of the loss of predicting the token.
    """
    tokens, segment, seen = out['tokens'], out['segment'], out['seen']
    tokens[:] = 0
    segment[:] = PAD_SEGMENT
    for name in ('seen', 'position', 'skill', 'weight'):
        out[name][:] = 0
    head, shared = prompter.head(system)
    prefix = list(head)
    for i in range(sample_frames):
        prefix += [IMAGE] * 64
        if i < sample_frames - 1:
            prefix += prompter.between()
    n = len(prefix)
    tokens[:n], segment[:n], out['position'][:n] = prefix, 0, np.arange(n)
    at, branch, placed = n, 0, []
    quote = prompter.encode('"')[-1]   # where a text is empty, only its end is learnt
    for chat, visible in [(c, n) for c in chats] + [(c, shared) for c in blind]:
        ids, skills, weights = [], [], []
        for i, turn in enumerate(chat):
            if i == 0 and visible == n:
                q = prompter.question(turn.question)
            else:
                q = prompter.later(turn.question, spaced=bool(i and r.random() < .5))
            a = prompter.answer(turn.answer)
            ids += q + a
            learnt = [not (x == y == quote) for x, y in zip(a, a[1:] + [0])]
            skills += [0] * len(q) + [(SKILLS.index(turn.skill) + 1) * k for k in learnt]
            weights += [0.0] * len(q) + [len(a)**-.5 * k for k in learnt]
        if at + len(ids) > len(tokens) or branch > 200:
            continue
        branch += 1
        span = slice(at, at + len(ids))
        tokens[span], segment[span], seen[span] = ids, branch, visible
        out['position'][span] = visible + np.arange(len(ids))
        out['skill'][span], out['weight'][span] = skills, weights
        placed += [(branch, turn) for turn in chat]
        at += len(ids)
    return placed


def dense_labels(labels: Labels, cover: np.ndarray, centre: np.ndarray,
                 letters: np.ndarray) -> None:
    """Fills [16, 16] cover and centre (0 or kind) and [16, 16, 4] letters (0 or character)."""
    cover[:], centre[:], letters[:] = 0, 0, 0
    for name, u0, v0, u1, v1, _ in sorted(labels.things, key=lambda t: -t[5]):
        kind = _KIND_ID[name]
        x0, x1 = (int(np.clip(np.ceil(u * GRID - .5), 0, GRID)) for u in (u0, u1))
        y0, y1 = (int(np.clip(np.ceil(v * GRID - .5), 0, GRID)) for v in (v0, v1))
        cover[y0:y1, x0:x1] = kind
        x, y = int((u0 + u1) / 2 * GRID), int((v0 + v1) / 2 * GRID)
        if 0 <= x < GRID and 0 <= y < GRID:
            centre[y, x] = kind
    for letter, u, v in labels.letters:
        x, y = u * GRID, v * GRID
        if 0 <= x < GRID and 0 <= y < GRID and letter in LETTERS:
            letters[int(y), int(x), int(x % 1 * SLOTS)] = LETTERS.index(letter) + 1


def fields(frames: int, count: int, variants: int) -> dict[str, tuple[tuple[int, ...], type]]:
    """Shapes and dtypes of the arrays of a chunk of count samples."""
    t = (variants, count, length(frames))
    n = count * frames
    return {
        'pixels': ((n, 256, 256, 3), np.uint8), 'raw': ((n,), np.uint8),
        'cover': ((n, GRID, GRID), np.uint8), 'centre': ((n, GRID, GRID), np.uint8), 'letters': (
            (n, GRID, GRID, SLOTS), np.uint8), 'tokens': (t, np.int16), 'segment': (
                t, np.uint8), 'seen': (t, np.int16), 'position': (t, np.int16), 'skill': (
                    t, np.uint8), 'weight': (t, np.float16), }
