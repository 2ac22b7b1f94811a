# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A contender in a process of its own, where our settings do not reach it."""
import multiprocessing
import os
from contextlib import ExitStack, contextmanager
from typing import Any, Callable, Iterator, Sequence

from nanovlm_ros.bench.samples import Run
from nanovlm_ros.types import ErrorCode, NanoVlmError

PREFILL, DECODE, RUN, LEAVE, CLOSE = 'prefill', 'decode', 'run', 'leave', 'close'


class Apart:
    """Does what the contender `make(*arguments)` does, in a process without some variables.

    OpenMP reads OMP_WAIT_POLICY once in a process: with the PASSIVE that suits us (see
    `engine.loader`) llama.cpp took 1.5 times as long for a token. Raises what the contender does,
    and MODEL_ERROR where its process ends.
    """

    def __init__(self, make: Callable, *arguments: Any, without: Sequence[str]):
        context = multiprocessing.get_context('spawn')
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, make, arguments),
                                        daemon=True)
        kept = {name: os.environ.pop(name) for name in without if name in os.environ}
        try:
            self._process.start()
        finally:
            os.environ.update(kept)
        theirs.close()
        self.name = self._receive()

    def close(self) -> None:
        self._ask(CLOSE)
        self._process.join()

    def prefill(self, rows: int):
        return self._measured(PREFILL, rows)

    def decode(self, context: int):
        return self._measured(DECODE, context)

    @contextmanager
    def _measured(self, what: str, rows: int) -> Iterator[Run]:
        self._ask(what, rows)
        try:
            yield lambda: self._ask(RUN)
        finally:
            self._ask(LEAVE)

    def _ask(self, what: str, argument: int = 0) -> Any:
        try:
            self._pipe.send((what, argument))
        except BrokenPipeError:  # nobody is there: what is received says so
            pass
        return self._receive()

    def _receive(self) -> Any:
        try:
            found = self._pipe.recv()
        except EOFError:
            self._process.join()
            raise NanoVlmError(
                ErrorCode.MODEL_ERROR, 'The process of a peer ended by itself, with exit code '
                f'{self._process.exitcode}; it may have been short of memory.') from None
        if isinstance(found, Exception):
            raise found
        return found


def _serve(pipe, make: Callable, arguments: Sequence[Any]) -> None:
    """Do what is asked for, until CLOSE; an exception is an answer, too."""
    try:
        contender = make(*arguments)
    except Exception as error:
        pipe.send(error)
        return
    pipe.send(contender.name)
    with ExitStack() as stack:
        run, what = None, ''
        while what != CLOSE:
            what, argument = pipe.recv()
            found = None
            try:
                if what in (PREFILL, DECODE):
                    run = stack.enter_context(getattr(contender, what)(argument))
                elif what == RUN:
                    found = run()
                elif what == LEAVE:
                    stack.close()
                else:
                    contender.close()
            except Exception as error:
                found = error
            pipe.send(found)
