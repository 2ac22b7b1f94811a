# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""One run of the evaluation: bags and questions in, a folder of results out."""
import json
import sys
import time
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Dict, List, Optional

from nanovlm_ros.bag.engine import EngineSpec
from nanovlm_ros.bag.part import part_of
from nanovlm_ros.bag.plan import BagPlan, Sampling, make_plans
from nanovlm_ros.bag.progress import Bar
from nanovlm_ros.bag.questions import Question, load_questions
from nanovlm_ros.bag.reader import SECOND, bad, named
from nanovlm_ros.bag.replay import Replay
from nanovlm_ros.bag.results import (
    DROPPED, MEASURED, ResultsFolder, config_hash, digest, read_measured, write_json,
    write_text)
from nanovlm_ros.bag.throughput import Idle, run_part
from nanovlm_ros.bag.truth import Truths, check_labels
from nanovlm_ros.bag.workers import Done, LocalPool, coordinate, cut, peak_memory_mib
from nanovlm_ros.types import ErrorCode

THROUGHPUT, REPLAY = 'throughput', 'replay'


@dataclass(frozen=True)
class Options:
    """What to run; `cost_s` None: as measured."""

    bags: List[Path]
    questions: Path
    out: Path
    engine: EngineSpec
    sampling: Sampling = Sampling()
    mode: str = THROUGHPUT
    cost_s: Optional[float] = None
    max_age_s: float = 2.0
    workers: int = 1
    ray: str = ''


class Run:
    """Everything that is known before the first question is asked; made once."""

    def __init__(self, options: Options):
        self.options = options
        if options.mode == REPLAY and (options.workers > 1 or options.ray):
            raise bad('A replay is of one node with one engine; leave out --workers and --ray.')
        self.questions = load_questions(options.questions)
        self._engine = options.engine.identity()
        options.engine.check(self.questions)  # what takes long comes last
        self.plans = make_plans(named(options.bags), self.questions, options.sampling)
        self.truths = [Truths(plan, self.questions, options.questions.parent)
                       for plan in self.plans]
        self.total = sum(len(plan.asks) for plan in self.plans)
        self.document = self._document()
        self.config: str = self.document['config']
        self._dicts = {question.id: (number, question.as_dict())
                       for number, question in enumerate(self.questions)}
        self._places = {plan.name: number for number, plan in enumerate(self.plans)}
        self.idle_s, self.peak_memory_mib = 0.0, 0.0

    def warnings(self) -> List[str]:
        """Return sentences about what is odd."""
        said = check_labels(self.truths)
        said += [sentence for plan in self.plans for sentence in plan.warnings()]
        if not self.total:
            raise bad('No question is ever asked. ' + ' '.join(said))
        return said

    def finish(self, row: dict) -> dict:
        """Add truth and score to a row."""
        from nanovlm_ros.bag.scoring import score

        number, question = self._dicts[row['question']]
        truth = self.truths[self._places[row['bag']]].of(
            number, row['stamp_ns'] or row['log_ns'], row['log_ns'])
        row['truth'] = truth
        if truth is not None and row['error_code'] == ErrorCode.NONE:
            row['score'] = score(question, row['text'], row['json'], truth)
        return row

    def throughput(self, folder: ResultsFolder) -> None:
        """Ask all that has no row yet."""
        asks = ((plan, ask) for plan in self.plans for ask in plan.asks)
        with Bar(self.total) as bar:
            done = 0
            for row in folder.rows_as_planned(asks):
                bar.past(row)
                done += 1
            if done == self.total:
                return
            if self.options.workers > 1 or self.options.ray:
                self._shared(folder, bar, done)
            else:
                self._alone(folder, bar, done)

    def replay(self, folder: ResultsFolder) -> None:
        """Replay each bag from its beginning; rows that are there are not asked again."""
        options, done, drops, idle = self.options, folder.rows(), [], Idle()
        engines: list = []

        def executor():
            if not engines:  # it may be that all rows are there
                engines.append(options.engine.start())
            return engines[0]

        lengths = [(plan.index.stop_ns - plan.index.start_ns) / SECOND for plan in self.plans]
        try:
            with Bar(sum(lengths), clock=True) as bar:
                for number, plan in enumerate(self.plans):
                    replay = Replay(plan, options.cost_s, options.max_age_s, self.config)
                    replay.run(executor, folder, done, idle,
                               lambda row: self._write(folder, bar, row), bar.past,
                               lambda at, before=sum(lengths[:number]): bar.at(before + at))
                    drops += replay.drops
        finally:
            self._note(idle.seconds, peak_memory_mib())
            for engine in engines:
                engine.shutdown()
        write_text(folder.folder / DROPPED, ''.join(json.dumps(drop) + '\n' for drop in drops))

    def _alone(self, folder: ResultsFolder, bar: Bar, done: int) -> None:
        executor, idle = self.options.engine.start(), Idle()
        try:
            for plan in self.plans:
                asks, done = plan.asks[done:], max(0, done - len(plan.asks))
                if asks:
                    run_part(executor, part_of(plan, asks), self.options.engine.in_flight, idle,
                             self.config, lambda row: self._write(folder, bar, row))
        finally:
            self._note(idle.seconds, peak_memory_mib())
            executor.shutdown()

    def _shared(self, folder: ResultsFolder, bar: Bar, done: int) -> None:
        options = self.options

        def on_done(shard: Done) -> None:
            self._note(shard.idle_s / options.workers, shard.peak_memory_mib)
            for row in shard.rows:
                self._write(folder, bar, row)

        with self._pool() as pool:
            coordinate(cut(self.plans, done, options.workers), pool, on_done)

    def _pool(self):
        options = self.options
        if options.ray:
            from nanovlm_ros.bag.ray_pool import RayPool

            return RayPool(options.engine, self.config, options.workers, options.ray)
        return LocalPool(options.engine, self.config, options.workers)

    def _write(self, folder: ResultsFolder, bar: Bar, row: dict) -> None:
        folder.append(self.finish(row))
        bar.add(row)

    def _note(self, idle_s: float, peak_memory_mib: float) -> None:
        self.idle_s += idle_s
        self.peak_memory_mib = max(self.peak_memory_mib, peak_memory_mib)

    def _document(self) -> dict:
        options = self.options
        replay = {'cost_s': options.cost_s, 'max_image_age_s': options.max_age_s} \
            if options.mode == REPLAY else None
        sampling = asdict(options.sampling)
        if sampling['end_s'] == float('inf'):
            sampling['end_s'] = None  # JSON has no infinity
        document = {
            **self._engine, 'mode': options.mode, 'sampling': sampling, 'replay': replay,
            'questions': [question.as_dict() for question in self.questions],
            'version': _version()}
        contents = {
            **document, 'labels': _label_files(options.questions.parent, self.questions),
            'bags': [_identity(plan) for plan in self.plans]}
        bags = [{'name': plan.name, 'path': str(plan.path.resolve()), 'start_ns': plan.start_ns,
                 'end_ns': plan.end_ns} for plan in self.plans]
        return {'config': config_hash(contents), **document, 'bags': bags}


def run(options: Options) -> int:
    """Run, or go on where the same run was stopped; return the exit code."""
    began = time.monotonic()
    made = Run(options)
    for sentence in made.warnings():
        print(f'nanovlm: {sentence}', file=sys.stderr)
    with ResultsFolder(options.out, made.document) as folder:
        try:
            made.replay(folder) if options.mode == REPLAY else made.throughput(folder)
        except KeyboardInterrupt:
            print(f'\nnanovlm: stopped. {options.out} keeps what was answered; the same command '
                  'goes on from there.', file=sys.stderr)
            return 130
        finally:
            _write_measured(options, made, time.monotonic() - began)
        return _finish(options.out)


def _finish(out: Path) -> int:
    from nanovlm_ros.bag.outputs import terminal_summary, write_outputs

    print(terminal_summary(write_outputs(out)))
    print(f'The results are in {out}; open {out / "report.html"} in a browser.', file=sys.stderr)
    return 0


def _write_measured(options: Options, made: Run, seconds: float) -> None:
    measured = read_measured(options.out)
    write_json(options.out / MEASURED, {
        'wall_s': round(measured['wall_s'] + seconds, 3),
        'engine_idle_s': round(measured['engine_idle_s'] + made.idle_s, 3),
        'peak_memory_mib': round(max(measured['peak_memory_mib'], made.peak_memory_mib), 1),
        'workers': options.workers})


def _identity(plan: BagPlan) -> dict:
    """Return what tells a bag from another one of the same name, wherever it lies."""
    index = plan.index
    return {'name': plan.name, 'start_ns': plan.start_ns, 'end_ns': plan.end_ns,
            'topics': index.topics, 'images': digest(
                index.stamp_ns.tobytes().hex() + index.log_ns.tobytes().hex())}


def _label_files(folder: Path, questions: List[Question]) -> Dict[str, str]:
    """Return the label files by name, each with a digest of its content."""
    names = sorted({question.truth['labels'] for question in questions
                    if 'labels' in (question.truth or {})})
    return {name: digest((folder / name).read_text(encoding='utf-8')) for name in names}


def _version() -> str:
    try:
        return version('nanovlm_ros')
    except PackageNotFoundError:  # run from a source tree
        return ''
