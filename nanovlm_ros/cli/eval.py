# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Ask an engine about recorded bags, score the answers, and compare two such runs."""
from argparse import ArgumentTypeError, RawDescriptionHelpFormatter
from importlib.util import find_spec
from pathlib import Path

from nanovlm_ros.types import ErrorCode, NanoVlmError

EXTRA = ('pyarrow', 'rapidfuzz', 'rosbags', 'yaml')  # what the optional extra `eval` brings
EXAMPLES = '''examples:
  nanovlm eval run night.mcap --questions questions.yaml --out results
  nanovlm eval run night/ day/ --questions questions.yaml --out results --model FOLDER --workers 2
  nanovlm eval diff results_before results_after'''


def add_arguments(parser) -> None:
    """Add the subcommands run and diff."""
    from nanovlm_ros.bag import diff

    parser.epilog, parser.formatter_class = EXAMPLES, RawDescriptionHelpFormatter
    actions = parser.add_subparsers(dest='action', metavar='ACTION', required=True)
    add_run_arguments(actions.add_parser('run', help='ask about bags; goes on where it stopped'))
    diff.add_arguments(actions.add_parser('diff', help='compare the results of two runs'))


def add_run_arguments(parser) -> None:
    """Add what `eval run` takes."""
    from nanovlm_ros.cli.model_arguments import add_model_arguments

    parser.add_argument('bags', nargs='+', type=Path, metavar='BAG',
                        help='rosbag2 folder or file (MCAP, sqlite3), or rosbag1 file')
    parser.add_argument('--questions', required=True, type=Path, metavar='FILE',
                        help='YAML file of questions')
    parser.add_argument('--out', required=True, type=Path, metavar='DIR',
                        help='folder of the results; a run that was stopped goes on')
    parser.add_argument('--topic', action='append', default=[], dest='topics', metavar='TOPIC',
                        help='topic of images for questions that name none; may be repeated '
                             '(default: the first of the bag by name)')
    parser.add_argument('--start', type=seconds, default=0.0, metavar='S',
                        help='begin so many seconds after the beginning of each bag')
    parser.add_argument('--end', type=seconds, default=float('inf'), metavar='S',
                        help='end so many seconds after the beginning of each bag')
    parser.add_argument('--every', type=positive, default=1, metavar='N',
                        help='look at each N-th image of a topic')
    parser.add_argument('--period', type=seconds, default=0.0, metavar='S',
                        help='look at images at least S seconds apart')
    parser.add_argument('--mode', default='throughput', choices=('throughput', 'replay'),
                        help='throughput: every sampled image, as fast as it goes (default); '
                             'replay: what a live node would have asked, and missed')
    parser.add_argument('--cost', type=seconds, metavar='S',
                        help='replay: seconds the answers of a tick take (default: measured)')
    parser.add_argument('--max-image-age', type=seconds, default=2.0, metavar='S',
                        help='replay: older images are not asked about; 0: any age, as in the '
                             'node (default: %(default)s)')
    parser.add_argument('--workers', type=positive, default=1, metavar='N',
                        help='processes, or actors of Ray, with an engine each (default: 1)')
    parser.add_argument('--ray', default='', metavar='ADDRESS',
                        help="run the workers on a Ray cluster; 'local' starts one here")
    parser.add_argument('--max-sequences', type=positive, default=4, metavar='N',
                        help='questions that an engine answers together (default: %(default)s)')
    add_model_arguments(parser)


def run(arguments) -> int:
    """Run the action; return its exit code."""
    missing = [name for name in EXTRA if find_spec(name) is None]
    if missing:
        raise NanoVlmError(ErrorCode.NOT_READY,
                           f'`nanovlm eval` needs {", ".join(missing)}; '
                           '`pip install "nanovlm_ros[eval]"`.')
    if arguments.action == 'diff':
        from nanovlm_ros.bag import diff

        return diff.run(arguments)
    return run_bags(arguments)


def run_bags(arguments) -> int:
    """Evaluate; 0 done, 1 failed, 130 stopped by Ctrl-C."""
    from nanovlm_ros.bag.engine import EngineSpec
    from nanovlm_ros.bag.plan import Sampling
    from nanovlm_ros.bag.run import Options
    from nanovlm_ros.bag.run import run as run_evaluation
    from nanovlm_ros.cli.model_arguments import Progress, load_options

    return run_evaluation(Options(
        bags=arguments.bags, questions=arguments.questions, out=arguments.out,
        engine=EngineSpec(arguments.model, load_options(arguments), arguments.max_sequences,
                          Progress),
        sampling=Sampling(tuple(arguments.topics), arguments.start, arguments.end,
                          arguments.every, arguments.period),
        mode=arguments.mode, cost_s=arguments.cost, max_age_s=arguments.max_image_age,
        workers=arguments.workers, ray=arguments.ray))


def seconds(text: str) -> float:
    """Read a number of seconds, 0 or more."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float('inf'):
        raise ArgumentTypeError(f'{text!r} is no time; give seconds, 0 or more, such as 2.5.')
    return value


def positive(text: str) -> int:
    """Read a whole number of 1 or more."""
    value = int(text)
    if value < 1:
        raise ValueError(text)
    return value
