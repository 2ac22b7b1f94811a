# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Images to rows of the language model: preprocessing, tower, projector, tiles put together."""
from typing import Optional

import numpy as np
import torch

from nanovlm_ros.imaging import normalise
from nanovlm_ros.models.anyres import AnyRes
from nanovlm_ros.models.checkpoint import ANYRES, CROP, PAD, Checkpoint
from nanovlm_ros.models.preprocess import crop, pad, resize, tile
from nanovlm_ros.models.projector import build_projector, tokens_per_image
from nanovlm_ros.models.vision_tower import build_tower
from nanovlm_ros.models.weight_files import broken
from nanovlm_ros.types import ErrorCode, NanoVlmError


class VisionEncoder:
    """The vision half of a checkpoint, in float32 on the CPU."""

    def __init__(self, checkpoint: Checkpoint):
        self._tower = build_tower(checkpoint.vision, checkpoint.select_layer,
                                  checkpoint.keep_class_token, checkpoint.vision_weights())
        shape, kind = self._tower.shape, checkpoint.projector_type
        self._projector = build_projector(kind, checkpoint.projector_weights(), shape.hidden,
                                          checkpoint.llm['hidden_size'])
        self._size = shape.image_size
        self._mean, self._std = checkpoint.image_mean, checkpoint.image_std
        self._aspect_ratio = checkpoint.aspect_ratio
        self._view_tokens = tokens_per_image(kind, self._tower.tokens)
        self._newline: Optional[torch.Tensor] = None
        self._layout: Optional[AnyRes] = None
        if checkpoint.aspect_ratio == ANYRES:
            self._read_anyres(checkpoint)

    def tokens(self, width: int, height: int) -> int:
        """Return how many rows of the language model an image of this size takes."""
        if self._layout is not None:
            return self._layout.rows(width, height)
        return self._view_tokens

    def preprocess(self, rgb: np.ndarray) -> np.ndarray:
        """uint8 (height, width, 3) -> float32 (views, 3, size, size), normalised.

        There is one view, but for tiles. Raises NanoVlmError(BAD_IMAGE).
        """
        if self._layout is not None:
            views = tile(rgb, self._layout)
        elif self._aspect_ratio == PAD:
            views = pad(rgb, self._size, self._mean)
        elif self._aspect_ratio == CROP:
            views = crop(rgb, self._size)
        else:
            views = resize(rgb, self._size)
        return np.stack([normalise(view, self._mean, self._std) for view in views])

    @torch.inference_mode()
    def encode(self, pixels: np.ndarray, width: int, height: int) -> torch.Tensor:
        """Return the rows (tokens(width, height), hidden) float32 of a preprocessed image.

        `width` and `height` are those of the image before it was preprocessed.
        """
        self._check_views(len(pixels), width, height)
        features = self._projector(self._tower(torch.from_numpy(pixels)))
        if self._layout is not None:
            return self._layout.assemble(features, width, height, self._newline)
        return features[0]

    def _check_views(self, views: int, width: int, height: int) -> None:
        across, down = self._layout.tiles(width, height) if self._layout is not None else (0, 0)
        if views != 1 + across * down:
            raise NanoVlmError(
                ErrorCode.BAD_IMAGE,
                f'An image of {width} x {height} pixels makes {1 + across * down} views, but '
                f'there are {views}: its pixels do not have the size that was announced.')

    def _read_anyres(self, checkpoint: Checkpoint) -> None:
        """Set the layout of tiles, and the row that ends a line of them."""
        side = self._tower.shape.side
        if self._view_tokens != side ** 2:
            raise broken(f'{checkpoint.path} has image_aspect_ratio anyres, which needs the '
                         f'{side ** 2} patches of a view as rows; but its '
                         f'{checkpoint.projector_type} makes {self._view_tokens}.')
        self._layout = AnyRes.from_config(
            self._size, side, checkpoint.grid_pinpoints, checkpoint.unpad)
        if not checkpoint.unpad:
            return
        newline = checkpoint.image_newline()
        hidden = checkpoint.llm['hidden_size']
        if newline is None or newline.shape != (hidden,):
            raise broken(f'{checkpoint.path} joins tiles by spatial_unpad, which needs the tensor '
                         f'image_newline of shape ({hidden},); got '
                         f'{"none" if newline is None else tuple(newline.shape)}.')
        self._newline = newline.float()
