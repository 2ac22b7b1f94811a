# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Ask about the newest frames of a video again and again; the answers are drawn on its frames."""
import sys
import time
from pathlib import Path

from nanovlm_ros.cli.files import read_text
from nanovlm_ros.types import ErrorCode, GenerationConfig, NanoVlmError

EXAMPLES = '''examples:
  nanovlm video --video-input in.mp4 --video-output out.mp4 --prompt "What changed?"
  nanovlm video --video-input /dev/video0 --prompt "Is a person there?" --prompt "Is a door open?"
  nanovlm video --video-input rtsp://camera/stream --prompt "What happens?" --period 0.5'''
LONGEST_PERIOD = 3600.0  # s, as the node's window.period


def add_arguments(parser) -> None:
    """Add the video, the questions and the model."""
    from argparse import RawDescriptionHelpFormatter

    from nanovlm_ros.cli.eval import positive
    from nanovlm_ros.cli.model_arguments import add_model_arguments

    parser.epilog, parser.formatter_class = EXAMPLES, RawDescriptionHelpFormatter
    parser.add_argument('--video-input', required=True, metavar='INPUT',
                        help='video file, folder of images (JPEG, PNG) that are --period apart, '
                             'device like /dev/video0, or rtsp:// address')
    parser.add_argument('--video-output', type=Path, metavar='FILE',
                        help='mp4 file to write, with the answers on the frames')
    parser.add_argument('-p', '--prompt', action='append', required=True, dest='prompts',
                        metavar='PROMPT', help='the question; may be repeated')
    parser.add_argument('--max-images', type=positive, default=8, metavar='N',
                        help='frames that a question is about, at most (default: %(default)s)')
    parser.add_argument('--period', type=period, default=1.0, metavar='SECONDS',
                        help='between two such frames, by the time of the video; 0: every frame '
                             '(default: %(default)s)')
    parser.add_argument('--window-mode', default='rolling', choices=('rolling', 'exact'),
                        help='rolling keeps the frames in the KV cache, where a question finds '
                             'them ready; exact computes them for each question anew '
                             '(default: %(default)s)')
    parser.add_argument('--json-schema', type=Path, metavar='FILE',
                        help='answer in JSON that this schema accepts')
    parser.add_argument('--max-new-tokens', type=positive, default=128, metavar='N',
                        help='longest answer (default: %(default)s)')
    add_model_arguments(parser)


def run(arguments) -> int:
    """Print the answers as they come; 0 done, 1 some are missing, 130 stopped by Ctrl-C."""
    from nanovlm_ros.video.sources import open_source

    schema = read_text(arguments.json_schema) if arguments.json_schema else ''
    _refuse_the_input(arguments.video_input, arguments.video_output)
    with open_source(arguments.video_input, arguments.period, _note) as source:
        return _watch(arguments, source, schema)


def _watch(arguments, source, schema: str) -> int:
    from contextlib import ExitStack

    from nanovlm_ros.cli.model_arguments import load_model
    from nanovlm_ros.engine.executor import MlcExecutor
    from nanovlm_ros.video.output import Output
    from nanovlm_ros.video.watcher import Watcher

    with ExitStack() as stack:
        output = None
        if arguments.video_output:
            # Tried before the model is loaded, which may take minutes.
            output = stack.enter_context(Output(arguments.video_output, source.fps, _note))
        executor = MlcExecutor(lambda: load_model(arguments))
        executor.start()
        stack.callback(executor.shutdown)  # before the output is closed: nothing comes any more
        watcher = Watcher(
            executor, arguments.prompts, frames=arguments.max_images, period=arguments.period,
            rolling=arguments.window_mode == 'rolling', json_schema=schema,
            config=GenerationConfig(max_new_tokens=arguments.max_new_tokens))
        bar = stack.enter_context(Bar(source, watcher))
        try:
            _play(source, watcher, output, bar)
            stopped = False
        except KeyboardInterrupt:
            stopped = True
    _note(bar.summary() + (' Stopped.' if stopped else ''))
    if not bar.frames and not stopped:
        raise NanoVlmError(ErrorCode.NO_IMAGE, f'{arguments.video_input} gave no picture.')
    return 130 if stopped else int(watcher.failed > 0)


def _play(source, watcher, output, bar) -> None:
    """Take the pictures of a source, one after the other; a live one does not wait for answers."""
    from nanovlm_ros.imaging import draw

    for picture in source:
        watcher.see(picture)
        for seen in watcher.answers(wait=not source.live):
            bar.say(seen)
        if output is not None:
            output.write(draw(picture.bgr, watcher.lines), picture.ns if source.live else None)
        bar.frame()
    for seen in watcher.answers(wait=True):
        bar.say(seen)


class Bar:
    """The progress bar, on a terminal only, and the answers printed above it."""

    def __init__(self, source, watcher):
        from tqdm import tqdm

        self._source, self._watcher, self.frames = source, watcher, 0
        self._began, self._ended = time.monotonic(), 0.0
        self._bar = tqdm(total=source.total, unit=' frames', dynamic_ncols=True, disable=None)

    def __enter__(self) -> 'Bar':
        return self

    def __exit__(self, *_) -> None:
        self._ended = time.monotonic()
        self._bar.close()

    def frame(self) -> None:
        """Count a frame."""
        self.frames += 1
        self._bar.update()

    def say(self, seen) -> None:
        """Print an answer with its time, or, to stderr, why there is none."""
        answer, at = seen.answer, clock(seen.ns)
        if answer.error_code:
            _note(f'{at}  {answer.prompt}  {answer.error_message}')
        else:
            self._bar.write(f'{at}  {answer.prompt}  '
                            f'{" ".join((answer.json or answer.text).split())}')
            sys.stdout.flush()
        self._bar.set_postfix_str(self._answers(), refresh=False)

    def summary(self) -> str:
        """Return a sentence about all of it."""
        text = (f'{self.frames} frames ({self.frames / self._passed():.1f}/s), '
                f'{self._answers()}')
        if self._source.live:
            text += (f', {self._source.dropped} frames dropped, {self._watcher.missed} windows '
                     'not asked about')
        return text + (f', {self._watcher.failed} without an answer.' if self._watcher.failed
                       else '.')

    def _answers(self) -> str:
        count = self._watcher.answered
        return f'{count} answers ({count / self._passed():.2f}/s)'

    def _passed(self) -> float:
        return max((self._ended or time.monotonic()) - self._began, 1e-9)


def clock(ns: int) -> str:
    """Time of a video in ns -> 1:02:03.4."""
    tenths = round(ns / 1e8)
    minutes, seconds = divmod(tenths / 10, 60)
    hours, minutes = divmod(int(minutes), 60)
    return (f'{hours}:{minutes:02}' if hours else f'{minutes}') + f':{seconds:04.1f}'


def period(text: str) -> float:
    """Read a number of seconds between 0 and an hour."""
    value = float(text)
    if not 0 <= value <= LONGEST_PERIOD:
        raise ValueError(text)
    return value


def _note(text: str) -> None:
    """Print to stderr, above the bar."""
    from tqdm import tqdm

    tqdm.write(f'nanovlm: {text}', file=sys.stderr)


def _refuse_the_input(source: str, output) -> None:
    try:
        same = output is not None and output.samefile(source)
    except OSError:  # one of them is not there, or is no file: then they are not the same
        same = False
    if same:
        raise NanoVlmError(ErrorCode.INVALID_REQUEST,
                           f'The output {output} is the input; write to another file.')
