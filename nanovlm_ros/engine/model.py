# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A vision-language model as the executor drives it: prompt -> rows -> logits."""
from collections import OrderedDict
from typing import Dict, List, Optional, Sequence, Tuple

import numpy as np
import torch

from nanovlm_ros.engine.prefix_cache import PrefixCache
from nanovlm_ros.mlc.kv_cache import OutOfSlots
from nanovlm_ros.mlc.language_model import LanguageModel
from nanovlm_ros.models.checkpoint import Checkpoint
from nanovlm_ros.models.prompt import Prompt, Turn
from nanovlm_ros.models.templates import Special
from nanovlm_ros.models.tokenizer import Tokenizer
from nanovlm_ros.models.vision_encoder import VisionEncoder
from nanovlm_ros.types import ErrorCode, Frame, NanoVlmError

CACHED_FRAMES = 32  # whose embeddings are kept: the newest of a few cameras and windows
KEPT_PREFIXES = 32  # finished sequences that new prompts are compared with


class VisionLanguageModel:
    """Tokenizer, vision encoder, compiled decoder and their caches; for one thread."""

    def __init__(self, checkpoint: Checkpoint, decoder: LanguageModel, context_length: int):
        self.name = checkpoint.name
        self.context_length = context_length
        self.template = checkpoint.template
        self.tokenizer = Tokenizer(checkpoint.folder('llm'))
        self.vocab_size = min(self.tokenizer.vocab_size, checkpoint.llm['vocab_size'])
        self.stop_ids = self.tokenizer.stop_ids
        self.stop_strings = self.template.stop_strings
        self._vision = VisionEncoder(checkpoint)
        self.max_images = context_length // self._vision.tokens
        self._decoder: Optional[LanguageModel] = decoder
        self._pixels: Dict[int, np.ndarray] = {}
        self._embeddings: 'OrderedDict[int, torch.Tensor]' = OrderedDict()
        self._prefixes = PrefixCache()
        self._keys: Dict[int, List[np.ndarray]] = {}  # of running sequences, in pieces

    def tokenize(self, turns: Sequence[Turn], system_prompt: str = '') -> Prompt:
        """Return the prompt of a conversation whose last turn wants an answer."""
        segments: list = []
        for piece in self.template.render(turns, system_prompt):
            if isinstance(piece, Special):
                segments.append([self.tokenizer.special(piece.text)])
            elif isinstance(piece, str):
                segments.append(self.tokenizer.encode(piece))
            else:
                segments.append(piece)
        return Prompt(segments, self._vision.tokens)

    def preprocess(self, prompt: Prompt) -> None:
        """Decode and resize the images that are not known yet. Raises BAD_IMAGE."""
        for frame in self._unknown(prompt):
            if frame.key not in self._pixels:
                self._pixels[frame.key] = self._vision.preprocess(frame.rgb)

    def encode_images(self, prompt: Prompt) -> None:
        """Run the vision tower over the images that are not known yet."""
        frames = self._unknown(prompt)
        self.preprocess(prompt)
        if frames:
            pixels = [self._pixels[frame.key] for frame in frames]
            for frame, rows in zip(frames, self._vision.encode(pixels)):
                self._embeddings[frame.key] = rows
        self._pixels.clear()
        for frame in prompt.frames:  # making room must not take what this prompt needs
            if frame.key in self._embeddings:
                self._embeddings.move_to_end(frame.key)
        while len(self._embeddings) > max(CACHED_FRAMES, len(prompt.frames)):
            self._embeddings.popitem(last=False)

    def prefill(self, prompt: Prompt) -> Tuple[int, int, np.ndarray]:
        """Return (sequence, rows taken from the cache, logits (vocab_size,)).

        Raises OUT_OF_MEMORY when the KV cache cannot hold the prompt.
        """
        kept, shared = self._prefixes.match(prompt.keys)
        cache = self._cache
        sequence = cache.add() if kept is None else cache.fork(kept, shared)
        self._keys[sequence] = [prompt.keys]
        try:
            self.encode_images(prompt)
            rows = self._rows(prompt)[shared:].contiguous()
            logits = self._run([(sequence, len(rows))], rows)
        except BaseException:
            self.release(sequence, keep=False)
            raise
        return sequence, shared, logits[0]

    def decode(self, sequences: Sequence[int], tokens: Sequence[int]) -> np.ndarray:
        """Append one token to each sequence; return the logits (sequences, vocab_size)."""
        rows = torch.from_numpy(self._llm.embed(tokens)).clone()  # torch aligns to 64 bytes
        logits = self._run([(sequence, 1) for sequence in sequences], rows)
        for sequence, token in zip(sequences, tokens):
            self._keys[sequence].append(np.array([token], np.int64))
        return logits

    def release(self, sequence: int, keep: bool) -> None:
        """End a sequence; with `keep` its rows may serve prompts that begin like it."""
        keys = np.concatenate(self._keys.pop(sequence))
        if not keep:
            self._cache.remove(sequence)
            return
        useless = self._prefixes.keep(sequence, keys[:self._cache.length(sequence)])
        if useless is not None:
            self._cache.remove(useless)
        if len(self._prefixes) > KEPT_PREFIXES:
            self._evict()

    def warm_up(self) -> None:
        """Run every part once, so that the first question does not pay for first calls."""
        frame = Frame.from_rgb(np.zeros((8, 8, 3), np.uint8))
        sequence, _, _ = self.prefill(self.tokenize([Turn('', (frame,))]))
        self.decode([sequence], [0])
        self.release(sequence, keep=False)
        self.reset()

    def reset(self) -> None:
        """Forget every kept prefix and image."""
        while self._evict():
            pass
        self._embeddings.clear()

    def close(self) -> None:
        """Free the weights and the cache; the model is of no use afterwards."""
        self._decoder = None
        self._embeddings.clear()
        del self._vision

    @property
    def _llm(self) -> LanguageModel:
        assert self._decoder is not None, 'the model is closed'
        return self._decoder

    @property
    def _cache(self):
        return self._llm.cache

    def _unknown(self, prompt: Prompt) -> List[Frame]:
        """Frames that have neither an embedding nor all of their rows in a kept prefix."""
        _, shared = self._prefixes.match(prompt.keys)
        end, unknown = 0, {}
        for segment in prompt.segments:
            is_frame = isinstance(segment, Frame)
            end += self._vision.tokens if is_frame else len(segment)
            if is_frame and end > shared and segment.key not in self._embeddings:
                unknown[segment.key] = segment
        return list(unknown.values())

    def _rows(self, prompt: Prompt) -> torch.Tensor:
        """Embeddings of a prompt, (n_tokens, hidden); rows the prefix covers may be absent."""
        text = torch.from_numpy(self._llm.embed(prompt.text_ids))
        rows = text.new_zeros((prompt.n_tokens, text.shape[1]))
        rows[torch.from_numpy(prompt.keys >= 0)] = text
        start = 0
        for segment in prompt.segments:
            if not isinstance(segment, Frame):
                start += len(segment)
                continue
            if segment.key in self._embeddings:
                rows[start:start + self._vision.tokens] = self._embeddings[segment.key]
            start += self._vision.tokens
        return rows

    def _run(self, batch, rows: torch.Tensor) -> np.ndarray:
        """Run a batch, giving up kept prefixes as long as the cache is too full for it."""
        while True:
            try:
                return self._llm.run(batch, rows)[:, :self.vocab_size]
            except OutOfSlots as error:
                if not self._evict():
                    raise NanoVlmError(
                        ErrorCode.OUT_OF_MEMORY,
                        f'{error} Ask less at a time, or raise context_length or '
                        'max_sequences.') from error

    def _evict(self) -> bool:
        sequence = self._prefixes.evict()
        if sequence is not None:
            self._cache.remove(sequence)
        return sequence is not None
