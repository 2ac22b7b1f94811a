# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Images from messages: checked before they are touched, decoded to RGB, resized, written on.

`check_*` look at headers only and cost microseconds; `decode_*` repeat the check
and make uint8 RGB of shape (height, width, 3). Everything wrong with an image is
a NanoVlmError(BAD_IMAGE).
"""
import struct
import textwrap
from typing import Callable, Dict, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from nanovlm_ros.types import ErrorCode, Frame, NanoVlmError

SECOND = 1_000_000_000    # ns
MAX_PIXELS = 50_000_000  # default bound; 50 Mpx are 150 MB of RGB


class _Encoding(NamedTuple):
    dtype: str       # of one sample
    channels: int    # samples of a pixel in a row; 4:2:0 formats have 1
    rows: float      # image rows that the buffer holds, as a multiple of the height
    to_rgb: Callable  # (rows, width, channels) array -> uint8 RGB


def _cv(code: str) -> Callable:
    def convert(pixels):
        import cv2

        return cv2.cvtColor(np.ascontiguousarray(pixels), getattr(cv2, f'COLOR_{code}'))
    return convert


def _gray(pixels):
    return np.repeat(pixels.reshape(*pixels.shape[:2], 1), 3, axis=2)


def _gray16(pixels):
    return _gray((pixels >> 8).astype(np.uint8))


def _depth(pixels):
    """Depth is shown as gray, near is dark: the finite range spread over 0..255."""
    depth = pixels.astype(np.float64)  # the range of a float32 may not fit a float32
    valid = np.isfinite(depth) & (depth > 0)
    if not valid.any():
        return _gray(np.zeros(depth.shape, np.uint8))
    low, high = depth[valid].min(), depth[valid].max()
    scaled = (np.where(valid, depth, low) - low) / max(high - low, 1e-6)
    return _gray(np.where(valid, scaled * 255, 0).astype(np.uint8))


_ENCODINGS: Dict[str, _Encoding] = {
    'rgb8': _Encoding('u1', 3, 1, np.array),  # a copy: messages are not ours to keep
    'bgr8': _Encoding('u1', 3, 1, lambda p: np.ascontiguousarray(p[..., ::-1])),
    'rgba8': _Encoding('u1', 4, 1, lambda p: np.ascontiguousarray(p[..., :3])),
    'bgra8': _Encoding('u1', 4, 1, lambda p: np.ascontiguousarray(p[..., 2::-1])),
    '8UC3': _Encoding('u1', 3, 1, lambda p: np.ascontiguousarray(p[..., ::-1])),  # as OpenCV
    'mono8': _Encoding('u1', 1, 1, _gray),
    '8UC1': _Encoding('u1', 1, 1, _gray),
    'mono16': _Encoding('u2', 1, 1, _gray16),
    '16UC1': _Encoding('u2', 1, 1, _depth),
    '32FC1': _Encoding('f4', 1, 1, _depth),
    # OpenCV names a mosaic by its second row: ROS's bayer_rggb8 is its BayerBG.
    'bayer_rggb8': _Encoding('u1', 1, 1, _cv('BayerBG2RGB')),
    'bayer_bggr8': _Encoding('u1', 1, 1, _cv('BayerRG2RGB')),
    'bayer_gbrg8': _Encoding('u1', 1, 1, _cv('BayerGR2RGB')),
    'bayer_grbg8': _Encoding('u1', 1, 1, _cv('BayerGB2RGB')),
    'uyvy': _Encoding('u1', 2, 1, _cv('YUV2RGB_UYVY')),
    'yuv422': _Encoding('u1', 2, 1, _cv('YUV2RGB_UYVY')),
    'yuyv': _Encoding('u1', 2, 1, _cv('YUV2RGB_YUY2')),
    'yuv422_yuy2': _Encoding('u1', 2, 1, _cv('YUV2RGB_YUY2')),
    'nv12': _Encoding('u1', 1, 1.5, _cv('YUV2RGB_NV12')),
    'nv21': _Encoding('u1', 1, 1.5, _cv('YUV2RGB_NV21')),
}


def check_raw(height: int, width: int, step: int, encoding: str, size: int,
              max_pixels: int = MAX_PIXELS) -> None:
    """Check a sensor_msgs/Image by its fields; `size` is the length of its data in bytes."""
    _check_dimensions(width, height, max_pixels)
    if encoding not in _ENCODINGS:
        if _cv_bridge() is not None:
            return
        raise _bad(f'The image encoding {encoding!r} is unknown; known are '
                   f'{", ".join(_ENCODINGS)} (and, with cv_bridge installed, its own).')
    kind = _ENCODINGS[encoding]
    if kind.channels == 2 and width % 2 or kind.rows != 1 and (width % 2 or height % 2):
        raise _bad(f'An image of encoding {encoding} needs even dimensions; got '
                   f'{width} x {height}.')
    least = width * kind.channels * np.dtype(kind.dtype).itemsize
    if step < least:
        raise _bad(f'The image step is {step} bytes, but {width} pixels of {encoding} take '
                   f'{least}; set step to the full row length.')
    # The last row may lack its padding.
    needed = step * (int(height * kind.rows) - 1) + least
    if size < needed:
        raise _bad(f'The image data holds {size} bytes, but {width} x {height} {encoding} with '
                   f'step {step} takes {needed}; the message is cut short.')


def decode_raw(data, height: int, width: int, step: int, encoding: str,
               is_bigendian: bool = False, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Return a sensor_msgs/Image as RGB; `data` is any buffer."""
    buffer = np.frombuffer(data, np.uint8)
    check_raw(height, width, step, encoding, len(buffer), max_pixels)
    if encoding not in _ENCODINGS:
        return _decode_with_cv_bridge(buffer, height, width, step, encoding, is_bigendian)
    kind = _ENCODINGS[encoding]
    dtype = np.dtype(kind.dtype).newbyteorder('>' if is_bigendian else '<')
    rows = int(height * kind.rows)
    shape = (rows, width, kind.channels) if kind.channels > 1 else (rows, width)
    strides = (step, dtype.itemsize * kind.channels, dtype.itemsize)[:len(shape)]
    view = np.ndarray(shape, dtype, buffer, strides=strides)
    return kind.to_rgb(view)


def check_compressed(data, max_pixels: int = MAX_PIXELS) -> Tuple[int, int]:
    """Return (width, height) from the header of a JPEG or PNG, which is checked."""
    header = bytes(memoryview(data)[:1 << 16])
    if header.startswith(b'\x89PNG\r\n\x1a\n') and header[12:16] == b'IHDR' and len(header) >= 24:
        width, height = struct.unpack('>II', header[16:24])
    elif header.startswith(b'\xff\xd8'):
        width, height = _jpeg_size(memoryview(data))
    else:
        raise _bad('The compressed image is neither JPEG nor PNG; its data begins with '
                   f'{header[:8].hex(" ") or "nothing"}.')
    _check_dimensions(width, height, max_pixels)
    return width, height


def decode_compressed(data, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Return a JPEG or PNG as RGB; `data` is any buffer."""
    import cv2

    width, height = check_compressed(data, max_pixels)
    # As the sensor sees it: an EXIF rotation would make the message's geometry a lie.
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        bgr = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise _bad(f'The compressed image cannot be decoded: {error}') from error
    if bgr is None or bgr.shape[:2] != (height, width):
        raise _bad('The compressed image is corrupt: its header is sound '
                   f'({width} x {height}), its data is not.')
    return bgr[..., ::-1].copy()


def stamp_ns(stamp) -> int:
    """builtin_interfaces/Time -> ns."""
    return stamp.sec * SECOND + stamp.nanosec


def raw_frame(image, camera: str, max_pixels: int, arrived_ns: int = 0) -> Frame:
    """sensor_msgs/Image -> Frame; checked now, decoded when used. Raises BAD_IMAGE."""
    check_raw(image.height, image.width, image.step, image.encoding, len(image.data), max_pixels)
    return Frame(
        lambda: decode_raw(image.data, image.height, image.width, image.step, image.encoding,
                           bool(image.is_bigendian), max_pixels),
        width=image.width, height=image.height, camera=camera, arrived_ns=arrived_ns,
        stamp_ns=stamp_ns(image.header.stamp), frame_id=image.header.frame_id)


def compressed_frame(image, camera: str, max_pixels: int, arrived_ns: int = 0) -> Frame:
    """sensor_msgs/CompressedImage -> Frame; checked now, decoded when used. Raises BAD_IMAGE."""
    width, height = check_compressed(image.data, max_pixels)
    return Frame(
        lambda: decode_compressed(image.data, max_pixels), width=width, height=height,
        camera=camera, arrived_ns=arrived_ns, stamp_ns=stamp_ns(image.header.stamp),
        frame_id=image.header.frame_id)


def resize_bicubic(rgb: np.ndarray, width: int, height: Optional[int] = None) -> np.ndarray:
    """Resize to (height, width, 3), exactly as PIL's bicubic does; to a square without `height`."""
    from PIL import Image

    height = width if height is None else height
    if rgb.shape[:2] == (height, width):
        return rgb
    return np.asarray(Image.fromarray(rgb).resize((width, height), Image.Resampling.BICUBIC))


def draw(image: np.ndarray, lines: Sequence[str]) -> np.ndarray:
    """Return a copy of an image (h, w, 3) with the lines, wrapped, on a dark band at the bottom."""
    import cv2

    picture = image.copy()
    height, width = picture.shape[:2]
    size = max(width / 1000, 0.4)
    row = int(32 * size)
    wrapped = [part for line in lines for part in
               textwrap.wrap(line, max(int(width / (18 * size)), 8))][:max(height // row - 1, 1)]
    top = height - row * len(wrapped) - row // 2
    if wrapped:
        picture[top:] //= 3
    for index, line in enumerate(wrapped):
        cv2.putText(picture, line, (row // 3, top + row * (index + 1)), cv2.FONT_HERSHEY_SIMPLEX,
                    size, (255, 255, 255), max(round(size * 2), 1), cv2.LINE_AA)
    return picture


def _jpeg_size(data: memoryview) -> Tuple[int, int]:
    """Walk the segments to the frame header (ITU-T T.81, B.1.1)."""
    place = 2
    while place + 4 <= len(data):
        if data[place] != 0xFF:
            break
        marker = data[place + 1]
        if marker == 0xFF:  # fill byte
            place += 1
            continue
        length = int.from_bytes(data[place + 2:place + 4], 'big')
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            if place + 9 > len(data):
                break
            # Some decoders fill up an image that is cut short with gray, and say nothing.
            if bytes(data[place:]).rfind(b'\xff\xd9') < 0:
                break
            height, width = struct.unpack('>HH', data[place + 5:place + 9])
            return width, height
        # Markers without a length have no place here, and who reads one into them finds
        # another image than the decoder does. 0xDA: image data before any frame header.
        if marker <= 0x01 or 0xD0 <= marker <= 0xDA or length < 2:
            break
        place += 2 + length
    raise _bad('The JPEG image has no readable frame header; it is cut short or corrupt.')


def _check_dimensions(width: int, height: int, max_pixels: int) -> None:
    if width < 1 or height < 1:
        raise _bad(f'The image is {width} x {height} pixels; both must be at least 1.')
    if width * height > max_pixels:
        raise _bad(f'The image is {width} x {height} pixels, more than the {max_pixels} of '
                   'max_image_pixels; send a smaller one or raise the parameter.')


def _cv_bridge():
    try:
        import cv_bridge
    except ImportError:  # not a ROS installation: our own encodings are all there is
        return None
    return cv_bridge


def _decode_with_cv_bridge(buffer, height, width, step, encoding, is_bigendian) -> np.ndarray:
    from sensor_msgs.msg import Image

    message = Image(height=height, width=width, step=step, encoding=encoding,
                    is_bigendian=int(is_bigendian))
    message.data = buffer.tobytes()
    try:
        return _cv_bridge().CvBridge().imgmsg_to_cv2(message, 'rgb8')
    except Exception as error:  # CvBridgeError, and what it lets through
        raise _bad(f'cv_bridge cannot convert the encoding {encoding!r}: {error}') from error


def _bad(message: str) -> NanoVlmError:
    return NanoVlmError(ErrorCode.BAD_IMAGE, message)
