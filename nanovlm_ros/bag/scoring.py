# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""One answer against its truth; docs/metrics.md has the definitions and their sources."""
import math
from typing import Any

from nanovlm_ros.bag import labels
from nanovlm_ros.bag.extra import missing
from nanovlm_ros.types import ErrorCode, NanoVlmError


def score(question: dict, text: str, json_text: str, truth: Any) -> dict:
    """Return {'correct': bool} and what the kind of the question adds to it.

    yes_no, choice: 'said', 'expected'. number: 'said' (None: no number), 'expected',
    'error' (absolute; None). json: 'valid', 'fields' {name: bool}. text_distance:
    'distance' (edits), 'similarity' (0..1). A truth that is a list holds alternatives,
    except for json. Raises NanoVlmError when the truth cannot be of that kind.
    """
    kind = question['score']
    if kind not in _KINDS:
        raise NanoVlmError(
            ErrorCode.INVALID_REQUEST,
            f'Question {question.get("id", "")!r} is scored by {kind!r}; it must be one of '
            f'{", ".join(_KINDS)}.')
    if kind == 'json':
        return _json(question, json_text, truth)
    results = [_KINDS[kind](question, text, one)
               for one in (truth if isinstance(truth, list) else [truth])]
    if not results:
        raise _unusable(question, truth, 'at least one right answer')
    return max(results, key=_goodness)


def _goodness(result: dict) -> tuple:
    error = result.get('error')
    return (result['correct'], result.get('similarity', 0),
            -math.inf if error is None else -error)


def _exact(question: dict, text: str, truth: Any) -> dict:
    return {'correct': text == labels.as_text(truth)}


def _normalised(question: dict, text: str, truth: Any) -> dict:
    return {'correct': labels.plain(text) == labels.plain(truth)}


def _yes_no(question: dict, text: str, truth: Any) -> dict:
    said, expected = labels.yes_no(text), labels.yes_no(truth)
    right = said == expected
    if expected == labels.OTHER:  # such as "I don't know.": it must be said, not just anything
        right = labels.plain(text) == labels.plain(truth)
    return {'correct': right, 'said': said, 'expected': expected}


def _choice(question: dict, text: str, truth: Any) -> dict:
    choices = question.get('choices') or []
    said, expected = labels.choice(text, choices), labels.choice(truth, choices)
    if expected == labels.OTHER:
        raise _unusable(question, truth, f'one of the choices {", ".join(choices)}')
    return {'correct': said == expected, 'said': said, 'expected': expected}


def _number(question: dict, text: str, truth: Any) -> dict:
    said, expected = labels.number(text), labels.number(truth)
    if expected is None or not math.isfinite(expected):
        raise _unusable(question, truth, 'a number')
    if said is None:
        return {'correct': False, 'said': None, 'expected': expected, 'error': None}
    error = abs(said - expected)
    return {'correct': error <= (question.get('tolerance') or 0.0), 'said': said,
            'expected': expected, 'error': error}


def _json(question: dict, json_text: str, truth: Any) -> dict:
    said = labels.document(json_text)
    valid = said is not None or json_text.strip() == 'null'
    if not isinstance(truth, dict):
        return {'correct': valid and labels.same(said, truth), 'valid': valid, 'fields': {}}
    kinds = question.get('field_scores') or {}
    fields = {name: isinstance(said, dict) and name in said
              and _field(question, kinds.get(name, 'exact'), said[name], value)
              for name, value in truth.items()}
    return {'correct': valid and all(fields.values()), 'valid': valid, 'fields': fields}


def _field(question: dict, kind: str, said: Any, truth: Any) -> bool:
    if kind == 'exact' or said is None or truth is None:
        return labels.same(said, truth)
    return score({**question, 'score': kind}, labels.as_text(said), labels.canonical(said),
                 truth)['correct']


def _text_distance(question: dict, text: str, truth: Any) -> dict:
    try:
        from rapidfuzz.distance import Levenshtein
    except ImportError as error:
        raise missing('rapidfuzz', 'The score text_distance') from error
    said, expected = labels.plain(text), labels.plain(truth)
    edits = Levenshtein.distance(said, expected)
    longest = max(len(said), len(expected))
    return {'correct': edits <= (question.get('tolerance') or 0.0), 'distance': edits,
            'similarity': 1 - edits / longest if longest else 1.0}


def _unusable(question: dict, truth: Any, wanted: str) -> NanoVlmError:
    return NanoVlmError(
        ErrorCode.INVALID_REQUEST,
        f'The truth {truth!r} of question {question.get("id", "")!r} is not {wanted}, which a '
        f'score of kind {question["score"]} needs; correct the labels or the kind of score.')


_KINDS = {'exact': _exact, 'normalised': _normalised, 'yes_no': _yes_no, 'choice': _choice,
          'number': _number, 'json': _json, 'text_distance': _text_distance}
KINDS = tuple(_KINDS)
