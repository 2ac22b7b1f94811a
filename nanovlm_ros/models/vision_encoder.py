# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Images to rows of the language model: preprocessing, tower, projector, tiles put together."""
from typing import TYPE_CHECKING, Dict, Optional, Sequence, Tuple

import numpy as np
import torch

from nanovlm_ros.models.anyres import AnyRes
from nanovlm_ros.models.checkpoint import ANYRES, CROP, PAD, Checkpoint
from nanovlm_ros.models.placement import Placement
from nanovlm_ros.models.preprocess import crop, pad, resize, tile
from nanovlm_ros.models.projector import build_projector, tokens_per_image
from nanovlm_ros.models.upload import upload
from nanovlm_ros.models.vision_tower import build_tower
from nanovlm_ros.models.weight_files import broken
from nanovlm_ros.types import ErrorCode, NanoVlmError

if TYPE_CHECKING:
    from nanovlm_ros.mlc.cuda.recording import Recording


class VisionEncoder:
    """The vision half of a checkpoint."""

    def __init__(self, checkpoint: Checkpoint, place: Placement = Placement()):
        device = self._device = place.device
        self._dtype = place.dtype
        self._tower = build_tower(
            checkpoint.vision, checkpoint.select_layer, checkpoint.keep_class_token,
            checkpoint.vision_weights(), place,
            scale_and_shift(checkpoint.image_mean, checkpoint.image_std))
        shape, kind = self._tower.shape, checkpoint.projector_type
        self._projector = build_projector(
            kind, checkpoint.projector_weights(), shape.hidden, checkpoint.llm['hidden_size'],
            place)
        self._size, self._mean = shape.image_size, checkpoint.image_mean
        self._aspect_ratio = checkpoint.aspect_ratio
        self._view_tokens = tokens_per_image(kind, self._tower.tokens)
        self._newline: Optional[torch.Tensor] = None
        self._layout: Optional[AnyRes] = None
        if checkpoint.aspect_ratio == ANYRES:
            self._read_anyres(checkpoint)
        # On a GPU, by the number of views: what a recording takes, and the recording.
        self._recordings: 'Dict[int, Tuple[torch.Tensor, Recording]]' = {}
        if device.type == 'cuda':
            self._record()

    def tokens(self, width: int, height: int) -> int:
        """Return how many rows of the language model an image of this size takes."""
        if self._layout is not None:
            return self._layout.rows(width, height)
        return self._view_tokens

    def preprocess(self, rgb: np.ndarray) -> np.ndarray:
        """uint8 (height, width, 3) -> uint8 (views, size, size, 3).

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
        return np.array(views)  # perhaps they were the image itself, or could not be written to

    @torch.inference_mode()
    def encode(self, views: np.ndarray, width: int, height: int) -> torch.Tensor:
        """Return the rows (tokens(width, height), hidden) of a preprocessed image.

        They are on the device, of the type that vision has there. `width` and `height` are those of
        the image before it was preprocessed. Raises NanoVlmError(BAD_IMAGE) for views of an image
        of another size.
        """
        self._check_views(len(views), width, height)
        features = self._run(views)
        rows = features[0] if self._layout is None else self._layout.assemble(
            features, width, height, self._newline)
        return rows.clone()  # a graph writes over its output

    def _features(self, views: torch.Tensor) -> torch.Tensor:
        """uint8 (views, size, size, 3) -> (views, rows, hidden)."""
        pixels = views.permute(0, 3, 1, 2).to(self._dtype)
        return self._projector(self._tower(pixels))

    def _run(self, views: np.ndarray) -> torch.Tensor:
        pixels = upload(views, self._device)
        if not self._recordings:
            return self._features(pixels)
        taken, recording = self._recordings[len(views)]
        taken.copy_(pixels, non_blocking=True)
        return recording.replay()

    @torch.inference_mode()
    def _record(self) -> None:
        """Make `_features` one launch, for every number of views that an image can have."""
        from nanovlm_ros.mlc.cuda.recording import Recorder, Recording

        recorder = Recorder()
        for count in self._layout.view_counts if self._layout is not None else {1}:
            taken = torch.zeros((count, self._size, self._size, 3), dtype=torch.uint8,
                                device=self._device)
            self._recordings[count] = taken, Recording(
                lambda taken=taken: self._features(taken), recorder)
        torch.cuda.empty_cache()  # of what it took to get here

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
        self._newline = newline.to(self._device, self._dtype)


def scale_and_shift(mean: Sequence[float], std: Sequence[float]
                    ) -> Tuple[torch.Tensor, torch.Tensor]:
    """Return (a, b), float64 (3,) each, for which a x - b is (x / 255 - mean) / std."""
    deviation = torch.tensor(std, dtype=torch.float64)
    return 1 / 255 / deviation, torch.tensor(mean, dtype=torch.float64) / deviation
