# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Asks about the windows of long held-out videos, exact and rolling; writes WINDOWS.md.

    python -m training.evaluate_windows [--videos 12] [--frames 220] [--window 8]
                                        [--rolls 0 1 2 4 8 16 -1]

The engine that ships watches one room after the other as the node does: each frame joins the
window (`engine.window.FrameWindow`), and every other window is asked what changed, whether
something did, in how many frames a thing shows, and about one of its frames. `exact` computes
the frames of the window for each question, `rolling, k` keeps them in the KV cache and may drop
k frames before it begins anew; -1 drops for ever. The truth is that of the frames that the
window holds, which are told with every answer.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

import numpy as np

from nanovlm_ros.engine.loader import load
from nanovlm_ros.engine.window import FrameWindow
from nanovlm_ros.models.prompt import Turn
from nanovlm_ros.types import Frame
from training.questions import frames as Q
from training.questions.asking import Asker
from training.world.lens import camera_image
from training.world.watch import Watch, random_watch

HERE = Path(__file__).parent
LONGEST = 40   # tokens of an answer
SECOND = 1_000_000_000
SKILLS = ('change', 'change_yes_no', 'frames', 'frame')


class Contestant:
    """One way of keeping a window, over the model that all of them share."""

    def __init__(self, model, name: str, frames: int, max_rolls: int | None):
        self.model, self.name, self.rolling = model, name, max_rolls is not None
        endless = max_rolls is not None and max_rolls < 0
        self.window = FrameWindow(frames, 1.0, 1 << 40 if endless else max_rolls)
        self.right: Counter = Counter()
        self.asked: Counter = Counter()

    def see(self, frame: Frame) -> None:
        """Let a frame join."""
        self.window.add(frame)
        if self.rolling:
            while not self.model.watch(self.name, self.window.generations()):
                pass

    def answer(self, question: str) -> str:
        """Ask about the window; greedy."""
        model, (number, frames) = self.model, self.window.generations()[0]
        prompt = model.tokenize([Turn(question, frames)])
        sequence, shared = model.open(prompt, number if self.rolling else 0)
        assert not self.rolling or shared >= model.layout().end(len(frames)), 'rows are missing'
        logits = model.step([(sequence, prompt.n_tokens - shared)], [])[0]
        tokens: list[int] = []
        while (token := int(logits.argmax())) not in model.stop_ids and len(tokens) < LONGEST:
            tokens.append(token)
            logits = model.step([], [(sequence, token)])[0]
        model.release(sequence, keep=not self.rolling)
        return model.tokenizer.decode(tokens).strip()

    def examine(self, video: Watch, at: int, seed: list[int]) -> None:
        """Ask the four questions about the window whose newest frame is number `at`."""
        frames = video.window(at + 1 - len(self.window.last()), at)
        asker = Asker(np.random.default_rng(seed), train=False)
        for make in (Q.change, Q.change_yes_no, Q.shown, Q.one_frame):
            turn = make(asker, frames)
            right = self.answer(turn.question) == turn.answer
            for group in (turn.skill, f'{turn.skill}, {"quiet" if frames.kind == "none" else "event"}'):
                self.asked[group] += 1
                self.right[group] += right


def judge(videos: int, length: int, frames: int, rolls: list[int]) -> list[Contestant]:
    """Let every contestant watch the same videos."""
    model = load(max_sequences=4)
    contestants = [Contestant(model, 'exact', frames, None)]
    contestants += [Contestant(model, f'rolling, {k}' if k >= 0 else 'rolling for ever', frames, k)
                    for k in rolls]
    for number in range(videos):
        r = np.random.default_rng([91, number, frames])
        video = random_watch(r, length, quiet=frames - 1, train=False)
        for contestant in contestants:
            contestant.window.clear()
            model.watch(contestant.name, ())
        for at, scene in enumerate(video.scenes):
            frame = Frame.from_rgb(camera_image(scene, r)[0], stamp_ns=at * SECOND)
            for contestant in contestants:
                contestant.see(frame)
                if at >= frames - 1 and at % 2:
                    contestant.examine(video, at, [92, number, at])
        print(number + 1, {c.name: f'{_percent(c, "change"):.1f}' for c in contestants}, flush=True)
    model.close()
    return contestants


def _percent(contestant: Contestant, group: str) -> float:
    return 100 * contestant.right[group] / max(contestant.asked[group], 1)


def report(contestants: list[Contestant], videos: int, length: int, frames: int) -> str:
    """The Markdown of WINDOWS.md."""
    groups = [f'{skill}{part}' for skill in SKILLS for part in ('', ', event', ', quiet')]
    asked = contestants[0].asked['change']
    lines = [
        '# Windows of several frames', '',
        f'{videos} held-out videos of {length} frames, windows of at most {frames}; {asked} times '
        'each question; percent of answers that are exactly right. `rolling, k` drops k frames '
        'before it begins anew (parameter window.max_rolls); the shipped default is 0. '
        '*event*: something happened inside the window; *quiet*: nothing did. Each is asked about '
        f'the frames that it holds: `exact` about {frames}, `rolling, 0` about {frames // 2} to '
        f'{frames}.', '',
        '| window | ' + ' | '.join(groups) + ' |', '|---|' + '---|' * len(groups)]
    for contestant in contestants:
        lines.append(f'| {contestant.name} | ' + ' | '.join(
            f'{_percent(contestant, group):.1f}' for group in groups) + ' |')
    return '\n'.join(lines) + '\n'


def main(argv: list[str] | None = None) -> int:
    """Returns 1 when rolling without drops is worse than exact by a point, or either under 90."""
    p = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    p.add_argument('--videos', type=int, default=12)
    p.add_argument('--frames', type=int, default=220, help='of each video')
    p.add_argument('--window', type=int, default=8, help='frames of a window')
    p.add_argument('--rolls', type=int, nargs='+', default=[0, 1, 2, 4, 8, 16, -1])
    p.add_argument('--out', type=Path, default=HERE)
    args = p.parse_args(argv)
    if 0 not in args.rolls:
        p.error('--rolls must contain 0, the default that is judged')
    contestants = judge(args.videos, args.frames, args.window, args.rolls)
    text = report(contestants, args.videos, args.frames, args.window)
    (args.out / 'WINDOWS.md').write_text(text)
    print(text)
    exact, rolling = (_percent(c, 'change') for c in contestants if c.name in (
        'exact', 'rolling, 0'))
    return int(min(exact, rolling) < 90 or rolling < exact - 1)


if __name__ == '__main__':
    raise SystemExit(main())
