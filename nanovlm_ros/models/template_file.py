# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A chat template by its name, or of a JSON file: see docs/models.md."""
from dataclasses import fields
from pathlib import Path
from typing import Any, Tuple

from nanovlm_ros.models.checkpoint import read_json
from nanovlm_ros.models.templates import TEMPLATES, Marker, Piece, Special, Template
from nanovlm_ros.models.weight_files import broken
from nanovlm_ros.types import ErrorCode, NanoVlmError

TEXTS = ('name', 'system', 'answer_start', 'after_image')
STRINGS = ('stop_strings', 'stop_tokens')


def load_template(name: str) -> Template:
    """Return a template by its name, or from a JSON file. Raises INVALID_REQUEST, MODEL_ERROR."""
    if name in TEMPLATES:
        return TEMPLATES[name]
    path = Path(name).expanduser()
    if path.suffix != '.json':
        raise NanoVlmError(
            ErrorCode.INVALID_REQUEST,
            f'There is no chat template {name!r}; use one of {", ".join(TEMPLATES)}, or the path '
            'of a JSON file.')
    content = read_json(path)
    known = {field.name for field in fields(Template)}
    wrong = sorted(content.keys() - known)
    missing = sorted(known - content.keys() - {'after_image', *STRINGS})
    if wrong or missing:
        raise broken(f'{path} is not a chat template: it has {wrong or "no"} unknown and lacks '
                     f'{missing or "no"} keys. The keys are {", ".join(sorted(known))}.')
    return Template(**{key: _value(key, value, path) for key, value in content.items()})


def _value(key: str, value: Any, path: Path):
    if key in TEXTS:
        if not isinstance(value, str):
            raise broken(f'{path}: {key} is {value!r}; it must be a string.')
        return value
    if not isinstance(value, list):
        raise broken(f'{path}: {key} is {value!r}; it must be a list.')
    if key in STRINGS:
        if '' in value:
            raise broken(f'{path}: {key} holds an empty string, which every answer would end at.')
        return tuple(_value('name', item, path) for item in value)
    return _pieces(key, value, path)


def _pieces(key: str, value: list, path: Path) -> Tuple[Piece, ...]:
    kinds = {'token': Special, 'token_or_text': Marker}
    pieces = []
    for item in value:
        if isinstance(item, str):
            pieces.append(item)
            continue
        kind = next(iter(item), None) if isinstance(item, dict) and len(item) == 1 else None
        if kind not in kinds or not isinstance(item[kind], str):
            raise broken(f'{path}: {key} has {item!r}; write texts, {{"token": "</s>"}}, or '
                         '{"token_or_text": "<|im_start|>"}.')
        pieces.append(kinds[kind](item[kind]))
    return tuple(pieces)
