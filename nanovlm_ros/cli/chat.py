# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Talk about pictures: answers go to stdout as they grow, everything else to stderr."""
import secrets
from dataclasses import replace
from pathlib import Path
from typing import Callable

from nanovlm_ros.cli.files import read_text
from nanovlm_ros.types import GenerationConfig, NanoVlmError

EXAMPLES = '''examples:
  nanovlm chat
  nanovlm chat --prompt photo.jpg --prompt "What does the road sign say?" --prompt "How far is it?"
  nanovlm chat --prompt prompts.json
  nanovlm chat --prompt sign.jpg --prompt "Extract the text." --json-schema sign.json | jq .sign

A --prompt, a line that is typed and an entry of a .json file are each one of: a question; a
picture, by its path or http(s) address, which waits for the next question; a .txt file that
holds a question; reset (or clear), which empties the chat. A .json file holds a list of such
texts, {"text": ...} and {"image": ...}.'''
TEMPERATURE, TOP_P = 0.7, 0.95  # of answers that are sampled


def add_arguments(parser) -> None:
    """Add the prompts, how to sample, what to show, and the model."""
    from argparse import RawDescriptionHelpFormatter

    from nanovlm_ros.cli.model_arguments import add_model_arguments

    parser.epilog, parser.formatter_class = EXAMPLES, RawDescriptionHelpFormatter
    parser.add_argument('-p', '--prompt', action='append', dest='prompts', metavar='ENTRY',
                        help='question, picture, address, .txt, .json or reset; repeat it, and '
                             'all are run in order (default: type them)')
    parser.add_argument('--system-prompt', default='', metavar='TEXT',
                        help="in place of the model's own")
    parser.add_argument('--json-schema', type=Path, metavar='FILE',
                        help='answer in JSON that this schema accepts, one line an answer')
    _add_sampling(parser.add_argument_group('how tokens are chosen'))
    shown = parser.add_argument_group('what is shown')
    shown.add_argument('--no-stats', action='store_true',
                       help='no table of tokens, times and speeds after an answer')
    shown.add_argument('--no-thumbnails', action='store_true',
                       help='no small pictures where the terminal can show them')
    add_model_arguments(parser.add_argument_group('the model'))


def _add_sampling(parser) -> None:
    from nanovlm_ros.cli.eval import positive

    parser.add_argument('--max-new-tokens', type=positive, default=128, metavar='N',
                        help='longest answer (default: %(default)s)')
    parser.add_argument('--min-new-tokens', type=int, default=0, metavar='N',
                        help='shortest answer (default: %(default)s)')
    parser.add_argument('--do-sample', action='store_true',
                        help='draw tokens by their chances (default: always the likeliest, '
                             'unless a --temperature is given)')
    parser.add_argument('--temperature', type=float, metavar='T',
                        help=f'of such draws; 0: always the likeliest (default: {TEMPERATURE})')
    parser.add_argument('--top-p', type=float, default=TOP_P, metavar='P',
                        help='draw from the likeliest tokens that sum to this '
                             '(default: %(default)s)')
    parser.add_argument('--repetition-penalty', type=float, default=1.0, metavar='X',
                        help='above 1, tokens that were seen become less likely '
                             '(default: %(default)s)')
    parser.add_argument('--seed', type=int, metavar='N',
                        help='the same seed draws the same text (default: another one each time)')


def run(arguments) -> int:
    """Run the list or the chat; 0 done, 1 some answers are missing, 130 ended by Ctrl-C."""
    from nanovlm_ros.chat.entries import read_entries
    from nanovlm_ros.chat.screen import Screen

    # All that can be wrong without a model is told before one is loaded, which may take minutes.
    screen = Screen(stats=not arguments.no_stats, thumbnails=not arguments.no_thumbnails)
    config = sampling(arguments)
    schema = _schema(arguments.json_schema) if arguments.json_schema else ''
    entries = None if arguments.prompts is None else read_entries(arguments.prompts, screen.note)
    with _model(arguments) as model:
        return _chat(model, config, arguments.system_prompt, schema, entries, screen)


def _chat(model, config, system_prompt: str, schema: str, entries, screen) -> int:
    from nanovlm_ros.chat.conversation import Conversation
    from nanovlm_ros.chat.lines import Lines
    from nanovlm_ros.chat.program import HINT, Program

    program = Program(
        Conversation(model, config, system_prompt=system_prompt, json_schema=schema), screen,
        json=bool(schema))
    if entries is not None:
        program.run_list(entries)
        return int(program.failed > 0)
    with Lines(screen) as lines:
        if lines.typing:
            screen.note(f'{model.name}, {model.context_length} tokens of context. {HINT}')
        program.converse(lines)
        return 0 if lines.typing else int(program.failed > 0)


def sampling(arguments) -> Callable[[], GenerationConfig]:
    """Return what gives the settings of one answer after the other. Raises INVALID_REQUEST."""
    from nanovlm_ros.engine.admission import check_config

    temperature = arguments.temperature
    if temperature is None:
        temperature = TEMPERATURE if arguments.do_sample else 0.0
    config = GenerationConfig(
        max_new_tokens=arguments.max_new_tokens, min_new_tokens=arguments.min_new_tokens,
        temperature=temperature, top_p=arguments.top_p,
        repetition_penalty=arguments.repetition_penalty, seed=arguments.seed or 0)
    check_config(config)
    if arguments.seed is not None:
        return lambda: config
    return lambda: replace(config, seed=secrets.randbits(31))


def _model(arguments):
    from nanovlm_ros.api import Model
    from nanovlm_ros.cli.model_arguments import load_model

    # One conversation is one sequence: the memory of others is better spent on weights.
    return Model(lambda: load_model(arguments, max_sequences=1), max_sequences=1)


def _schema(path: Path) -> str:
    from nanovlm_ros.engine.structured import read_schema

    text = read_text(path)
    try:
        read_schema(text)
    except NanoVlmError as error:
        raise NanoVlmError(error.code, f'{path}: {error.message}') from error
    return text
