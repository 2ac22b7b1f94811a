# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""`nanovlm COMMAND`: each command is a module here with `add_arguments` and `run`."""
import argparse
import importlib
import os
import sys

from nanovlm_ros.types import NanoVlmError

COMMANDS = {
    'chat': 'talk about pictures on the terminal',
    'ask': 'ask one question about image files',
    'video': 'ask about the newest frames of a video, draw the answers on it',
    'pull': 'download a model of the hub',
    'compile': 'compile a model and pack its weights, ahead of the first start',
    'eval': 'ask about recorded bags, score the answers, compare two runs',
    'bench': 'measure a model, the engine and the node, beside others if asked',
}


def main(arguments=None) -> int:
    """Run a command; return the exit code: 0 done, 1 failed, 2 wrong arguments."""
    parser = argparse.ArgumentParser(
        prog='nanovlm', description='Vision-language models on robots, without ROS.')
    commands = parser.add_subparsers(dest='command', metavar='COMMAND', required=True)
    for name, text in COMMANDS.items():
        module = importlib.import_module(f'nanovlm_ros.cli.{name}')
        module.add_arguments(commands.add_parser(name, help=text, description=module.__doc__))
    parsed = parser.parse_args(arguments)
    try:
        return importlib.import_module(f'nanovlm_ros.cli.{parsed.command}').run(parsed)
    except NanoVlmError as error:
        print(f'nanovlm: {error.message}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # who read the output has gone; there is nobody left to tell
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


if __name__ == '__main__':
    sys.exit(main())
