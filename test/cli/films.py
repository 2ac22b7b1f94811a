# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What the tests of `nanovlm video` are made of: films, and a model that tells what it saw."""
import cv2
import numpy as np

from nanovlm_ros.cli import main as cli

FPS, SIZE = 10.0, (320, 240)
GRAY = 5  # the frame number n has the value GRAY * n, of which the codec takes up to 4


def write_video(path, frames, fps=FPS, codec='mp4v'):
    """Write RGB frames; return the path as text."""
    height, width = frames[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), fps, (width, height))
    assert writer.isOpened()
    for frame in frames:
        writer.write(np.ascontiguousarray(frame[..., ::-1]))
    writer.release()
    return str(path)


def grays(count, size=SIZE):
    return [np.full((size[1], size[0], 3), GRAY * n, np.uint8) for n in range(count)]


def read_video(path):
    """Return (frames as RGB, frames a second)."""
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    assert capture.isOpened()
    frames = []
    while (read := capture.read())[0]:
        frames.append(read[1][..., ::-1])
    return frames, capture.get(cv2.CAP_PROP_FPS)


def numbers(turns):
    """The numbers of the frames of a question."""
    return [round((float(frame.rgb.mean()) + 1.9) / GRAY) for frame in turns[-1].frames]


class Asked(list):
    """What the fake model was asked, as (prompt, frame numbers); it answers with them."""

    def __init__(self, model):
        super().__init__()
        model.reply = self

    def __call__(self, turns):
        self.append((turns[-1].user, numbers(turns)))
        return ' saw ' + ','.join(map(str, self[-1][1]))


def images(tmp_path, count, size=SIZE):
    folder = tmp_path / 'images'
    folder.mkdir()
    for number, frame in enumerate(grays(count, size)):
        cv2.imwrite(str(folder / f'{number}.png'), frame)
    (folder / 'notes.txt').write_text('not an image')
    return str(folder)


def play(source, *arguments, output=None, prompts=('What?',)):
    target = ['--video-output', str(output)] if output else []
    asked = [word for prompt in prompts for word in ('--prompt', prompt)]
    return cli.main(['video', '--video-input', source, *target, *asked, *map(str, arguments)])
