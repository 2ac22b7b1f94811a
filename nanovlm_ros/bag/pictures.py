# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The images of rows, read again from the bags, and as small JPEGs inside a page."""
import base64
from pathlib import Path
from typing import Callable, List

import numpy as np

from nanovlm_ros.types import ErrorCode, NanoVlmError

WIDTH = 320             # pixels, at most
QUALITY = 80

Pictures = Callable[[dict], List[np.ndarray]]  # a row -> its images, uint8 RGB (h, w, 3)


def from_bags(run: dict) -> Pictures:
    """Return a source of pictures that reads the bags of a run.

    The source raises NanoVlmError: the bag has moved, or no longer holds the image.
    """
    paths = {bag['name']: Path(bag['path']) for bag in run['bags']}

    def pictures(row: dict) -> List[np.ndarray]:
        from nanovlm_ros.bag.frames import frame_of
        from nanovlm_ros.bag.reader import Bag

        # A stamp may come again (a loop), or be 0 (none); so may a time of receipt.
        wanted = [(image['camera'], image['log_ns'], image['stamp_ns'])
                  for image in row['images']]
        if not wanted:
            return []
        times = [log_ns for _, log_ns, _ in wanted]
        found = {}
        with Bag(paths[row['bag']], row['bag']) as bag:
            for record in bag.messages(sorted({camera for camera, _, _ in wanted}),
                                       min(times), max(times) + 1):
                frame = frame_of(bag, record)
                found[record.topic, record.log_ns, frame.stamp_ns] = frame
        missing = [key for key in wanted if key not in found]
        if missing:
            raise NanoVlmError(
                ErrorCode.NO_IMAGE,
                f'{paths[row["bag"]]} has no image stamped {missing[0][2]} ns on {missing[0][0]}; '
                'it is not the bag that was evaluated.')
        return [found[key].rgb for key in wanted]

    return pictures


def data_uri(rgb: np.ndarray, width: int = WIDTH) -> str:
    """Return an image as a JPEG in a data URI, at most `width` pixels wide."""
    import cv2

    if rgb.shape[1] > width:
        height = max(1, round(rgb.shape[0] * width / rgb.shape[1]))
        rgb = cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA)
    done, jpeg = cv2.imencode('.jpg', np.ascontiguousarray(rgb[..., ::-1]),
                              [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    assert done
    return 'data:image/jpeg;base64,' + base64.b64encode(jpeg.tobytes()).decode()
