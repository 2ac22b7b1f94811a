# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What a query must be like to be taken at all."""
import math

from nanovlm_ros.types import ErrorCode, GenerationConfig, NanoVlmError, Query

CHARACTERS_PER_TOKEN = 16  # no prompt of a full context is longer than this allows


def check_query(query: Query, context_length: int, max_images: int) -> None:
    """Raise NanoVlmError(INVALID_REQUEST) with a sentence unless the query makes sense."""
    if not query.prompt.strip():
        raise _invalid('The prompt is empty; ask something.')
    longest = CHARACTERS_PER_TOKEN * context_length
    for name, text in (('prompt', query.prompt), ('system_prompt', query.system_prompt)):
        if len(text) > longest:
            raise _invalid(f'The {name} has {len(text)} characters, more than the {longest} that '
                           f'a context of {context_length} tokens can hold; shorten it.')
    if len(query.frames) > max_images:
        raise _invalid(f'The query brings {len(query.frames)} images; this model takes at most '
                       f'{max_images}.')
    if query.image_ages and len(query.image_ages) != len(query.frames):
        raise _invalid(f'The query brings {len(query.frames)} images and '
                       f'{len(query.image_ages)} ages; give one age an image, or none at all.')
    check_config(query.config)


def check_config(config: GenerationConfig) -> None:
    """Raise NanoVlmError(INVALID_REQUEST) with a sentence unless tokens can be sampled so."""
    checks = (
        ('max_new_tokens', config.max_new_tokens, config.max_new_tokens >= 1, 'at least 1'),
        ('min_new_tokens', config.min_new_tokens,
         0 <= config.min_new_tokens <= config.max_new_tokens,
         f'between 0 and max_new_tokens, {config.max_new_tokens}'),
        ('temperature', config.temperature, 0 <= config.temperature < math.inf, '0 or more'),
        ('top_p', config.top_p, 0 < config.top_p <= 1, 'above 0 and at most 1'),
        ('repetition_penalty', config.repetition_penalty,
         0 < config.repetition_penalty < math.inf, 'above 0'),
        ('seed', config.seed, config.seed >= 0, '0 or more'),
        ('stop', list(config.stop), all(config.stop), 'without empty strings'),
    )
    for name, value, good, wanted in checks:
        if not good:
            raise _invalid(f'{name} is {value}; it must be {wanted}.')


def _invalid(message: str) -> NanoVlmError:
    return NanoVlmError(ErrorCode.INVALID_REQUEST, message)
