# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The ways in which a request ends early: finish reason, error code and a sentence."""
from typing import Tuple

from nanovlm_ros.types import CANCELED, ERROR, TIMEOUT, ErrorCode, NanoVlmError

End = Tuple[str, ErrorCode, str]  # finish reason, error code, message

BY_ASKER: End = (CANCELED, ErrorCode.CANCELED, 'The request was canceled.')
REPLACED: End = (CANCELED, ErrorCode.CANCELED, 'A newer live frame took the place of this one.')
LATE: End = (TIMEOUT, ErrorCode.TIMEOUT, 'The deadline passed before the answer was complete; '
             'allow more time or ask for fewer tokens.')
CLOSING: End = (ERROR, ErrorCode.SHUTTING_DOWN, 'The engine is shutting down.')


def end_of(error: BaseException) -> End:
    """Return how a request ends that an exception ends."""
    if isinstance(error, NanoVlmError):
        return ERROR, error.code, error.message
    if isinstance(error, MemoryError):
        return ERROR, ErrorCode.OUT_OF_MEMORY, f'Out of memory: {error}'
    if type(error).__name__ == 'OutOfMemoryError':  # torch's, of a GPU; torch need not be here
        return ERROR, ErrorCode.OUT_OF_MEMORY, (
            'The GPU has too little memory for this request: ask about less, lower '
            f'kv_cache_tokens, context_length or max_sequences, or end other programs. ({error})')
    return ERROR, ErrorCode.MODEL_ERROR, f'{type(error).__name__}: {error}'
