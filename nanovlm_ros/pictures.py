# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Pictures that a person names or a program holds -> frames.

A camera's messages go another way (`ros/conversions.py`): what they may be is stricter.
"""
import io
import os
from pathlib import Path

import numpy as np

from nanovlm_ros.imaging import MAX_PIXELS, check_compressed, decode_compressed
from nanovlm_ros.types import ErrorCode, Frame, NanoVlmError

SUFFIXES = ('.jpg', '.jpeg', '.png', '.webp', '.bmp', '.gif', '.tif', '.tiff')
ROOTS = ('/', './', '../', '~/')  # what begins like this is a path, spaces or not
OTHERS = ('WEBP', 'BMP', 'GIF', 'TIFF')  # as Pillow names them; JPEG and PNG are read by imaging
ORIENTATION = 0x0112  # the EXIF tag


def names_picture(text: str) -> bool:
    """Tell that a text is the name of a picture, be it there or not, and no question."""
    text = text.strip()
    if '\n' in text or not text.lower().endswith(SUFFIXES):
        return False
    return len(text.split()) == 1 or text.startswith(ROOTS) or os.path.isfile(text)


def as_frame(image) -> Frame:
    """Return a path, a PIL image, a uint8 RGB array (height, width, 3) or a Frame as a Frame.

    Raises INVALID_REQUEST for what is none of these or cannot be read, BAD_IMAGE for what is
    no picture.
    """
    from PIL import Image

    if isinstance(image, Frame):
        return image
    if isinstance(image, str) and '://' in image:
        raise NanoVlmError(ErrorCode.INVALID_REQUEST,
                           f'{image} is an address, and none is fetched here; download the '
                           'picture, and give its path.')
    if isinstance(image, (str, os.PathLike)):
        return read_picture(Path(image).expanduser())
    if isinstance(image, np.ndarray):
        return Frame.from_rgb(image.copy())  # who called may go on to write into it
    if isinstance(image, Image.Image):
        _check_mode(image)
        return Frame.from_rgb(np.array(image.convert('RGB')))
    raise NanoVlmError(ErrorCode.INVALID_REQUEST,
                       f'An image is a path, a PIL image, a numpy array or a Frame; got '
                       f'{type(image).__name__}.')


def read_picture(path: Path) -> Frame:
    """Open a picture file. Raises INVALID_REQUEST when it cannot be read, BAD_IMAGE as below."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise NanoVlmError(ErrorCode.INVALID_REQUEST,
                           f'{path} cannot be read: {error.strerror}.') from error
    return picture(data, str(path))


def picture(data: bytes, name: str) -> Frame:
    """Return an encoded picture, upright as its EXIF says; decoded when its pixels are used.

    Raises BAD_IMAGE, naming the picture, now or then.
    """
    try:
        width, height = _size(data)
        turned = _turned(data)
    except NanoVlmError as error:
        raise _named(name, error) from error
    if turned is not None and turned >= 5:
        width, height = height, width
    return Frame(lambda: _decode(data, name, turned), width=width, height=height, frame_id=name)


def _size(data: bytes):
    """(width, height) as stored, from a header that is checked."""
    from PIL import Image, UnidentifiedImageError

    if data.startswith((b'\x89PNG', b'\xff\xd8')):
        return check_compressed(data)
    try:
        with Image.open(io.BytesIO(data), formats=OTHERS) as image:
            width, height = image.size
            _check_mode(image)
    except UnidentifiedImageError as error:
        raise NanoVlmError(
            ErrorCode.BAD_IMAGE, 'it is neither JPEG nor PNG, nor a sound WebP, BMP, GIF or '
            f'TIFF; its data begins with {data[:8].hex(" ") or "nothing"}.') from error
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise NanoVlmError(ErrorCode.BAD_IMAGE, f'its header is corrupt: {error}.') from error
    if width * height > MAX_PIXELS:
        raise NanoVlmError(ErrorCode.BAD_IMAGE, f'it is {width} x {height} pixels, more than the '
                           f'{MAX_PIXELS} that are decoded; make it smaller.')
    return width, height


def _check_mode(image) -> None:
    """Refuse what a conversion to RGB would clip to white or black."""
    if image.mode[0] in 'IF':
        raise NanoVlmError(ErrorCode.BAD_IMAGE,
                           f'it has the mode {image.mode}, of more than 8 bits a channel; scale '
                           'it to 8 bits and convert it to RGB.')


def _turned(data: bytes):
    """The EXIF orientation, 2 to 8; None for upright pictures and those that do not say."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.format == 'PNG' and 'exif' not in image.info:
                return None  # else the whole file would be decoded to look behind the pixels
            value = image.getexif().get(ORIENTATION)
    except Exception:  # broken tags of many kinds: they do not spoil a picture that is sound
        return None
    return value if value in range(2, 9) else None


def _decode(data: bytes, name: str, turned) -> np.ndarray:
    from PIL import Image

    try:
        rgb = _pixels(data)
    except NanoVlmError as error:
        raise _named(name, error) from error
    if turned is None:
        return rgb
    turn = Image.Transpose
    how = (turn.FLIP_LEFT_RIGHT, turn.ROTATE_180, turn.FLIP_TOP_BOTTOM, turn.TRANSPOSE,
           turn.ROTATE_270, turn.TRANSVERSE, turn.ROTATE_90)[turned - 2]
    return np.array(Image.fromarray(rgb).transpose(how))


def _pixels(data: bytes) -> np.ndarray:
    from PIL import Image

    if data.startswith((b'\x89PNG', b'\xff\xd8')):
        return decode_compressed(data)
    try:
        with Image.open(io.BytesIO(data), formats=OTHERS) as image:
            return np.array(image.convert('RGB'))
    except (OSError, ValueError) as error:
        raise NanoVlmError(ErrorCode.BAD_IMAGE, f'its data is corrupt: {error}.') from error


def _named(name: str, error: NanoVlmError) -> NanoVlmError:
    return NanoVlmError(error.code, f'{name}: {error.message}')
