# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""LLaVA-1.6's images of any resolution: which tiles, and which rows their features become.

An image is scaled to fit one of a few resolutions, padded to it and cut into tiles of the size
that the tower sees. The features of all tiles are put together as one picture, the padding is cut
off it again (`spatial_unpad`), and `image_newline` ends each of its lines. The features of the
whole image, scaled down to one view, come before.

Where LLaVA and transformers differ: a resolution is (width, height), as LLaVA reads the list that
it was trained with. transformers takes the same numbers for (height, width); that changes nothing
but for images of which no side is longer than a tile's, for which a resolution is as good as its
mirror image and the first in the list is taken. Lengths without padding are rounded as transformers
5 does it, to seven digits before the fraction is cut off; LLaVA's own code loses a line or a
column where a quotient is 11.9999999999.
"""
from dataclasses import dataclass
from typing import Optional, Sequence, Set, Tuple

import torch

from nanovlm_ros.models.weight_files import broken


@dataclass(frozen=True)
class AnyRes:
    """How one model tiles images. Sizes are in pixels, but for `side`."""

    size: int   # of a tile and of the view of the whole, which are square
    side: int   # lines, and columns, of a tile's features
    pinpoints: Tuple[Tuple[int, int], ...]  # (width, height): the resolutions to choose from
    unpad: bool  # False: all rows of all views, one after the other, and no newlines

    @classmethod
    def from_config(cls, size: int, side: int, pinpoints: Sequence[Sequence[int]],
                    unpad: bool) -> 'AnyRes':
        """Check what a config.json says; raises NanoVlmError(MODEL_ERROR)."""
        if not pinpoints:
            raise broken('image_aspect_ratio is anyres, but image_grid_pinpoints is empty.')
        for pair in pinpoints:
            if len(pair) != 2 or any(n < size or n % size for n in pair):
                raise broken(f'image_grid_pinpoints holds {list(pair)}, but a resolution is two '
                             f'multiples of the {size} pixels that the vision tower sees.')
        return cls(size, side, tuple((width, height) for width, height in pinpoints), unpad)

    def resolution(self, width: int, height: int) -> Tuple[int, int]:
        """Return the (width, height) that keeps most of an image's pixels and adds fewest."""
        def kept_and_wasted(pinpoint: Tuple[int, int]) -> Tuple[int, int]:
            wide, tall = pinpoint
            scale = min(wide / width, tall / height)
            kept = min(int(width * scale) * int(height * scale), width * height)
            return kept, kept - wide * tall
        return max(self.pinpoints, key=kept_and_wasted)  # of equals, the first

    def tiles(self, width: int, height: int) -> Tuple[int, int]:
        """Return how many tiles (across, down) an image is cut into."""
        wide, tall = self.resolution(width, height)
        return wide // self.size, tall // self.size

    @property
    def view_counts(self) -> Set[int]:
        """The numbers of views that images have: the whole and its tiles."""
        return {1 + wide * tall // self.size ** 2 for wide, tall in self.pinpoints}

    def rows(self, width: int, height: int) -> int:
        """Return how many rows of the language model an image takes."""
        across, down = self.tiles(width, height)
        if not self.unpad:
            return self.side ** 2 * (1 + across * down)
        left, top = self._padding(width, height)
        columns, lines = across * self.side - 2 * left, down * self.side - 2 * top
        return self.side ** 2 + lines * (columns + 1)

    def assemble(self, features: torch.Tensor, width: int, height: int,
                 newline: Optional[torch.Tensor]) -> torch.Tensor:
        """Return the rows of an image: (1 + tiles, side^2, hidden) -> (rows, hidden).

        `features` are those of the whole, then of the tiles line by line. `newline` (hidden,) is
        needed with `unpad` only.
        """
        if not self.unpad:
            return features.flatten(0, 1)
        across, down = self.tiles(width, height)
        hidden = features.shape[-1]
        picture = features[1:].view(down, across, self.side, self.side, hidden)
        picture = picture.transpose(1, 2).reshape(down * self.side, across * self.side, hidden)
        left, top = self._padding(width, height)
        picture = picture[top:len(picture) - top, left:picture.shape[1] - left]
        ends = newline.to(picture).expand(len(picture), 1, hidden)
        return torch.cat([features[0], torch.cat([picture, ends], 1).flatten(0, 1)])

    def _padding(self, width: int, height: int) -> Tuple[int, int]:
        """Columns of features to cut off on either side, and lines on top and below."""
        columns, lines = (n * self.side for n in self.tiles(width, height))
        if width / height > columns / lines:
            return 0, (lines - _whole(height * (columns / width))) // 2
        return (columns - _whole(width * (lines / height))) // 2, 0


def _whole(length: float) -> int:
    return int(round(length, 7))
