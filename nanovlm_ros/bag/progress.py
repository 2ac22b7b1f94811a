# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The one progress bar of a run: answers, frames, answers a second, score, time left."""
from typing import Iterable, Iterator


def reading(records: Iterable, total: int, name: str) -> Iterator:
    """Pass records on, with a bar that goes away."""
    from tqdm import tqdm

    return iter(tqdm(records, total=total, desc=f'reading {name}', unit=' images',
                     dynamic_ncols=True, disable=None, leave=False))


class Bar:
    """Counts answers, or with `clock` seconds of the bags; drawn on a terminal only."""

    def __init__(self, total: float, clock: bool = False):
        from tqdm import tqdm

        self._bar = tqdm(
            total=total, unit=' s' if clock else ' answers', dynamic_ncols=True, disable=None,
            smoothing=0.05, bar_format='{l_bar}{bar}| {n:.0f}/{total:.0f}{unit} '
            '[{elapsed}<{remaining}, {rate_fmt}{postfix}]')
        self._clock = clock
        self._scored = self._right = 0
        self._frame, self.frames, self.answers = None, 0, 0

    def __enter__(self) -> 'Bar':
        return self

    def __exit__(self, *_) -> None:
        self._bar.close()

    def past(self, row: dict) -> None:
        """Take a row of an earlier run into the score."""
        self._judge(row)
        if not self._clock:
            self._bar.update()

    def add(self, row: dict) -> None:
        """Count a new row."""
        self._judge(row)
        frame = row['bag'], row['camera'], row['log_ns']
        self.frames += frame != self._frame
        self._frame = frame
        self.answers += 1
        self._bar.set_postfix_str(f'{self.answers} answers, {self.frames} frames, {self.score}',
                                  refresh=False)
        if not self._clock:
            self._bar.update()

    def at(self, seconds: float) -> None:
        """Move on to a time of the bags."""
        self._bar.update(max(0.0, seconds - self._bar.n))

    @property
    def score(self) -> str:
        """The share of right answers so far, as text."""
        if not self._scored:
            return 'nothing scored'
        return f'{100 * self._right / self._scored:.1f} % of {self._scored} right'

    def _judge(self, row: dict) -> None:
        # An answer that is an error has no score, and is not right.
        self._scored += row['truth'] is not None
        self._right += bool(row['score'] and row['score']['correct'])
