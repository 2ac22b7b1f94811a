# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""From recorded messages to frames, by the same functions as the node's."""
from nanovlm_ros.bag.reader import COMPRESSED, Bag, Record
from nanovlm_ros.imaging import MAX_PIXELS, compressed_frame, raw_frame, stamp_ns
from nanovlm_ros.types import ErrorCode, Frame, NanoVlmError


def frame_of(bag: Bag, record: Record, max_pixels: int = MAX_PIXELS) -> Frame:
    """Return the frame of a message; its header is checked now, its pixels when used.

    What cannot be used becomes a frame of 0 x 0 pixels that raises BAD_IMAGE when it is
    decoded, so that a question about it ends as it would in the node.
    """
    try:
        message = bag.deserialize(record)
    except NanoVlmError as error:
        return _broken(error, record.log_ns, '', record.topic)
    make = compressed_frame if record.msgtype == COMPRESSED else raw_frame
    try:
        return make(message, record.topic, max_pixels)
    except NanoVlmError as error:
        return _broken(error, stamp_ns(message.header.stamp), message.header.frame_id, record.topic)


def is_sound(frame: Frame) -> bool:
    """Tell whether the header of a frame was found good."""
    return frame.width > 0


def _broken(error: NanoVlmError, stamp: int, frame_id: str, camera: str) -> Frame:
    def fail():
        raise NanoVlmError(ErrorCode.BAD_IMAGE, error.message)
    return Frame(fail, width=0, height=0, stamp_ns=stamp, frame_id=frame_id, camera=camera)
