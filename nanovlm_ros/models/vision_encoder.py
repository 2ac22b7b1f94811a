# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Images to rows of the language model: preprocessing, tower, projector."""
from typing import Sequence

import numpy as np
import torch

from nanovlm_ros.imaging import normalise, resize_bicubic
from nanovlm_ros.models.checkpoint import Checkpoint, Weights
from nanovlm_ros.models.projector import build_projector, tokens_per_image
from nanovlm_ros.models.vision_tower import VisionShape, VisionTower


class VisionEncoder:
    """The vision half of a checkpoint, in float32 on the CPU."""

    def __init__(self, checkpoint: Checkpoint):
        shape = VisionShape.from_config(checkpoint.vision)
        self.tower = VisionTower(shape, checkpoint.select_layer, checkpoint.keep_class_token)
        self.tower.load(Weights(checkpoint.folder('vision_tower')).all())
        self.projector = build_projector(
            checkpoint.projector_type, Weights(checkpoint.folder('mm_projector')).all())
        self.tower.eval()
        self.projector.eval()
        self.size = shape.image_size
        self.tokens = tokens_per_image(checkpoint.projector_type, self.tower.tokens)

    def preprocess(self, rgb: np.ndarray) -> np.ndarray:
        """uint8 (h, w, 3) -> float32 (3, size, size) in [-1, 1], resized as PIL's bicubic does."""
        return normalise(resize_bicubic(rgb, self.size), mean=(0.5,) * 3, std=(0.5,) * 3)

    @torch.inference_mode()
    def encode(self, pixels: Sequence[np.ndarray]) -> torch.Tensor:
        """n preprocessed images -> (n, tokens, hidden) float32."""
        return self.projector(self.tower(torch.from_numpy(np.stack(pixels))))
