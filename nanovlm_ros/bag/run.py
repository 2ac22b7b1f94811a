# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""One run of the evaluation: bags and questions in, a folder of results out."""
import json
import sys
import time
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import List, Optional

from nanovlm_ros.bag.engine import EngineSpec
from nanovlm_ros.bag.measured import Measured, Work
from nanovlm_ros.bag.part import part_of
from nanovlm_ros.bag.plan import BagPlan, Sampling, make_plans
from nanovlm_ros.bag.progress import Bar
from nanovlm_ros.bag.questions import load_questions
from nanovlm_ros.bag.reader import SECOND, bad, named
from nanovlm_ros.bag.replay import Replay
from nanovlm_ros.bag.results import DROPPED, ResultsFolder, config_hash, write_text
from nanovlm_ros.bag.throughput import run_part
from nanovlm_ros.bag.truth import Truths, check_labels
from nanovlm_ros.bag.workers import Done, LocalPool, coordinate, cut
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

    def warnings(self) -> List[str]:
        """Return sentences about what is odd; raise about truths that cannot be used."""
        said = check_labels(self.truths)
        for truths in self.truths:
            truths.check_usable()
        said += [sentence for plan in self.plans for sentence in plan.warnings()]
        if not self.total:
            raise bad('No question is ever asked. ' + ' '.join(said))
        return said

    def finish(self, row: dict) -> dict:
        """Add truth and score to a row."""
        from nanovlm_ros.bag.scoring import score

        number, question = self._dicts[row['question']]
        truths = self.truths[self._places[row['bag']]]
        row['truth'] = truth = truths.of(number, row['stamp_ns'], row['log_ns'])
        if truth is not None and row['error_code'] == ErrorCode.NONE:
            row['score'] = score(question, row['text'], row['json'], truth)
        return row

    def throughput(self, folder: ResultsFolder, measured: Measured) -> None:
        """Ask all that has no row yet."""
        asks = ((plan, ask) for plan in self.plans for ask in plan.asks)
        with Bar(self.total) as bar:
            done = 0
            for row in folder.rows_as_planned(asks):
                bar.past(row)
                done += 1
            if done == self.total:
                return
            measured.begin()
            ask = self._shared if self.options.workers > 1 or self.options.ray else self._alone
            ask(folder, bar, measured, done)

    def replay(self, folder: ResultsFolder, measured: Measured) -> None:
        """Replay each bag from its beginning; rows that are there are not asked again."""
        options, done, drops = self.options, folder.rows(), []
        engines: list = []

        def executor():
            if not engines:  # it may be that all rows are there
                engines.append(self._start(measured))
            return engines[0]

        lengths = [(plan.index.stop_ns - plan.index.start_ns) / SECOND for plan in self.plans]
        try:
            with Bar(sum(lengths), clock=True) as bar:
                for number, plan in enumerate(self.plans):
                    replay = Replay(plan, options.cost_s, options.max_age_s, self.config)
                    replay.run(executor, folder, done, measured.busy,
                               lambda row: self._write(folder, bar, measured, row), bar.past,
                               lambda at, before=sum(lengths[:number]): bar.at(before + at))
                    drops += replay.drops
        finally:
            for engine in engines:
                engine.shutdown()
        write_text(folder.folder / DROPPED, ''.join(json.dumps(drop) + '\n' for drop in drops))

    def _alone(self, folder: ResultsFolder, bar: Bar, measured: Measured, done: int) -> None:
        executor = self._start(measured)
        try:
            for plan in self.plans:
                asks, done = plan.asks[done:], max(0, done - len(plan.asks))
                if asks:
                    run_part(executor, part_of(plan, asks), self.options.engine.in_flight,
                             measured.busy, self.config,
                             lambda row: self._write(folder, bar, measured, row))
        finally:
            executor.shutdown()

    def _shared(self, folder: ResultsFolder, bar: Bar, measured: Measured, done: int) -> None:
        options = self.options

        def on_done(shard: Done) -> None:
            measured.add(shard.work)
            for row in shard.rows:
                self._write(folder, bar, measured, row)

        with self._pool() as pool:
            coordinate(cut(self.plans, done, options.workers), pool, on_done)

    def _pool(self):
        options = self.options
        if options.ray:
            from nanovlm_ros.bag.ray_pool import RayPool

            return RayPool(options.engine, self.config, options.workers, options.ray)
        return LocalPool(options.engine, self.config, options.workers)

    def _start(self, measured: Measured):
        began = time.monotonic()
        executor = self.options.engine.start()
        measured.add(Work(loading_s=time.monotonic() - began))
        return executor

    def _write(self, folder: ResultsFolder, bar: Bar, measured: Measured, row: dict) -> None:
        folder.append(self.finish(row))
        bar.add(row)
        measured.row()

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
            **document, 'truths': [truths.digest() for truths in self.truths],
            'bags': [_identity(plan) for plan in self.plans]}
        bags = [{'name': plan.name, 'path': str(plan.path.resolve()), 'start_ns': plan.start_ns,
                 'end_ns': plan.end_ns} for plan in self.plans]
        # How many rows a replay will have depends on how long its answers take.
        planned = self.total if options.mode == THROUGHPUT else None
        return {'config': config_hash(contents), **document, 'bags': bags,
                'planned_rows': planned}


def run(options: Options) -> int:
    """Run, or go on where the same run was stopped; return the exit code."""
    began = time.monotonic()
    made = Run(options)
    for sentence in made.warnings():
        print(f'nanovlm: {sentence}', file=sys.stderr)
    with ResultsFolder(options.out, made.document) as folder:
        measured = Measured(options.out, began, options.workers)
        ask = made.replay if options.mode == REPLAY else made.throughput
        try:
            ask(folder, measured)
        except KeyboardInterrupt:
            print(f'\nnanovlm: stopped. {options.out} keeps what was answered; the same command '
                  'goes on from there.', file=sys.stderr)
            return 130
        finally:
            measured.end()
        began = time.monotonic()
        code = _finish(options.out)
        measured.outputs(time.monotonic() - began)
        return code


def _finish(out: Path) -> int:
    from nanovlm_ros.bag.outputs import terminal_summary, write_outputs

    print(terminal_summary(write_outputs(out)))
    print(f'The results are in {out}; open {out / "report.html"} in a browser.', file=sys.stderr)
    return 0


def _identity(plan: BagPlan) -> dict:
    """Return what tells a bag from another one of the same name, wherever it lies."""
    index = plan.index
    return {'name': plan.name, 'start_ns': plan.start_ns, 'end_ns': plan.end_ns,
            'topics': index.topics, 'images': f'{index.checksum:08x}'}


def _version() -> str:
    try:
        return version('nanovlm_ros')
    except PackageNotFoundError:  # run from a source tree
        return ''
