# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A contender in a process of its own does what it would do here."""
import os
from contextlib import contextmanager

import pytest

from nanovlm_ros.bench.apart import Apart
from nanovlm_ros.types import ErrorCode, NanoVlmError


class Peer:
    """Its seconds tell what was asked for, and where it lives."""

    name = 'peer'

    def __init__(self, variable):
        if variable == 'broken':
            raise NanoVlmError(ErrorCode.INVALID_REQUEST, 'Install it.')
        self._seen = variable in os.environ
        self._entered = 0

    def close(self):
        pass

    @contextmanager
    def prefill(self, rows):
        self._entered += 1
        yield lambda: (rows, self._seen, self._entered, os.getpid())
        self._entered -= 1

    @contextmanager
    def decode(self, context):
        def run():
            if context == 13:
                raise ValueError('unlucky')
            if context == 66:
                os._exit(3)
            return -context
        yield run


@pytest.fixture
def peer(monkeypatch):
    monkeypatch.setenv('NANOVLM_TEST', '1')
    made = Apart(Peer, 'NANOVLM_TEST', without=['NANOVLM_TEST', 'NANOVLM_MISSING'])
    yield made
    if made._process.is_alive():
        made.close()


def test_it_runs_elsewhere_and_without_the_variable_which_stays_here(peer):
    assert peer.name == 'peer' and os.environ['NANOVLM_TEST'] == '1'
    for rows in (5, 7):
        with peer.prefill(rows) as run:
            for _ in range(2):
                *found, where = run()
                assert found == [rows, False, 1] and where != os.getpid()
    with peer.decode(9) as run:
        assert run() == -9


def test_exceptions_come_here(peer):
    with pytest.raises(ValueError, match='unlucky'):
        with peer.decode(13) as run:
            run()
    with pytest.raises(NanoVlmError, match='Install it'):
        Apart(Peer, 'broken', without=[])


def test_a_process_that_ends_is_told(peer):
    with pytest.raises(NanoVlmError, match='exit code 3'):
        with peer.decode(66) as run:
            run()
