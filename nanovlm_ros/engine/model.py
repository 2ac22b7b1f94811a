# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A vision-language model as the executor drives it: prompt -> rows -> logits."""
from typing import Callable, Dict, List, Optional, Sequence, Set, Tuple

import numpy as np
import torch

from nanovlm_ros.engine.device import CUDA
from nanovlm_ros.engine.held_windows import Held, HeldWindows, remove
from nanovlm_ros.engine.image_cache import ImageCache, kept_frames
from nanovlm_ros.engine.prefix_cache import PrefixCache
from nanovlm_ros.engine.rolling_window import Layout, RollingWindow
from nanovlm_ros.engine.rows import prompt_rows
from nanovlm_ros.engine.sampler import Sampler, sample_rows
from nanovlm_ros.engine.window import Generation
from nanovlm_ros.mlc.kv_cache import OutOfSlots
from nanovlm_ros.mlc.language_model import LanguageModel
from nanovlm_ros.models.checkpoint import Checkpoint
from nanovlm_ros.models.placement import Placement
from nanovlm_ros.models.prompt import Prompt, Turn
from nanovlm_ros.models.templates import Special, Template, choose_template
from nanovlm_ros.models.tokenizer import Tokenizer
from nanovlm_ros.models.vision_encoder import VisionEncoder
from nanovlm_ros.types import ErrorCode, Frame, NanoVlmError

KEPT_PREFIXES = 32  # finished sequences that new prompts are compared with
WORTH_WAITING = 16  # rows that a prompt waits for rather than run them itself
NO_LIMIT = 1 << 30  # rows
PREFILL_CHUNK = {'cpu': 128, 'cuda': 512}  # rows that a step may take: some tens of ms


class VisionLanguageModel:
    """Tokenizer, vision encoder, compiled decoder and their caches; for one thread.

    A prompt is opened as a sequence, filled row by row and decoded token by token; one step
    does some of each for many sequences.
    """

    def __init__(self, checkpoint: Checkpoint, place: Placement,
                 decoder: Callable[[], LanguageModel], context_length: int,
                 template: Optional[Template] = None,
                 sample: Callable[..., List[int]] = sample_rows):
        """Without a `template` it is the one that the language model was trained with.

        `place` is that of vision; `decoder` gives the language model, on the same device. It may
        convert and compile for minutes: it is called when all the rest is sound. `sample` is
        `sampler.sample_rows` for logits that are there.
        """
        self.name, self.device = checkpoint.name, place.device.type  # 'cpu' or 'cuda'
        self.context_length, self._sample = context_length, sample
        self.prefill_chunk = PREFILL_CHUNK[self.device]
        self.tokenizer = Tokenizer(checkpoint.llm_folder)
        self.template = template or choose_template(
            checkpoint.llm['model_type'], self.tokenizer.has)
        self.vocab_size = min(self.tokenizer.vocab_size, checkpoint.llm['vocab_size'])
        self.stop_ids = self.tokenizer.stop_ids | {
            self.tokenizer.special(text) for text in self.template.stop_tokens}
        self.stop_strings = self.template.stop_strings
        encoder = VisionEncoder(checkpoint, place)
        self._image_rows = lambda frame: self._vision.tokens(frame)
        self.max_frames = kept_frames(checkpoint.several_images)  # whose embeddings are kept
        self.max_images = min(context_length // encoder.tokens(1, 1), self.max_frames) \
            if checkpoint.several_images else 1
        self._images: Optional[ImageCache] = ImageCache(encoder, self.max_frames)
        self._prefixes = PrefixCache(lambda sequence: self._cache.length(sequence))
        self._windows = HeldWindows()
        self._unfilled: Dict[int, torch.Tensor] = {}  # rows of open sequences, not yet run
        self._keys: Dict[int, List[np.ndarray]] = {}  # of open sequences, in pieces
        self._rolled: Set[int] = set()                # those whose rows know dropped frames
        self.tokenize([Turn('')])  # raises if the template wants tokens that there are not
        self._decoder: Optional[LanguageModel] = decoder()

    def tokenize(self, turns: Sequence[Turn], system_prompt: str = '') -> Prompt:
        """Return the prompt of a conversation whose last turn wants an answer."""
        segments: list = []
        after_token = False  # the token that begins a prompt is none
        for piece in self.template.render(turns, system_prompt, self.tokenizer.has):
            if isinstance(piece, Special):
                after_token = bool(segments)
                segments.append([self.tokenizer.special(piece.text)])
                continue
            segments.append(self.tokenizer.encode(piece, after_token)
                            if isinstance(piece, str) else piece)
            after_token = False
        return Prompt(segments, self._image_rows)

    # -- a prompt's way -----------------------------------------------------------------------

    def preprocess(self, prompt: Prompt, generation: int = 0) -> bool:
        """Decode and resize images that are not known; tell whether there was one.

        Raises BAD_IMAGE.
        """
        return any([self._vision.preprocess(frame) for frame in self.unseen(prompt, generation)])

    def unseen(self, prompt: Prompt, generation: int = 0) -> List[Frame]:
        """Frames that have neither an embedding nor all of their rows in the cache."""
        _, shared = self._known(prompt, generation)
        unseen = {frame.key: frame for frame, _, end in prompt.spans
                  if end > shared and frame not in self._vision}
        return list(unseen.values())

    def see(self, frame: Frame) -> None:
        """Run the vision tower over a frame. Raises BAD_IMAGE."""
        self._vision.rows(frame)

    def can_open(self, prompt: Prompt, generation: int = 0) -> bool:
        """Tell that waiting would save little: no prompt that is being filled will share more."""
        promised = self._prefixes.promised(prompt.keys)
        return promised < self._known(prompt, generation)[1] + WORTH_WAITING

    def open(self, prompt: Prompt, generation: int = 0) -> Tuple[int, int]:
        """Return (sequence, rows taken from the cache); the other rows are to be filled.

        A prompt about a rolling window starts from that generation's rows, if they are those of
        its frames; any prompt from the longest prefix that it has in common with another.
        """
        parent, shared = self._known(prompt, generation)
        sequence = self._cache.add() if parent is None else self._cache.fork(parent, shared)
        if any(parent == window.sequence and window.dropped
               for window in self._windows.generation(generation)):
            self._rolled.add(sequence)
        else:
            self._prefixes.run(sequence, prompt.keys)
        self._keys[sequence] = [prompt.keys]
        try:
            self._unfilled[sequence] = self._rows(prompt, shared)
        except BaseException:
            self.release(sequence, keep=False)
            raise
        return sequence, shared

    def step(self, fills: Sequence[Tuple[int, int]], decodes: Sequence[Tuple[int, int]]
             ) -> torch.Tensor:
        """Run rows of several sequences together; return the logits of each one's last row.

        `fills` are (sequence, how many of its open rows), `decodes` (sequence, token to append);
        the logits (fills + decodes, vocab_size) float32 come in that order, on the model's device
        and until the next step. Raises OUT_OF_MEMORY when the KV cache cannot hold the rows; then
        nothing has changed.
        """
        if fills:
            rows = [self._unfilled[sequence][:count] for sequence, count in fills]
            if decodes:
                rows.append(self._llm.embed([token for _, token in decodes]))
            logits = self._run([*fills, *((sequence, 1) for sequence, _ in decodes)], rows)
        else:
            logits = self._make_room(lambda: self._llm.decode(decodes))
        for sequence, count in fills:
            self._unfilled[sequence] = self._unfilled[sequence][count:]
        for sequence, token in decodes:
            self._keys[sequence].append(np.array([token], np.int64))
        return logits[:, :self.vocab_size]

    def sample(self, logits: torch.Tensor, samplers: Sequence[Sampler],
               masks: Sequence[Optional[np.ndarray]]) -> List[int]:
        """Return a token of each row of logits; see `sampler.sample_rows`."""
        return self._sample(logits, samplers, masks)

    def release(self, sequence: int, keep: bool) -> None:
        """End a sequence; with `keep` its rows may serve prompts that begin like it."""
        keys = np.concatenate(self._keys.pop(sequence))
        self._unfilled.pop(sequence, None)
        self._prefixes.end(sequence)
        # Another prompt must not get rows that know frames which are gone.
        if not keep or sequence in self._rolled:
            self._rolled.discard(sequence)
            self._cache.remove(sequence)
            return
        useless = self._prefixes.keep(sequence, keys[:self._cache.length(sequence)])
        if useless is not None:
            self._cache.remove(useless)
        if len(self._prefixes) > KEPT_PREFIXES:
            self._evict()

    # -- windows ------------------------------------------------------------------------------

    def watch(self, window: str, generations: Sequence[Generation], rolling: bool = True,
              system_prompt: str = '', limit: int = NO_LIMIT) -> bool:
        """Do some work towards a window of these; True when it is complete.

        The frames of a `rolling` one get their rows in the KV cache, at most `limit` of them now,
        and what it held besides is given back; those of others pass the vision tower, one now.
        Raises BAD_IMAGE, OUT_OF_MEMORY and CONTEXT_OVERFLOW.
        """
        if not rolling:
            unseen = [f for _, frames in generations for f in frames if f not in self._vision]
            for frame in unseen[-1:]:  # the newest is asked about first
                self.see(frame)
            return len(unseen) <= 1
        wanted = dict(generations)
        held = self._windows.roll(window, wanted, system_prompt, lambda: RollingWindow(
            self._cache, self.layout(system_prompt), system_prompt))
        self._append(held, wanted, limit)
        return all(len(held[number].frames) == len(frames) for number, frames in wanted.items())

    def layout(self, system_prompt: str = '') -> Layout:
        """Return where the rows of frames lie in a prompt."""
        frame = Frame.from_rgb(np.zeros((1, 1, 3), np.uint8))
        (_, head, end), (_, start, _) = self.tokenize(
            [Turn('', (frame,) * 2)], system_prompt).spans
        return Layout(head, start - end, end - head)

    def _append(self, held: Held, wanted: Dict[int, Sequence[Frame]], limit: int) -> None:
        """Run rows of the next frame of each generation, together."""
        batch, rows, grown = [], [], []
        for number, frames in wanted.items():
            window, known = held[number], len(held[number].frames)
            if limit <= 0 or known == len(frames):
                continue
            prompt = self.tokenize([Turn('', tuple(frames[:known + 1]))], window.system_prompt)
            missing = window.missing(frames[known])
            count = min(limit, missing.stop - missing.start)
            rows.append(self._rows(prompt, missing.start)[:count])
            batch.append((window.sequence, count))
            grown.append((window, frames[known], prompt.keys))
            limit -= count
        if not batch:
            return
        try:
            self._run(batch, rows, spare=held)
        except BaseException:
            remove(held)
            raise
        for window, frame, keys in grown:
            window.appended(frame, keys)

    def _known(self, prompt: Prompt, generation: int) -> Tuple[Optional[int], int]:
        """Return (sequence, rows) that a prompt can start from; (None, 0) if there are none."""
        for window in self._windows.generation(generation):
            rows = window.shared(prompt.keys, len(prompt.spans))
            if rows:
                return window.sequence, rows
        return self._prefixes.match(prompt.keys)

    # -- the model's life ---------------------------------------------------------------------

    def warm_up(self) -> None:
        """Run every part once, so that the first question does not pay for first calls."""
        frame = Frame.from_rgb(np.zeros((8, 8, 3), np.uint8))
        prompt = self.tokenize([Turn('', (frame,))])
        sequence, _ = self.open(prompt)
        self.step([(sequence, prompt.n_tokens)], [])
        self.step([], [(sequence, 0)])
        self.release(sequence, keep=False)
        self.reset()

    def reset(self) -> None:
        """Forget every kept prefix, window and image."""
        while self._evict() or self._windows.forget():
            pass
        self._vision.clear()

    def close(self) -> None:
        """Free the weights and the cache; the model is of no use afterwards."""
        self._decoder = self._images = None
        self._unfilled.clear()
        if self.device == CUDA:  # for others, and for the model that comes next
            from nanovlm_ros.mlc.cuda.graphs import give_back

            give_back()

    @property
    def cache_rows(self) -> int:
        """Rows of the KV cache, of all sequences."""
        return self._cache.slots

    @property
    def _llm(self) -> LanguageModel:
        assert self._decoder is not None, 'the model is closed'
        return self._decoder

    @property
    def _vision(self) -> ImageCache:
        assert self._images is not None, 'the model is closed'
        return self._images

    @property
    def _cache(self):
        return self._llm.cache

    def _rows(self, prompt: Prompt, start: int) -> torch.Tensor:
        """Embeddings of the rows from `start` on, (n_tokens - start, hidden) float32."""
        return prompt_rows(prompt, start, self._llm.embed(prompt.text_ids), self._vision.rows)

    def _run(self, batch, rows: Sequence[torch.Tensor], spare: Optional[Held] = None
             ) -> torch.Tensor:
        """Run a batch; `rows` are copied, for the language model writes over them."""
        return self._make_room(lambda: self._llm.run(batch, torch.cat(rows)), spare)

    def _make_room(self, run: Callable[[], torch.Tensor], spare: Optional[Held] = None
                   ) -> torch.Tensor:
        """Run; while the cache is too full for it, give up what can be computed again."""
        while True:
            try:
                return run()
            except OutOfSlots as error:
                if not (self._evict() or self._windows.forget(spare)):
                    raise NanoVlmError(
                        ErrorCode.OUT_OF_MEMORY,
                        f'{error} Ask less at a time, or set kv_cache_tokens to more than '
                        f'{self.cache_rows}.') from error

    def _evict(self) -> bool:
        sequence = self._prefixes.evict()
        if sequence is not None:
            self._cache.remove(sequence)
        return sequence is not None
