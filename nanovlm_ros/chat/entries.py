# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What a user types, or writes into a list of prompts: questions, pictures, and commands."""
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, List, Optional, Sequence, Union

from nanovlm_ros.pictures import names_picture
from nanovlm_ros.types import ErrorCode, NanoVlmError

URL = re.compile(r'[a-z][a-z0-9+.-]*://\S+', re.IGNORECASE)
SECRET = re.compile(r'(?<=://)[^/?#]*@|[?#].*')
COMMAND = re.compile(r'/[a-z]+')
COMMANDS = {'reset': ('reset', 'clear', '/reset', '/clear'), 'help': ('/help', '/?'),
            'exit': ('/exit', '/quit', 'exit', 'quit')}
MAX_FILE = 1 << 20  # bytes of a .txt or .json


@dataclass(frozen=True)
class Text:
    """A question."""

    text: str


@dataclass(frozen=True)
class Picture:
    """A path or an address; the next question is about it."""

    source: str


@dataclass(frozen=True)
class Command:
    """One of COMMANDS."""

    name: str


Entry = Union[Text, Picture, Command]
Note = Callable[[str], None]  # is told, in a sentence, what is left out


def read_entries(given: Sequence[str], note: Note) -> List[Entry]:
    """Return the entries of a list that is run to its end.

    Raises INVALID_REQUEST where it cannot be: a file is missing, or nothing is asked about the
    last picture.
    """
    entries = [entry for text in given for entry in read_entry(text, note)]
    waiting = ''
    for entry in entries:
        if isinstance(entry, Picture):
            waiting = entry.source
            if not is_url(waiting) and not os.path.isfile(waiting):
                raise _invalid(f'{waiting} is not there; name a picture that is, or in a JSON '
                               'file one beside it.')
        elif entry != Command('help'):
            waiting = ''
    if waiting:
        raise _invalid(f'Nothing is asked about {waiting}; let a question follow the picture.')
    return entries


def read_entry(text: str, note: Note) -> List[Entry]:
    """Return what one text stands for; a .json file may hold many. Raises INVALID_REQUEST."""
    text = _unquoted(text.strip())
    _check_unicode(text)
    suffix = os.path.splitext(text)[1].lower()
    if suffix in ('.txt', '.json') and '\n' not in text and (
            os.path.isfile(text) or len(text.split()) == 1):
        path = Path(text).expanduser()
        return _list_of(path, note) if suffix == '.json' else [_text_of(path)]
    return [_simple(text)] if text else []


def is_url(source: str) -> bool:
    """Tell an address from a path."""
    return URL.fullmatch(source) is not None


def shown(source: str) -> str:
    """Return a path, or an address without what may be secret in it: user, password, query."""
    return SECRET.sub('', source) if is_url(source) else source


def _unquoted(text: str) -> str:
    """A file that is dropped on a terminal comes in quotes; a question keeps its own."""
    inner = text[1:-1]
    return inner if text[:1] in ("'", '"') and text[-1] == text[0] and os.path.isfile(
        inner) else text


def _simple(text: str) -> Entry:
    """A text that stands for one thing, whatever it is, but no file of prompts."""
    for name, words in COMMANDS.items():
        if text.lower() in words:
            return Command(name)
    if is_url(text):
        return Picture(text)
    if names_picture(text):
        return Picture(os.path.expanduser(text))
    if COMMAND.fullmatch(text):
        raise _invalid(f'There is no command {text}; /help lists those there are.')
    return Text(text)


def _text_of(path: Path) -> Text:
    text = _read(path).strip()
    if not text:
        raise _invalid(f'{path} is empty; write a question into it.')
    return Text(text)


def _list_of(path: Path, note: Note) -> List[Entry]:
    """The entries of a JSON file: a flat list of texts, {"text": ...} and {"image": ...}."""
    try:
        document = json.loads(_read(path))
    except (ValueError, RecursionError) as error:
        raise _invalid(f'{path} is not JSON: {error}.') from error
    if not isinstance(document, list):
        raise _invalid(f'{path} holds a JSON {type(document).__name__}; it must be a flat list '
                       'of texts, {"text": "..."} and {"image": "..."}.')
    entries: List[Entry] = []
    unread = set()
    for number, item in enumerate(document, 1):
        where = f'{path}, entry {number}'
        if isinstance(item, dict):
            unread |= set(item) - {'text', 'image'}
            image, text = (_member(item, key, where) for key in ('image', 'text'))
            if image is None and text is None:
                raise _invalid(f'{where} has neither "text" nor "image".')
            if image is not None:
                entries.append(Picture(_beside(image, path)))
        else:
            text = item
        if text is not None:
            entries += _item(text, path, where)
    if unread:
        note(f'{path}: only "text" and "image" are read, not '
             f'{", ".join(repr(key) for key in sorted(unread))}.')
    return entries


def _member(item: dict, key: str, where: str) -> Optional[str]:
    value = item.get(key)
    if value is not None and not isinstance(value, str):
        raise _invalid(f'{where}: "{key}" is {value!r:.60}; it must be a text.')
    return value


def _item(text: Any, path: Path, where: str) -> List[Entry]:
    if not isinstance(text, str) or not text.strip():
        raise _invalid(f'{where} is {text!r:.60}; it must be a text, {{"text": "..."}} or '
                       '{"image": "..."}.')
    text = text.strip()
    _check_unicode(text)
    if text.lower().endswith('.txt') and len(text.split()) == 1:
        return [_text_of(Path(_beside(text, path)))]
    entry = _simple(text)
    return [Picture(_beside(entry.source, path)) if isinstance(entry, Picture) else entry]


def _beside(name: str, path: Path) -> str:
    """A file named in a JSON file lies beside it, else where the program was started."""
    beside = path.parent / Path(name).expanduser()
    return str(beside) if not is_url(name) and beside.is_file() else os.path.expanduser(name)


def _read(path: Path) -> str:
    try:
        with path.open('rb') as file:
            data = file.read(MAX_FILE + 1)
        if len(data) > MAX_FILE:
            raise _invalid(f'{path} has more than {MAX_FILE} bytes; at most so many are read.')
        return data.decode()
    except OSError as error:
        raise _invalid(f'{path} cannot be read: {error.strerror}.') from error
    except UnicodeDecodeError as error:
        raise _invalid(f'{path} cannot be read: it is not UTF-8.') from error


def _check_unicode(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:  # bytes of the command line that are no characters
        raise _invalid(f'{ascii(text)} is not Unicode; type it in UTF-8.') from error


def _invalid(message: str) -> NanoVlmError:
    return NanoVlmError(ErrorCode.INVALID_REQUEST, message)
