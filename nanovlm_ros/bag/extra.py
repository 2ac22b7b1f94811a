# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What to say when a library of the optional extra `eval` is missing."""
from nanovlm_ros.types import ErrorCode, NanoVlmError


def missing(library: str, what: str) -> NanoVlmError:
    """Return the error that names the library, what needs it and how to install it."""
    return NanoVlmError(
        ErrorCode.NOT_READY,
        f'{what} needs {library}; install it with `pip install nanovlm_ros[eval]`, then run the '
        'same command again: the answers are kept.')
