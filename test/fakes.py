# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A model without weights: it says what it is told to, byte by byte."""
import json
import threading
import time
from functools import lru_cache
from typing import Callable, Dict, List

import numpy as np

from nanovlm_ros.engine.rolling_window import Layout
from nanovlm_ros.engine.sampler import sample_rows
from nanovlm_ros.models.prompt import Prompt, Turn
from nanovlm_ros.types import ErrorCode, Frame, NanoVlmError

EOS = 256  # ids 0..255 are bytes


@lru_cache(maxsize=1)
def _byte_grammar_tokenizer():
    from llguidance import LLTokenizer

    names = [f'<0x{i:02X}>' for i in range(256)] + ['</s>']
    document = {
        'version': '1.0', 'normalizer': None, 'pre_tokenizer': None, 'post_processor': None,
        'truncation': None, 'padding': None,
        'added_tokens': [{'id': EOS, 'content': '</s>', 'special': True, 'lstrip': False,
                          'rstrip': False, 'normalized': False, 'single_word': False}],
        'decoder': {'type': 'Sequence', 'decoders': [{'type': 'ByteFallback'},
                                                     {'type': 'Fuse'}]},
        'model': {'type': 'BPE', 'vocab': {n: i for i, n in enumerate(names)}, 'merges': [],
                  'unk_token': None, 'byte_fallback': True, 'fuse_unk': False,
                  'dropout': None, 'continuing_subword_prefix': None,
                  'end_of_word_suffix': None, 'ignore_merges': False}}
    return LLTokenizer(json.dumps(document), eos_token=EOS)


class FakeTokenizer:
    """One token a byte, and an end token."""

    vocab_size = 257

    def encode(self, text: str) -> List[int]:
        return list(text.encode())

    def decode(self, ids) -> str:
        return bytes(i for i in ids if i != EOS).decode(errors='replace')

    def llg(self):
        return _byte_grammar_tokenizer()


def describe(turns: List[Turn]) -> str:
    """The fake's usual answer: the question and what it sees, after the space models start with."""
    turn = turns[-1]
    seen = ','.join(str(round(float(f.rgb.mean()))) for f in turn.frames)
    return f' {turn.user}|{seen}|{len(turns)}'


class FakeModel:
    """Drives like engine.model.VisionLanguageModel.

    `reply(turns)` is the text of an answer (bytes are sent as they are);
    `before(stage)` is called before 'preprocess', 'vision', 'prefill', 'decode' and
    'watch' and may wait or raise; `logits(position)`, if given, replaces the script:
    `position` counts the tokens of one answer.
    """

    name, device = 'fake', 'cpu'
    vocab_size = FakeTokenizer.vocab_size
    stop_ids = frozenset([EOS])
    stop_strings = ()

    def __init__(self, reply: Callable = describe, *, context_length=4096, max_images=8,
                 token_seconds=0.0, before: Callable[[str], None] = lambda stage: None,
                 logits: Callable = None):
        self.tokenizer = FakeTokenizer()
        self.context_length, self.max_images = context_length, max_images
        self.cache_rows = 99 * context_length
        self.prefill_chunk = 128
        self.reply, self.before, self.logits = reply, before, logits
        self.token_seconds = token_seconds
        self.sequences: Dict[int, List[int]] = {}  # what each one has still to say
        self.positions: Dict[int, int] = {}        # how many tokens each one was asked for
        self.unfilled: Dict[int, int] = {}         # rows of each prompt that were not run yet
        self.seen = set()                          # keys of frames that passed the vision tower
        self.watched = []                          # (window, generations, rolling) of each call
        self.prompts_of_windows = []               # the system prompt of each call
        self.steps = []                            # (fills, decodes) of each call
        self.kept: List[bool] = []                 # `keep` of each release
        self.batches: List[int] = []               # sizes of the decode steps
        self.threads = set()
        self.closed = False
        self.resets = 0
        self._next = 0

    max_frames = 32
    sample = staticmethod(sample_rows)

    def layout(self, system_prompt=''):
        return Layout(len(system_prompt), 0, 4)

    def _enter(self, stage):
        self.threads.add(threading.current_thread().name)
        self.before(stage)

    def tokenize(self, turns, system_prompt=''):
        text = system_prompt + ''.join(t.user + (t.assistant or '') for t in turns)
        frames = [f for t in turns for f in t.frames]
        prompt = Prompt([self.tokenizer.encode(text), *frames], lambda frame: 4)
        self._turns = getattr(self, '_turns', {})
        self._turns[id(prompt)] = turns
        return prompt

    def preprocess(self, prompt, generation=0):
        self._enter('preprocess')
        for frame in prompt.frames:
            frame.rgb  # decodes, or raises BAD_IMAGE
        return False

    def unseen(self, prompt, generation=0):
        return [frame for frame in prompt.frames if frame.key not in self.seen]

    def see(self, frame):
        self._enter('vision')
        self.seen.add(frame.key)

    def can_open(self, prompt, generation=0):
        return True

    def open(self, prompt, generation=0):
        reply = self.reply(self._turns.pop(id(prompt)))
        self._next += 1
        self.sequences[self._next] = [
            *(reply if isinstance(reply, bytes) else reply.encode()), EOS]
        self.unfilled[self._next] = prompt.n_tokens
        return self._next, 0

    def step(self, fills, decodes):
        """Rows of prompts are counted; a prompt that is full, and each token, brings the next."""
        self.steps.append((list(fills), list(decodes)))
        if fills:
            self._enter('prefill')
        if decodes:
            self._enter('decode')
            time.sleep(self.token_seconds)
            self.batches.append(len(decodes))
        logits = []
        for sequence, rows in fills:
            self.unfilled[sequence] -= rows
            assert self.unfilled[sequence] >= 0
            full = not self.unfilled[sequence]
            logits.append(self._say(sequence) if full else np.zeros(self.vocab_size, np.float32))
        return np.stack(logits + [self._say(sequence) for sequence, _ in decodes])

    def watch(self, window, generations, rolling=True, system_prompt='', limit=0):
        self._enter('watch')
        self.prompts_of_windows.append(system_prompt)
        self.watched.append((window, list(generations), rolling))
        for _, frames in generations:
            frames[-1].rgb
        return True

    def _say(self, sequence):
        position = self.positions.get(sequence, 0)
        self.positions[sequence] = position + 1
        if self.logits is not None:
            return self.logits(position)
        row = np.zeros(self.vocab_size, np.float32)
        left = self.sequences[sequence]
        row[left.pop(0) if left else EOS] = 50
        return row

    def release(self, sequence, keep):
        del self.sequences[sequence]
        self.positions.pop(sequence, None)
        self.unfilled.pop(sequence, None)
        self.kept.append(keep)

    def reset(self):
        self.resets += 1

    def close(self):
        self.threads.add(threading.current_thread().name)
        self.closed = True


def gray(value, stamp_ns=0, **fields) -> Frame:
    """A frame of one gray value."""
    return Frame.from_rgb(np.full((8, 8, 3), value, np.uint8), stamp_ns=stamp_ns, **fields)


def broken_frame() -> Frame:
    """A frame whose pixels cannot be decoded."""
    def fail():
        raise NanoVlmError(ErrorCode.BAD_IMAGE, 'The picture is corrupt.')
    return Frame(fail, width=8, height=8)
