# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Measure a model, the engine, and with --node the ROS node around it; a table, and JSON."""
import json
import os
import sys
from argparse import ArgumentTypeError
from pathlib import Path

from nanovlm_ros.cli.model_arguments import Progress, add_model_arguments, load_options
from nanovlm_ros.engine.device import AUTO
from nanovlm_ros.engine.loader import THREADS
from nanovlm_ros.types import ErrorCode, NanoVlmError


def add_arguments(parser) -> None:
    """Add the model's arguments and what to measure."""
    add_model_arguments(parser)
    parser.add_argument('--random-weights', action='store_true',
                        help='make up the weights of --shape: no files, no download')
    parser.add_argument('--shape', nargs='+', default=[], metavar='NAME|FILE',
                        help="published model, 'all' of the page, or JSON file; several are "
                             'measured one after the other, each in a process of its own')
    parser.add_argument('--against', nargs='+', default=[], choices=('hf', 'llama.cpp'),
                        help='measure transformers or llama.cpp, too, in turns')
    parser.add_argument('--numerics', action='store_true',
                        help="error of the language model's logits, beside torch's in float16")
    parser.add_argument('--fits', type=_positive_float, default=0.0, metavar='GB',
                        help='say whether all of it fits in so much memory')
    parser.add_argument('--brief', action='store_true',
                        help='load, memory with the fullest context, vision, prefill and decode '
                             'alone')
    parser.add_argument('--sharing', action='store_true',
                        help='also measure windows, eight prompts on a frame, a query amid a live '
                             'answer')
    parser.add_argument('--node', action='store_true',
                        help='also measure the ROS node: overhead, camera to answer, idle CPU')
    parser.add_argument('--repeat', type=_positive, default=20, metavar='N',
                        help='runs of each; slow ones are fewer (default: %(default)s)')
    parser.add_argument('--max-sequences', type=_positive, default=1, metavar='N',
                        help='that the KV cache has room for, where --kv-cache-tokens does not say '
                             '(default: %(default)s)')
    parser.add_argument('--threads', type=_positive, metavar='N',
                        help="of the CPU, for all that is compared (default: each one's own)")
    parser.add_argument('--output', type=Path, metavar='FILE', help='also write JSON here')


def run(arguments) -> int:
    """Measure, print the table, write the file."""
    if arguments.threads:
        os.environ.update(dict.fromkeys(THREADS, str(arguments.threads)))
    _check(arguments)
    from nanovlm_ros.engine.loader import prepare_libraries

    prepare_libraries()
    from nanovlm_ros.bench.each import measure_each, shape_names
    from nanovlm_ros.bench.table import render

    names = shape_names(arguments.shape)
    if len(names) > 1 and (arguments.sharing or arguments.node):
        _refuse('--sharing and --node are for one model at a time; name one --shape.')
    if len(names) > 1:
        result = measure_each(names, _passed_on(arguments), _note)
    else:
        result = _measure(arguments)
    print(render(result))
    if arguments.output:
        arguments.output.write_text(json.dumps(result, indent=2) + '\n', encoding='utf-8')
    return 0


def _check(arguments) -> None:
    if arguments.random_weights and not arguments.shape:
        _refuse('--random-weights needs the --shape of a model.')
    if arguments.shape and not arguments.random_weights:
        _refuse('--shape is for models without files: add --random-weights.')
    if arguments.random_weights and (arguments.model or arguments.mlc_weights):
        _refuse('--random-weights takes the place of --model and --mlc-weights; use one of them.')
    if arguments.random_weights:
        _check_of_files(arguments)
    if arguments.output:
        _check_output(arguments.output)


def _check_of_files(arguments) -> None:
    """Refuse what is said about files where there are none."""
    given = [option for option, said in (
        ('--revision', arguments.revision), ('--trust-pickle', arguments.trust_pickle),
        ('--chat-template', arguments.chat_template),
        ('--vision-scaling', arguments.vision_scaling != AUTO)) if said]
    if given:
        _refuse(f'{" and ".join(given)} cannot be used with --random-weights: a shape has no '
                'files, and says itself how images come to it. Leave that out.')


def _check_output(path: Path) -> None:
    """Refuse, before minutes are spent, a file that could not be written after them."""
    if not path.parent.is_dir():
        _refuse(f'--output {path} cannot be written: there is no folder {path.parent}. Make it, '
                'or name another file.')
    if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        _refuse(f'--output {path} cannot be written: '
                f'{"it is a folder" if path.is_dir() else "permission is denied"}. Name another '
                'file.')


def _refuse(text: str) -> None:
    raise NanoVlmError(ErrorCode.INVALID_REQUEST, text)


def _note(text: str) -> None:
    print(f'nanovlm: {text}', file=sys.stderr, flush=True)


def _measure(arguments) -> dict:
    """Return all that is asked for of one model."""
    from nanovlm_ros.bench.engine import picture
    from nanovlm_ros.bench.machine import describe
    from nanovlm_ros.bench.run import measure

    with Progress() as bar:
        def progress(stage: str, done: int, total: int) -> None:
            bar(stage, done, total)
            if done >= total:  # what is measured next has no place in it
                bar.__exit__()

        subject = _subject(arguments, progress, arguments.max_sequences)
        if arguments.sharing and not subject.load:
            _refuse(f'--sharing is about images, and {subject.checkpoint.name} takes none.')
        result = {**describe(subject.shape.device), 'models': [measure(
            subject, repeat=arguments.repeat, brief=arguments.brief, peers=arguments.against,
            numerics=arguments.numerics, fits_gb=arguments.fits, note=_note)]}
        if arguments.sharing:
            from nanovlm_ros.bench.sharing import SEQUENCES, measure_sharing

            result['sharing'] = measure_sharing(
                _subject(arguments, progress, SEQUENCES).load, arguments.repeat, picture)
    if arguments.node:
        from nanovlm_ros.ros.bench import measure_node

        result['node'] = measure_node(arguments.repeat, lambda: picture().rgb)
    return result


def _subject(arguments, progress, max_sequences: int):
    """Return what the arguments name."""
    from nanovlm_ros.bench.subject import model_subject, random_subject
    from nanovlm_ros.models.published import find_published

    options = load_options(arguments)
    if arguments.random_weights:
        return random_subject(
            find_published(arguments.shape[0]), quantization=arguments.quantization,
            device=arguments.device, activations=arguments.activations,
            vision_weights=arguments.vision_weights,
            context_length=arguments.context_length,
            max_sequences=max_sequences, kv_cache_tokens=arguments.kv_cache_tokens,
            progress=progress)
    return model_subject(arguments.model, options, max_sequences, progress)


def _passed_on(arguments) -> list:
    """Return the arguments of a process that measures one of several shapes."""
    passed = ['--quantization', arguments.quantization, '--device', arguments.device,
              '--activations', arguments.activations,
              '--vision-weights', arguments.vision_weights,
              '--context-length', str(arguments.context_length),
              '--max-sequences', str(arguments.max_sequences),
              '--kv-cache-tokens', str(arguments.kv_cache_tokens),
              '--repeat', str(arguments.repeat)]
    passed += ['--fits', str(arguments.fits)] if arguments.fits else []
    passed += [f'--{name}' for name in ('brief', 'numerics') if getattr(arguments, name)]
    return passed + (['--against', *arguments.against] if arguments.against else [])


def _positive(text: str) -> int:
    number = _number(int, text)
    if number < 1:
        raise ArgumentTypeError('must be at least 1')
    return number


def _positive_float(text: str) -> float:
    number = _number(float, text)
    if not 0 < number < float('inf'):
        raise ArgumentTypeError('must be above 0')
    return number


def _number(kind, text: str):
    """Return a text as an int or a float."""
    try:
        return kind(text)
    except ValueError:
        raise ArgumentTypeError(
            f'{text!r} is no number' + ', or no whole one' * (kind is int)) from None
