# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The questions file: YAML in, questions out, every mistake a sentence that names its place.

config/eval/questions.yaml shows each feature.
"""
import json
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

from nanovlm_ros.bag.labels import OTHER, label
from nanovlm_ros.bag.reader import bad

LATEST, WINDOW = 'latest', 'window'
ROLLING, EXACT = 'rolling', 'exact'
SCORES = ('exact', 'normalised', 'yes_no', 'choice', 'number', 'json', 'text_distance')
DEFAULTS = ('cameras', 'period', 'system_prompt', 'max_new_tokens')
KEYS = ('id', 'prompt', 'phrasings', 'json_schema', 'source', 'window', 'stamps', 'score',
        'choices', 'tolerance', 'fields', 'event', 'truth', *DEFAULTS)


@dataclass(frozen=True)
class Question:
    """One question, with every default filled in."""

    id: str
    phrasings: Tuple[str, ...]
    json_schema: Optional[dict] = None
    source: str = LATEST
    window_frames: int = 1
    window_period_s: float = 0.0
    window_mode: str = ROLLING      # as the node's: rolling (max_rolls 0) or exact
    cameras: Tuple[str, ...] = ()   # topics; empty: the first
    period_s: float = 0.0           # 0: about every sampled image
    stamps: Tuple[float, ...] = ()  # s from the beginning of the bag; instead of a period
    score: str = 'normalised'
    choices: Tuple[str, ...] = ()
    tolerance: float = 0.0
    field_scores: Dict[str, str] = field(default_factory=dict)
    event: str = ''                 # the answer whose onset is measured
    truth: Optional[dict] = None    # {constant}, {labels, field} or {topic, field}
    system_prompt: str = ''
    max_new_tokens: int = 128

    @property
    def schema_text(self) -> str:
        """The schema as a query takes it; '' for free text."""
        return json.dumps(self.json_schema) if self.json_schema is not None else ''

    def as_dict(self) -> dict:
        """Return the question as JSON has it."""
        return json.loads(json.dumps(asdict(self)))


def load_questions(path: Path) -> List[Question]:
    """Read a file. Raises NanoVlmError(INVALID_REQUEST)."""
    import yaml

    try:
        text = path.read_text(encoding='utf-8')
        document, tree = yaml.safe_load(text), yaml.compose(text, yaml.SafeLoader)
    except OSError as error:
        raise bad(f'{path} cannot be read: {error.strerror}.') from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise bad(f'{path} is not YAML: {" ".join(str(error).split())}.') from error
    if not isinstance(document, dict) or not isinstance(document.get('questions'), list) \
            or not document['questions']:
        raise bad(f'{path} has no list `questions`; write `questions:` and under it one '
                  '`- id: ...` for each.')
    _only(document, ('questions', 'defaults'), str(path))
    defaults = document.get('defaults') or {}
    if not isinstance(defaults, dict):
        raise bad(f'{path}: `defaults` must be a mapping of {", ".join(DEFAULTS)}.')
    _only(defaults, DEFAULTS, f'{path}, defaults')
    items = dict((key.value, value) for key, value in tree.value)['questions'].value
    questions: List[Question] = []
    for entry, node in zip(document['questions'], items):
        question = _Reader(path, node.start_mark.line + 1, defaults, entry).read()
        if question.id in {known.id for known in questions}:
            raise bad(f'{path}, line {node.start_mark.line + 1}: the id {question.id!r} is taken '
                      'by a question above; ids must differ.')
        questions.append(question)
    return questions


def _only(mapping: dict, known: Sequence[str], place: str) -> None:
    for key in mapping:
        if key not in known:
            raise bad(f'{place}: the key {key!r} is unknown; known are {", ".join(known)}.')


class _Reader:
    """Reads one entry of the list."""

    def __init__(self, path: Path, line: int, defaults: dict, entry: Any):
        self._folder, self._place = path.parent, f'{path}, line {line}'
        if not isinstance(entry, dict):
            raise self._bad(f'a question must be a mapping with `id` and `prompt`, not {entry!r}')
        if isinstance(entry.get('id'), str):
            self._place += f', question {entry["id"]!r}'
        _only(entry, KEYS, self._place)
        self._entry = {**defaults, **entry}

    def read(self) -> Question:
        schema = self._schema()
        score = self._take('score', 'json' if schema is not None else 'normalised', SCORES)
        source, frames, period, mode = self._source()
        question = Question(
            id=self._id(), phrasings=self._phrasings(), json_schema=schema, source=source,
            window_frames=frames, window_period_s=period, window_mode=mode,
            cameras=self._texts('cameras'), period_s=self._number('period', 0.0),
            stamps=self._stamps(), score=score, choices=self._texts('choices'),
            tolerance=self._number('tolerance', 0.0), field_scores=self._fields(schema),
            event=self._event(), truth=self._truth(),
            system_prompt=self._text('system_prompt'),
            max_new_tokens=int(self._number('max_new_tokens', 128, least=1, whole=True)))
        self._check(question)
        return question

    def _check(self, question: Question) -> None:
        if question.score == 'choice' and not question.choices:
            raise self._bad('score: choice needs `choices`, the list of answers')
        if question.score == 'json' and question.json_schema is None:
            raise self._bad('score: json needs a `json_schema`')
        if question.stamps and 'period' in self._entry and self._entry['period']:
            raise self._bad('`stamps` and `period` exclude each other; keep one')
        if question.source == WINDOW and len(question.cameras) > 1:
            raise self._bad('a window is of one camera; name one in `cameras`')
        truth = question.truth or {}
        if question.score == 'json' and 'constant' in truth:
            from jsonschema import Draft202012Validator

            for problem in Draft202012Validator(question.json_schema).iter_errors(
                    truth['constant']):
                raise self._bad('the constant truth breaks the `json_schema`, so no answer could '
                                f'be right: {problem.message}')
        if question.event and label(question.as_dict(), question.event) == OTHER:
            raise self._bad(f'`event` is {question.event!r}, which no answer that is scored as '
                            f'{question.score} says; give an answer whose onset counts')

    def _id(self) -> str:
        name = self._entry.get('id')
        if not isinstance(name, str) or not re.fullmatch(r'[\w.-]+', name):
            raise self._bad(f'`id` is {name!r}; it must be a name of letters, digits, _ . and -')
        return name

    def _phrasings(self) -> Tuple[str, ...]:
        if ('prompt' in self._entry) == ('phrasings' in self._entry):
            raise self._bad('give `prompt` (one text) or `phrasings` (a list of texts)')
        texts = self._texts('phrasings') or (self._text('prompt'),)
        if not all(text.strip() for text in texts):
            raise self._bad('a prompt is empty; ask something')
        return texts

    def _source(self) -> Tuple[str, int, float, str]:
        window = self._entry.get('window')
        source = self._take('source', LATEST if window is None else WINDOW, (LATEST, WINDOW))
        if (source == WINDOW) != (window is not None):
            raise self._bad('`source: window` and `window: {frames: N, period: SECONDS}` go '
                            'together')
        if window is None:
            return source, 1, 0.0, ROLLING
        if not isinstance(window, dict):
            raise self._bad(f'`window` is {window!r}; write `window: {{frames: 4, period: 0.5}}`')
        _only(window, ('frames', 'period', 'mode'), f'{self._place}, window')
        frames = self._number('frames', None, least=1, whole=True, of=window, name='window.frames')
        mode = self._take('mode', ROLLING, (ROLLING, EXACT), of=window, name='window.mode')
        return (source, int(frames),
                self._number('period', 0.0, of=window, name='window.period'), mode)

    def _schema(self) -> Optional[dict]:
        from jsonschema import Draft202012Validator
        from jsonschema.exceptions import SchemaError

        schema = self._entry.get('json_schema')
        if isinstance(schema, str):
            path = self._folder / schema
            try:
                schema = json.loads(path.read_text(encoding='utf-8'))
            except (OSError, ValueError) as error:
                raise self._bad(f'`json_schema` names {path}, which cannot be read as JSON: '
                                f'{error}') from error
        if schema is None:
            return None
        if not isinstance(schema, dict):
            raise self._bad(f'`json_schema` is {schema!r}; it must be a mapping or a file')
        try:
            Draft202012Validator.check_schema(schema)
        except SchemaError as error:
            raise self._bad(f'`json_schema` is not a JSON schema: {error.message}') from error
        return schema

    def _stamps(self) -> Tuple[float, ...]:
        stamps = self._entry.get('stamps', [])
        if not isinstance(stamps, list) or not all(
                _is_number(stamp) and 0 <= stamp < float('inf') for stamp in stamps):
            raise self._bad(f'`stamps` is {stamps!r}; it must be a list of seconds from the '
                            'beginning of the bag')
        return tuple(sorted(float(stamp) for stamp in stamps))

    def _fields(self, schema: Optional[dict]) -> Dict[str, str]:
        fields = self._entry.get('fields') or {}
        known = (schema or {}).get('properties', {})
        if not isinstance(fields, dict):
            raise self._bad('`fields` must map names of the schema to ways to score')
        for name, score in fields.items():
            if name not in known:
                raise self._bad(f'`fields` names {name!r}, which the `json_schema` does not have '
                                f'(it has {", ".join(known) or "no properties"})')
            if score not in SCORES or score == 'json':
                raise self._bad(f'`fields.{name}` is {score!r}; it must be one of '
                                f'{", ".join(s for s in SCORES if s != "json")}')
        return dict(fields)

    def _event(self) -> str:
        event = self._entry.get('event', '')
        return event if isinstance(event, str) else json.dumps(event)

    def _truth(self) -> Optional[dict]:
        truth = self._entry.get('truth')
        if truth is None:
            return None
        kinds = ('constant', 'labels', 'topic')
        if not isinstance(truth, dict) or sum(kind in truth for kind in kinds) != 1:
            raise self._bad('`truth` must have one of `constant: VALUE`, `labels: FILE` with '
                            '`field: NAME`, `topic: NAME` with `field: PATH`')
        _only(truth, (*kinds, 'field'), f'{self._place}, truth')
        if 'constant' in truth:
            return {'constant': truth['constant']}
        kind = 'labels' if 'labels' in truth else 'topic'
        if not all(isinstance(truth.get(key), str) and truth[key] for key in (kind, 'field')):
            raise self._bad(f'`truth.{kind}` and `truth.field` must both be texts')
        return {kind: truth[kind], 'field': truth['field']}

    def _take(self, key: str, default: str, options: Sequence[str],
              of: Optional[dict] = None, name: str = '') -> str:
        value = (self._entry if of is None else of).get(key, default)
        if value not in options:
            raise self._bad(f'`{name or key}` is {value!r}; it must be one of {", ".join(options)}')
        return value

    def _text(self, key: str) -> str:
        value = self._entry.get(key, '')
        if not isinstance(value, str):
            raise self._bad(f'`{key}` is {value!r}; it must be a text (put it in quotes)')
        return value

    def _texts(self, key: str) -> Tuple[str, ...]:
        values = self._entry.get(key, [])
        if not isinstance(values, list) or not all(isinstance(v, str) for v in values):
            raise self._bad(f'`{key}` is {values!r}; it must be a list of texts (put yes, no and '
                            'numbers in quotes)')
        return tuple(values)

    def _number(self, key: str, default: Optional[float], least: float = 0, whole: bool = False,
                of: Optional[dict] = None, name: str = '') -> float:
        value = (self._entry if of is None else of).get(key, default)
        check: Callable[[Any], bool] = (lambda v: isinstance(v, int)) if whole else (lambda v: True)
        if not _is_number(value) or not check(value) or not least <= value < float('inf'):
            raise self._bad(f'`{name or key}` is {value!r}; it must be a '
                            f'{"whole " if whole else ""}number of {least} or more')
        return float(value)

    def _bad(self, text: str):
        return bad(f'{self._place}: {text}.')


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
