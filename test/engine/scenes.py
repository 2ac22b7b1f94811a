# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Pictures of the demo model's own world, from the bag that ships."""
from functools import lru_cache
from pathlib import Path

from rosbags.highlevel import AnyReader

from nanovlm_ros.imaging import decode_compressed
from nanovlm_ros.types import Frame

BAG = Path(__file__).parents[2] / 'demo' / 'bag'


@lru_cache(maxsize=1)
def scenes():
    """Return pictures of the model's own world: one every few seconds."""
    with AnyReader([BAG]) as reader:
        messages = [reader.deserialize(raw, connection.msgtype)
                    for connection, _, raw in reader.messages()]
    return [decode_compressed(message.data) for message in messages[15::40]]


def picture(number):
    """Return a frame; the same number gives another frame of the same picture."""
    return Frame.from_rgb(scenes()[number % len(scenes())])
