# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Events: what a rule says of one live answer after another becomes a beginning and an end."""
import json
import re
from collections import Counter
from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Pattern, Sequence

NAME = re.compile(r'[A-Za-z][A-Za-z0-9_]{0,99}')  # topics have an end, too
LONGEST_HOLD = 1e9  # s
KEYS = {'name', 'prompt', 'text', 'field', 'value', 'hold'}
EXAMPLE = ('{"name": "person", "text": "^yes"} or '
           '{"name": "open_door", "field": "door", "value": "open"}')


@dataclass(frozen=True)
class Rule:
    """When an answer shows the event: by a pattern in its text, or a value in its JSON."""

    name: str                  # part of a topic's name
    prompt: str                # the prompt that it is about; '': any
    text: Optional[Pattern]    # searched in the text, without regard to case
    field: str                 # else: a key of the JSON; dots lead into objects
    value: Any
    hold: float                # s without the event until it has ended

    @classmethod
    def parse(cls, document: str) -> 'Rule':
        """Read a rule from JSON; raises ValueError with a sentence."""
        try:
            fields = json.loads(document)
        except (ValueError, RecursionError) as error:
            raise ValueError(f'The rule {document!r} is not JSON ({error}); write for example '
                             f'{EXAMPLE}.') from error
        if not isinstance(fields, dict) or not fields.keys() <= KEYS:
            raise ValueError(f'The rule {document!r} is not an object of the keys '
                             f'{", ".join(sorted(KEYS))}; write for example {EXAMPLE}.')
        name, hold = fields.get('name'), fields.get('hold', 0)
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise ValueError(f'The name of a rule is {name!r}; it becomes part of a topic: use '
                             'letters, digits and underscores, at most 100.')
        if (not isinstance(hold, (int, float)) or isinstance(hold, bool)
                or not 0 <= hold <= LONGEST_HOLD):
            raise ValueError(f'"hold" of the rule {name!r} is {hold!r}; it must be 0 to '
                             f'{LONGEST_HOLD:g} s.')
        if ('text' in fields) == ('field' in fields) or ('field' in fields) != ('value' in fields):
            raise ValueError(f'The rule {name!r} needs either "text", or "field" and "value"; '
                             f'write for example {EXAMPLE}.')
        for key in ('prompt', 'text', 'field'):
            if not isinstance(fields.get(key, ''), str):
                raise ValueError(f'"{key}" of the rule {name!r} is {fields[key]!r}; it must be '
                                 'a string.')
        try:
            pattern = re.compile(fields['text'], re.IGNORECASE) if 'text' in fields else None
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(f'"text" of the rule {name!r} is not a regular expression: '
                             f'{error}.') from error
        return cls(name, fields.get('prompt', ''), pattern, fields.get('field', ''),
                   fields.get('value'), float(hold))

    def verdict(self, prompt: str, text: str, document: str) -> Optional[bool]:
        """Tell whether an answer, with its JSON document ('' for none), shows the event.

        None where it says nothing about it: to another prompt, or a document without the field,
        be it cut short, of another schema or free text.
        """
        if self.prompt not in ('', prompt):
            return None
        if self.text is not None:
            return bool(self.text.search(text))
        value: Any = json.loads(document) if document else {}
        for key in self.field.split('.'):
            if not isinstance(value, dict) or key not in value:
                return None
            value = value[key]
        return _same(value, self.value)


def parse_rules(documents: Sequence[str]) -> List[Rule]:
    """Read rules from JSON; raises ValueError with a sentence, also for two of one name."""
    rules = [Rule.parse(document) for document in documents]
    for name, times in Counter(rule.name for rule in rules).items():
        if times > 1:
            raise ValueError(f'There are {times} rules of the name {name!r}, which would share a '
                             'topic; give each its own.')
    return rules


class Event:
    """The state of a rule's event over answers about images in the order of their times [ns].

    Several prompts may say something about it: it goes on while the newest answer to one of them
    shows it.
    """

    def __init__(self, rule: Rule):
        self.rule = rule
        self.forget()

    def forget(self) -> None:
        """Begin anew, as if nothing had been seen."""
        self.active = False
        self.begin_ns = self.last_ns = self.end_ns = 0
        self._newest_ns = self._unseen_ns = 0  # of all images, of the first that did not show it
        self._shown: Dict[str, bool] = {}      # by prompt

    def observe(self, at_ns: int, prompt: str, text: str, document: str) -> bool:
        """Take note of one answer; tell whether there is news: it began, was seen, or ended.

        A time that lies before the newest one (a bag that begins again) makes all before it
        undone, as it empties a window.
        """
        shown = self.rule.verdict(prompt, text, document)
        if shown is None:
            return False
        undone = self.active and at_ns < self._newest_ns
        if at_ns < self._newest_ns:
            self.forget()
        self._newest_ns, self._shown[prompt] = at_ns, shown
        if shown:
            if not self.active:
                self.begin_ns, self.end_ns = at_ns, 0
            self.active, self.last_ns, self._unseen_ns = True, at_ns, 0
            return True
        if not self.active or any(self._shown.values()):
            return undone
        self._unseen_ns = self._unseen_ns or at_ns
        if at_ns - self.last_ns <= self.rule.hold * 1e9:
            return undone
        self.active, self.end_ns = False, self._unseen_ns
        return True


def _same(one: Any, other: Any) -> bool:
    """Compare JSON values, whose true is not 1 as it is in Python."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return one == other and isinstance(one, bool) == isinstance(other, bool)
