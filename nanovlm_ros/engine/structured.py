# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""JSON that parses: a schema is checked at the door and becomes a mask on every token."""
import json
from typing import Any, Dict, Optional, Tuple

import numpy as np

from nanovlm_ros.types import ErrorCode, JsonStatus, NanoVlmError

MAX_SCHEMA = 64 << 10  # characters
MAX_DEPTH = 32
SHOWN = 300  # characters of what a validator says: it may quote all of the schema

# The spelling of JSON that models write; whitespace would only cost tokens.
_STYLE = {'whitespace_flexible': False, 'item_separator': ', ', 'key_separator': ': '}


class JsonSchema:
    """A schema that was found good; raises NanoVlmError(BAD_SCHEMA) otherwise.

    `{}` stands for any JSON object. References are resolved inside the document
    only; nothing is ever fetched.
    """

    def __init__(self, text: str, tokenizer):
        self.schema: Dict[str, Any] = read_schema(text) or {'type': 'object'}
        self._tokenizer = tokenizer
        self._grammar = self._compile()
        self._validator = self._make_validator()

    def _compile(self) -> str:
        from llguidance import LLMatcher

        document = json.dumps({**self.schema, 'x-guidance': _STYLE})
        # Templates end before a space, so a reply may begin with one.
        grammar = LLMatcher.grammar_from_lark(f'start: / ?/ document\ndocument: %json {document}')
        error = LLMatcher.validate_grammar(grammar, self._tokenizer.llg())
        if error:
            # What follows is a listing of the grammar around the schema.
            reason = error.split('JSON schema: ')[-1].split('\n   1 | ')[0]
            raise _bad(f'The JSON schema cannot be used: {" ".join(reason.split())}')
        return grammar

    def _make_validator(self):
        from jsonschema import Draft202012Validator
        from jsonschema.exceptions import SchemaError

        try:
            Draft202012Validator.check_schema(self.schema)
        except SchemaError as error:
            raise _bad(f'The JSON schema is not valid: {error.message}') from error
        return Draft202012Validator(self.schema)

    def instruction(self) -> str:
        """Return the sentence that tells the model which keys are wanted."""
        keys = self.schema.get('properties')
        if not isinstance(keys, dict) or not keys:
            return 'Answer in JSON.'
        return f'Answer in JSON with the keys: {", ".join(keys)}.'

    def constraint(self, vocab_size: int) -> 'Constraint':
        """Return a fresh constraint for one reply."""
        return Constraint(self._tokenizer.llg(), self._grammar, vocab_size)

    def judge(self, text: str, complete: bool) -> Tuple[JsonStatus, str]:
        """Return what became of a reply, and a sentence where it is not VALID."""
        if not complete:
            return JsonStatus.TRUNCATED, ('The JSON document was cut short; raise '
                                          'max_new_tokens or the timeout.')
        try:
            document = json.loads(text)
        except (ValueError, RecursionError) as error:
            return JsonStatus.INVALID, f'The reply is not JSON: {error}.'
        try:
            problem = next(self._validator.iter_errors(document), None)
        except Exception as error:  # the validator has bounds of its own, on sizes and depths
            return JsonStatus.INVALID, f'The JSON cannot be checked against its schema: {error}'
        if problem is not None:
            return JsonStatus.INVALID, f'The JSON breaks its schema: {problem.message[:SHOWN]}'
        return JsonStatus.VALID, ''


class Constraint:
    """Which tokens may come next in one reply."""

    def __init__(self, tokenizer, grammar: str, vocab_size: int):
        from llguidance import LLMatcher
        from llguidance.numpy import allocate_token_bitmask

        self._matcher = LLMatcher(tokenizer, grammar)
        if self._matcher.is_error():
            raise _bad(f'The JSON schema cannot be used: {self._matcher.get_error()}')
        self._bits = allocate_token_bitmask(1, tokenizer.vocab_size)
        self._vocab_size = vocab_size

    @property
    def complete(self) -> bool:
        """The document is closed and nothing may follow it."""
        return self._matcher.is_stopped()

    @property
    def accepting(self) -> bool:
        """The document may end here."""
        return self._matcher.is_accepting()

    def allowed(self) -> np.ndarray:
        """Return the tokens that may come next, bool (vocab_size,)."""
        from llguidance.numpy import fill_next_token_bitmask

        fill_next_token_bitmask(self._matcher, self._bits, 0)
        bits = np.unpackbits(self._bits[0].view(np.uint8), bitorder='little')[:self._vocab_size]
        allowed = np.zeros(self._vocab_size, bool)  # ids that the grammar does not know: never
        allowed[:len(bits)] = bits
        return allowed

    def accept(self, token: int) -> None:
        """Move on by a token that was allowed."""
        if not self._matcher.consume_token(token):
            raise NanoVlmError(ErrorCode.MODEL_ERROR,
                               f'The JSON grammar stopped: {self._matcher.get_error()}')


def compile_schema(text: str, tokenizer) -> Optional[JsonSchema]:
    """Return the schema of a query, None for free text; raises BAD_SCHEMA."""
    return JsonSchema(text, tokenizer) if text.strip() else None


def read_schema(text: str) -> Dict[str, Any]:
    """Parse a schema and check what can be checked without a vocabulary; raises BAD_SCHEMA."""
    if len(text) > MAX_SCHEMA:
        raise _bad(f'The JSON schema has {len(text)} characters; at most {MAX_SCHEMA} are '
                   'taken. Ask for fewer fields at a time.')
    try:
        schema = json.loads(text)
    except (ValueError, RecursionError) as error:  # also numbers of too many digits
        raise _bad(f'The JSON schema is not JSON: {error}.') from error
    if not isinstance(schema, dict):
        raise _bad(f'The JSON schema is a {type(schema).__name__}; it must be an object, '
                   'for example {"type": "object", "properties": {...}}.')
    _check(schema, 0)
    return schema


def _check(node: Any, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise _bad(f'The JSON schema is nested deeper than {MAX_DEPTH} levels; flatten it.')
    if isinstance(node, dict):
        target = node.get('$ref')
        if isinstance(target, str) and not target.startswith('#'):
            raise _bad(f'The JSON schema refers to {target!r}; only references inside the '
                       'document ("#/...") are followed, nothing is fetched.')
        for child in node.values():
            _check(child, depth + 1)
    elif isinstance(node, list):
        for child in node:
            _check(child, depth + 1)


def _bad(message: str) -> NanoVlmError:
    return NanoVlmError(ErrorCode.BAD_SCHEMA, message)
