# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Ask about the newest frames of a camera, a video or a folder, again and again.

    python examples/live_frames.py [SOURCE [QUESTION]]

SOURCE is a device like /dev/video0, an rtsp:// address, a video file or a folder of images.
"""
import sys
from pathlib import Path

import nanovlm_ros
from nanovlm_ros.engine.window import FrameWindow
from nanovlm_ros.types import Frame
from nanovlm_ros.video.sources import open_source

PERIOD, FRAMES = 1.0, 4  # s between two frames of the window, and how many it holds

source, question = (*sys.argv[1:], *(Path(__file__).parent / 'pictures' / 'hallway',
                                     'What changed?')[len(sys.argv) - 1:])
window = FrameWindow(FRAMES, PERIOD)
with nanovlm_ros.load() as model, open_source(str(source), PERIOD, print) as pictures:
    for picture in pictures:
        if not window.due(picture.ns):
            continue
        # A Frame is computed once, however many questions are asked about it.
        window.add(Frame.from_rgb(picture.bgr[..., ::-1].copy(), stamp_ns=picture.ns))
        if len(window.last()) > 1:
            print(f'{picture.ns / 1e9:6.1f} s  {model.ask([*window.last(), question]).text}')
