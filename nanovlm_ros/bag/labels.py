# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What a text says: normalised, as yes or no, as one of some choices, as a number, as JSON.

Truths are read by the same functions as answers, so `true`, 'Yes.' and 'yes' agree.
"""
import json
import re
import unicodedata
from typing import Any, Optional, Sequence

OTHER = 'other'  # neither yes nor no; none of the choices
_NUMBER = re.compile(r'(?<!\w)[-+]?(?:\d+(?:\.\d+)?|\.\d+)(?:e[-+]?\d+)?')
_NUMBER_WORDS = {word: number for number, word in enumerate(
    'zero one two three four five six seven eight nine ten eleven twelve'.split())}


def as_text(value: Any) -> str:
    """Return an answer or a truth as text: strings as they are, yes and no, else JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return 'yes' if value else 'no'
    return canonical(value)


def plain(value: Any) -> str:
    """Without what is no matter: case, width of characters, spaces, the stop at the end."""
    text = unicodedata.normalize('NFKC', as_text(value)).casefold()
    return ' '.join(text.split()).rstrip('.! ')


def yes_no(value: Any) -> str:
    """Return 'yes', 'no' or 'other', by the first word."""
    first = re.match(r'\W*(\w+)', plain(value))
    word = first.group(1) if first else ''
    return {'yes': 'yes', 'true': 'yes', 'no': 'no', 'false': 'no'}.get(word, OTHER)


def choice(value: Any, choices: Sequence[str]) -> str:
    """Return the one choice that the text is or names as words; 'other': none or several.

    A choice inside a longer one that is named too ('left' in 'far left') does not count.
    Without choices each plain text is a choice of its own.
    """
    text = plain(value)
    if not choices:
        return text
    known = {plain(c): c for c in choices}
    if text in known:
        return known[text]
    named = [c for c in known if re.search(rf'(?<!\w){re.escape(c)}(?!\w)', text)]
    longest = [c for c in named if not any(c != d and c in d for d in named)]
    return known[longest[0]] if len(longest) == 1 else OTHER


def number(value: Any) -> Optional[float]:
    """Return the first number in the text, in digits or as a word up to twelve; else None."""
    if isinstance(value, (int, float)):
        return float(value)
    text = plain(value)
    found = [(match.start(), float(match.group())) for match in _NUMBER.finditer(text)]
    found += [(match.start(), float(_NUMBER_WORDS[match.group()]))
              for match in re.finditer(r'[a-z]+', text) if match.group() in _NUMBER_WORDS]
    return min(found)[1] if found else None


def document(text: str) -> Any:
    """Return a JSON document, or None if the text is none."""
    try:
        return json.loads(text)
    except ValueError:
        return None


def canonical(value: Any) -> str:
    """Return JSON as one spelling: equal values give equal texts."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def same(a: Any, b: Any) -> bool:
    """Tell whether two JSON values are equal: 1 is 1.0, but true is not 1 as in Python."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


def label(question: dict, value: Any) -> str:
    """Return what a value (an answer's text or document, or a truth) says, as a short text."""
    kind = question['score']
    if kind == 'yes_no':
        return yes_no(value)
    if kind == 'choice':
        return choice(value, question.get('choices') or [])
    if kind == 'number':
        found = number(value)
        return OTHER if found is None else f'{found:g}'
    if kind == 'json':
        return canonical(value)
    return as_text(value) if kind == 'exact' else plain(value)


def answer_label(question: dict, row: dict) -> str:
    """Return what the answer of a row says."""
    if row['error_code']:
        return f'error {row["error_code"]}'
    if question['score'] == 'json':
        return canonical(document(row['json'])) if row['json'] else 'no valid JSON'
    return label(question, row['text'])


def shows(question: dict, said: str, event: str) -> bool:
    """Tell whether a label is the event: equal, or for JSON a document with those fields."""
    if question['score'] != 'json':
        return said == label(question, event)
    wanted, got = document(event), document(said)
    if isinstance(wanted, dict):
        return isinstance(got, dict) and all(
            key in got and same(got[key], value) for key, value in wanted.items())
    return same(got, wanted)
