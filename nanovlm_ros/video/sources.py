# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""From an argument to the source that it names."""
import re
from pathlib import Path

from nanovlm_ros.types import ErrorCode, NanoVlmError
from nanovlm_ros.video.image_folder import ImageFolder
from nanovlm_ros.video.live_camera import LiveCamera
from nanovlm_ros.video.source import Note, Source
from nanovlm_ros.video.video_file import VideoFile

STREAM = re.compile(r'rtsps?://', re.IGNORECASE)


def open_source(name: str, period: float, note: Note) -> Source:
    """Open a video file, a folder of images `period` s apart, a V4L2 device or an RTSP address.

    Raises INVALID_REQUEST for what is not there or none of these, NO_IMAGE for a camera that
    gives no picture and BAD_IMAGE for a file that is no video.
    """
    if STREAM.match(name):
        return LiveCamera(name, note)
    if '://' in name:
        raise NanoVlmError(ErrorCode.INVALID_REQUEST,
                           f'{name} is an address of a kind that is not read; use rtsp://, a '
                           'file, a folder of images or a device like /dev/video0.')
    path = Path(name)
    try:
        if path.is_dir():
            return ImageFolder(path, period, note)
        if path.is_char_device():
            return LiveCamera(name, note)
        path.open('rb').close()
    except OSError as error:
        raise NanoVlmError(ErrorCode.INVALID_REQUEST,
                           f'{path} cannot be read: {error.strerror}.') from error
    return VideoFile(path, note)
