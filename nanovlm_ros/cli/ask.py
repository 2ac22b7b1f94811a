# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Ask one question about image files; the answer is streamed to the terminal."""
import sys
import threading
from pathlib import Path

from nanovlm_ros.cli.files import read_text
from nanovlm_ros.types import ErrorCode, GenerationConfig, Query


def add_arguments(parser) -> None:
    """Add the question, the images and the model."""
    from nanovlm_ros.cli.model_arguments import add_model_arguments

    parser.add_argument('images', nargs='*', type=Path, help='picture files, in order')
    parser.add_argument('-p', '--prompt', required=True, help='the question')
    parser.add_argument('--json-schema', type=Path, metavar='FILE',
                        help='answer in JSON that this schema accepts')
    parser.add_argument('--max-new-tokens', type=int, default=128, metavar='N',
                        help='longest answer (default: %(default)s)')
    parser.add_argument('--temperature', type=float, default=0.0, metavar='T',
                        help='0: always the likeliest token (default)')
    add_model_arguments(parser)


def run(arguments) -> int:
    """Print the answer; return 1 when there is none."""
    from nanovlm_ros.cli.model_arguments import load_model
    from nanovlm_ros.engine.executor import MlcExecutor
    from nanovlm_ros.pictures import read_picture

    frames = tuple(read_picture(path) for path in arguments.images)
    schema = read_text(arguments.json_schema) if arguments.json_schema else ''
    query = Query('cli', arguments.prompt, frames=frames, json_schema=schema,
                  config=GenerationConfig(max_new_tokens=arguments.max_new_tokens,
                                          temperature=arguments.temperature))
    executor, ended, answers = MlcExecutor(lambda: load_model(arguments)), threading.Event(), []

    def on_answer(answer) -> None:
        answers.append(answer)
        ended.set()

    executor.start()
    try:
        executor.submit(query, lambda chunk: print(chunk.delta, end='', flush=True), on_answer)
        ended.wait()
    finally:
        executor.shutdown()
    print()
    if answers[0].error_message:
        print(f'nanovlm: {answers[0].error_message}', file=sys.stderr)
    return int(answers[0].error_code != ErrorCode.NONE)
