# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Frames on their way to rows of the language model, each computed once while it is in use."""
from collections import OrderedDict

import numpy as np
import torch

from nanovlm_ros.models.vision_encoder import VisionEncoder
from nanovlm_ros.types import Frame

CACHED_FRAMES = 32  # whose rows are kept: the newest of a few cameras and windows
SINGLE_FRAMES = 8   # of a model that takes one image at a time


def kept_frames(several_images: bool) -> int:
    """Return how many frames' rows a model keeps."""
    return CACHED_FRAMES if several_images else SINGLE_FRAMES


class ImageCache:
    """Preprocessed pixels, and embeddings on the device, by `Frame.key`.

    The least recently used go first.
    """

    def __init__(self, encoder: VisionEncoder, frames: int):
        self._encoder, self._frames = encoder, frames
        self._pixels: 'OrderedDict[int, np.ndarray]' = OrderedDict()
        self._embeddings: 'OrderedDict[int, torch.Tensor]' = OrderedDict()

    def __contains__(self, frame: Frame) -> bool:
        return frame.key in self._embeddings

    def __len__(self) -> int:
        return len(self._embeddings)

    def tokens(self, frame: Frame) -> int:
        """Return how many rows a frame has."""
        return self._encoder.tokens(frame.width, frame.height)

    def preprocess(self, frame: Frame) -> bool:
        """Decode and resize a frame that is not known; tell whether it was work.

        Raises NanoVlmError(BAD_IMAGE).
        """
        if frame in self or frame.key in self._pixels:
            return False
        self._put(self._pixels, frame.key, self._encoder.preprocess(frame.rgb))
        return True

    def rows(self, frame: Frame) -> torch.Tensor:
        """Return the embeddings (tokens, hidden); runs the tower if they are not here."""
        if frame not in self:
            self.preprocess(frame)
            pixels = self._pixels.pop(frame.key)
            self._put(self._embeddings, frame.key,
                      self._encoder.encode(pixels, frame.width, frame.height))
        self._embeddings.move_to_end(frame.key)
        return self._embeddings[frame.key]

    def clear(self) -> None:
        """Forget every frame."""
        self._pixels.clear()
        self._embeddings.clear()

    def _put(self, cache: OrderedDict, key: int, value) -> None:
        cache[key] = value
        while len(cache) > self._frames:
            cache.popitem(last=False)
