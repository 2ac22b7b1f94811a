# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Files that the commands are given."""
from pathlib import Path

from nanovlm_ros.types import ErrorCode, NanoVlmError


def read_text(path: Path) -> str:
    """Return the text of a UTF-8 file. Raises INVALID_REQUEST with its name."""
    try:
        return path.read_text(encoding='utf-8')
    except (OSError, UnicodeDecodeError) as error:
        raise NanoVlmError(
            ErrorCode.INVALID_REQUEST, f'{path} cannot be read: '
            f'{getattr(error, "strerror", None) or "it is not UTF-8"}.') from error
