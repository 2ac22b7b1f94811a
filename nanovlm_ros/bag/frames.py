# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""From recorded messages to frames, by the same functions as the node's."""
from nanovlm_ros.bag.reader import COMPRESSED, SECOND, Bag, Record
from nanovlm_ros.imaging import (
    MAX_PIXELS, check_compressed, check_raw, decode_compressed, decode_raw)
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
        return _broken(error, stamp_ns(message), message.header.frame_id, record.topic)


def is_sound(frame: Frame) -> bool:
    """Tell whether the header of a frame was found good."""
    return frame.width > 0


def stamp_ns(message) -> int:
    """Return the stamp of a message's header in ns."""
    return message.header.stamp.sec * SECOND + message.header.stamp.nanosec


def raw_frame(image, camera: str, max_pixels: int) -> Frame:
    """sensor_msgs/Image -> Frame. Raises BAD_IMAGE."""
    check_raw(image.height, image.width, image.step, image.encoding, len(image.data), max_pixels)
    return Frame(
        lambda: decode_raw(image.data, image.height, image.width, image.step, image.encoding,
                           bool(image.is_bigendian), max_pixels),
        width=image.width, height=image.height, camera=camera, stamp_ns=stamp_ns(image),
        frame_id=image.header.frame_id)


def compressed_frame(image, camera: str, max_pixels: int) -> Frame:
    """sensor_msgs/CompressedImage -> Frame. Raises BAD_IMAGE."""
    width, height = check_compressed(image.data, max_pixels)
    return Frame(
        lambda: decode_compressed(image.data, max_pixels), width=width, height=height,
        camera=camera, stamp_ns=stamp_ns(image), frame_id=image.header.frame_id)


def _broken(error: NanoVlmError, stamp: int, frame_id: str, camera: str) -> Frame:
    def fail():
        raise NanoVlmError(ErrorCode.BAD_IMAGE, error.message)
    return Frame(fail, width=0, height=0, stamp_ns=stamp, frame_id=frame_id, camera=camera)
