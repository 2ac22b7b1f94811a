# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A clock that work alone moves, and a model whose work takes time and whose sequences take rows.

Times are in virtual seconds: nothing here sleeps, and every run is the same.
"""
from collections import OrderedDict
from typing import Callable, Dict, List, Set, Tuple

import numpy as np
from fakes import FakeModel

from nanovlm_ros.engine.model import WORTH_WAITING
from nanovlm_ros.engine.prefix_cache import PrefixCache
from nanovlm_ros.engine.rolling_window import Layout, RollingWindow
from nanovlm_ros.mlc.kv_cache import KVCache
from nanovlm_ros.models.prompt import Prompt
from nanovlm_ros.types import ErrorCode, NanoVlmError

BOS = 1
IMAGE_ROWS = 20
READ, SEE, ROW, PASS = 0.002, 0.100, 0.001, 0.010  # s: an image twice, a row of a prompt, a step
KEPT = 8  # finished sequences whose rows may serve others


def image_rows(frame):
    """Rows of any image."""
    return IMAGE_ROWS


class VirtualClock:
    """Stands still until work moves it; what was planned for a time happens on the way there."""

    def __init__(self):
        self.now = 0.0
        self._plans: List[Tuple[float, int, Callable[[], None]]] = []

    def __call__(self) -> float:
        return self.now

    def at(self, when: float, what: Callable[[], None]) -> None:
        """Call `what` as soon as the clock reaches a time."""
        self._plans.append((when, len(self._plans), what))
        self._plans.sort()

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        end = self.now + seconds
        while self._plans and self._plans[0][0] <= end:
            when, _, what = self._plans.pop(0)
            self.now = max(self.now, when)
            what()
        self.now = end

    def skip(self) -> bool:
        """Go to the next plan; False if there is none."""
        if self._plans:
            self.advance(max(0.0, self._plans[0][0] - self.now))
            return True
        return False


class VirtualModel(FakeModel):
    """A FakeModel whose work takes virtual time and whose sequences share a pool of rows.

    `breaks` maps a question to the stage in which it fails: tokenize, preprocess, open,
    prefill, decode or sample; frames whose keys are in `blind` break the vision tower. What
    a row was computed from is written down and compared at each step: `corrupt` lists the
    sequences that had another's rows.
    """

    def __init__(self, clock: VirtualClock, *, rows: int = 100_000, images: int = 32, **options):
        super().__init__(**options)
        self.clock, self.cache, self._images = clock, KVCache(rows), images
        self.seen = OrderedDict()                  # keys of frames, the last used last
        self.breaks: Dict[str, str] = {}
        self.blind: Set[int] = set()
        self.log: List[Tuple[float, List[str], List[str]]] = []  # began, filled, decoded
        self.visions: List[int] = []               # keys, each time a frame is seen
        self.corrupt: List[str] = []
        self._contents = np.zeros(rows, np.int64)
        self._prefixes = PrefixCache(self.cache.length)
        self._windows: Dict[str, Dict[int, RollingWindow]] = {}
        self._read: Set[int] = set()
        self._question: Dict[int, str] = {}        # of sequences
        self._keys: Dict[int, np.ndarray] = {}     # of sequences, by row
        self._rolled: Set[int] = set()

    # -- what the scheduler calls -------------------------------------------------------------

    def tokenize(self, turns, system_prompt=''):
        self._break('tokenize', turns[-1].user)
        segments = [[BOS, *self.tokenizer.encode(system_prompt)]]
        for turn in turns:
            segments += [*turn.frames, self.tokenizer.encode(turn.user + (turn.assistant or ''))]
        prompt = Prompt(segments, image_rows)
        self._turns = getattr(self, '_turns', {})
        self._turns[id(prompt)] = turns
        return prompt

    def preprocess(self, prompt, generation=0):
        self._break('preprocess', self._turns[id(prompt)][-1].user)
        unread = [f for f in self.unseen(prompt, generation) if f.key not in self._read]
        for frame in unread:
            self._spend(READ)
            frame.rgb  # decodes, or raises BAD_IMAGE
            self._read.add(frame.key)
        return bool(unread)

    def unseen(self, prompt, generation=0):
        _, shared = self._known(prompt, generation)
        return list({frame.key: frame for frame, _, end in prompt.spans
                     if end > shared and frame.key not in self.seen}.values())

    def see(self, frame):
        frame.rgb
        self._spend(SEE)
        if frame.key in self.blind:
            raise RuntimeError('the vision tower is broken')
        self.visions.append(frame.key)
        self.seen[frame.key] = True
        while len(self.seen) > self._images:
            self.seen.popitem(last=False)

    def can_open(self, prompt, generation=0):
        promised = self._prefixes.promised(prompt.keys)
        return promised < self._known(prompt, generation)[1] + WORTH_WAITING

    def open(self, prompt, generation=0):
        assert not self.unseen(prompt, generation), 'an image is missing'
        question = self._turns[id(prompt)][-1].user
        self._break('open', question)
        parent, shared = self._known(prompt, generation)
        sequence = self.cache.add() if parent is None else self.cache.fork(parent, shared)
        self._next = sequence - 1  # the number that comes next is the one that the cache gave
        super().open(prompt)
        self.unfilled[sequence] = prompt.n_tokens - shared
        self._question[sequence], self._keys[sequence] = question, prompt.keys
        if any(parent == window.sequence and window.dropped
               for window in self._generation(generation)):
            self._rolled.add(sequence)
        else:
            self._prefixes.run(sequence, prompt.keys)
        return sequence, shared

    def step(self, fills, decodes):
        self.log.append((self.clock(), [self._question[s] for s, _ in fills],
                         [self._question[s] for s, _ in decodes]))
        self._spend(PASS + ROW * sum(rows for _, rows in fills))
        for stage, part in (('prefill', fills), ('decode', decodes)):
            for sequence, _ in part:
                self._break(stage, self._question[sequence])
        for sequence, token in decodes:
            self._keys[sequence] = np.append(self._keys[sequence], token)
        try:
            self._extend([*fills, *((sequence, 1) for sequence, _ in decodes)])
        except NanoVlmError:
            for sequence, _ in decodes:
                self._keys[sequence] = self._keys[sequence][:-1]
            raise
        logits = super().step(fills, decodes)
        for row, (sequence, _) in zip(logits, [*fills, *decodes]):
            if self.breaks.get(self._question[sequence]) == 'sample':
                row[:] = np.nan
        return logits

    def watch(self, window, generations, rolling=True, system_prompt='', limit=1 << 30):
        self.watched.append((window, list(generations), rolling))
        if not rolling:
            unseen = [f for _, frames in generations for f in frames if f.key not in self.seen]
            for frame in unseen[-1:]:
                self.see(frame)
            return len(unseen) <= 1
        wanted, held = dict(generations), self._windows.setdefault(window, {})
        for number in list(held):
            if number not in wanted or not held[number].roll_to(wanted[number]):
                held.pop(number).remove()
        for number, frames in wanted.items():
            if number not in held:
                held[number] = RollingWindow(self.cache, Layout(1, 0, IMAGE_ROWS), system_prompt)
            rolled, known = held[number], len(held[number].frames)
            if known == len(frames) or limit <= 0:
                continue
            try:
                if frames[known].key not in self.seen:
                    self.see(frames[known])
                missing = rolled.missing(frames[known])
                rows = min(limit, missing.stop - missing.start)
                self._spend(ROW * rows)
                self._reserve(rows, spare=held)
            except Exception:
                while held:
                    held.popitem()[1].remove()
                raise
            keys = Prompt([[BOS], *frames[:known + 1]], image_rows).keys
            self._write(rolled.sequence, rows, keys)
            rolled.appended(frames[known], keys)
            limit -= rows
        return all(len(held[n].frames) == len(frames) for n, frames in wanted.items())

    def release(self, sequence, keep):
        super().release(sequence, keep)
        keys = self._keys.pop(sequence)[:self.cache.length(sequence)]
        del self._question[sequence]
        self._prefixes.end(sequence)
        if not keep or sequence in self._rolled:
            self._rolled.discard(sequence)
            self.cache.remove(sequence)
            return
        useless = self._prefixes.keep(sequence, keys)
        if useless is not None:
            self.cache.remove(useless)
        if len(self._prefixes) > KEPT:
            self.cache.remove(self._prefixes.evict())

    def reset(self):
        super().reset()
        while self._give_up():
            pass
        self.seen.clear()

    # -- for tests ----------------------------------------------------------------------------

    @property
    def held(self) -> int:
        """Rows that are in use once everything that could be computed again is given up."""
        while self._give_up():
            pass
        return self.cache.slots - self.cache.free

    @property
    def open_questions(self) -> Set[str]:
        """Questions that have a sequence."""
        return set(self._question.values())

    def steps_of(self, question: str) -> Tuple[List[float], List[float]]:
        """When the steps began in which a question was filled, and decoded."""
        return ([began for began, filled, _ in self.log if question in filled],
                [began for began, _, decoded in self.log if question in decoded])

    # -- rows ---------------------------------------------------------------------------------

    def _extend(self, batch):
        for sequence, _ in batch:
            self._compare(sequence)
        self._reserve(sum(count for _, count in batch))
        for sequence, count in batch:
            self._write(sequence, count, self._keys[sequence])

    def _reserve(self, rows, spare=None):
        while rows > self.cache.free:
            if not self._give_up(spare):
                raise NanoVlmError(ErrorCode.OUT_OF_MEMORY, 'The KV cache is full.')

    def _give_up(self, spare=None) -> bool:
        sequence = self._prefixes.evict()
        if sequence is not None:
            self.cache.remove(sequence)
            return True
        for held in self._windows.values():
            if held and held is not spare:
                while held:
                    held.popitem()[1].remove()
                return True
        return False

    def _write(self, sequence, count, keys):
        start = self.cache.length(sequence)
        self._contents[self.cache.extend(sequence, count)] = keys[start:start + count]

    def _compare(self, sequence):
        slots = self.cache.table([sequence])[0] if self.cache.length(sequence) else []
        if not np.array_equal(self._contents[slots], self._keys[sequence][:len(slots)]):
            self.corrupt.append(self._question[sequence])

    def _known(self, prompt, generation):
        for window in self._generation(generation):
            rows = window.shared(prompt.keys, len(prompt.spans))
            if rows:
                return window.sequence, rows
        return self._prefixes.match(prompt.keys)

    def _generation(self, number):
        return [held[number] for held in self._windows.values() if number in held]

    def _spend(self, seconds):
        self.clock.advance(seconds)

    def _break(self, stage, question):
        if self.breaks.get(question) == stage:
            raise RuntimeError(f'{stage} of {question!r} is broken')
