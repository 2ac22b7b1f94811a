# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What is timed is what is said: as many rows, as many tokens, at the same place each time."""
import mmap
import os
import threading
from types import SimpleNamespace

import pytest
import torch
from tiny import LLAMA, STABLELM

from nanovlm_ros.bench import hf, used_memory
from nanovlm_ros.bench.contender import LEAST_STEPS, STEPS, Ours, steps_of
from nanovlm_ros.bench.used_memory import UsedMemory, files_resident
from nanovlm_ros.mlc.kv_cache import KVCache
from nanovlm_ros.types import NanoVlmError


class Recorder:
    """A language model that notes what it is asked."""

    device, positions = torch.device('cpu'), 400

    def __init__(self):
        self.cache, self.runs, self.decodes = KVCache(1000), [], []

    def embed(self, ids):
        return torch.zeros(len(ids), 8)

    def run(self, batch, rows):
        assert rows.shape == (sum(count for _, count in batch), 8) and not rows.any()
        rows += 1  # they are overwritten
        self.runs.append([(self.cache.length(sequence), count) for sequence, count in batch])
        for sequence, count in batch:
            self.cache.extend(sequence, count)

    def decode(self, batch):
        self.decodes.append(([self.cache.length(sequence) for sequence, _ in batch],
                             [token for _, token in batch]))
        for sequence, _ in batch:
            self.cache.extend(sequence, 1)
        return torch.eye(8)[[3] * len(batch)]


def test_a_prefill_fills_an_empty_sequence_each_time_and_leaves_nothing():
    llm = Recorder()
    with Ours(llm, 8).prefill(30) as run:
        assert run() > 0 and run() > 0
    assert llm.runs == [[(0, 30)], [(0, 30)]] and len(llm.cache) == 0


def test_decoding_begins_after_the_same_rows_each_time_and_leaves_nothing():
    llm = Recorder()
    with Ours(llm, 8).decode(20, batch=3) as run:
        llm.decodes.clear()
        run()
        first = [rows for rows, _ in llm.decodes]
        assert first == [[20 + i] * 3 for i in range(STEPS)]
        llm.decodes.clear()
        run()
        assert [rows for rows, _ in llm.decodes] == first
    assert len(llm.cache) == 0 and llm.cache.free == 1000


def test_with_sampling_the_likeliest_token_is_the_next_one():
    llm = Recorder()
    with Ours(llm, 8).decode(20, sample=True) as run:
        llm.decodes.clear()
        run()
    assert [tokens for _, tokens in llm.decodes] == [[3]] * STEPS


def test_sequences_are_no_longer_than_the_cache_and_the_context_allow():
    ours = Ours(Recorder(), 8)
    assert ours.most_rows(1) == 400 - STEPS and ours.most_rows(8) == 125 - STEPS


def test_slow_models_decode_fewer_tokens_a_run():
    assert (steps_of(1e-4), steps_of(0.1), steps_of(5.0)) == (STEPS, 10, LEAST_STEPS)


@pytest.mark.parametrize('llm', [LLAMA, STABLELM], ids=['llama', 'stablelm'])
def test_transformers_decodes_at_the_same_place_each_time_eager_and_compiled(llm, monkeypatch):
    compiled = []
    monkeypatch.setattr(torch, 'compile', lambda step, mode: compiled.append(mode) or step)
    monkeypatch.setattr(hf, 'steps_of', lambda seconds: 3)
    monkeypatch.setattr(hf, 'STEPS', 3)
    model = hf.random_reference(llm, 'cpu', torch.float32)
    seen = []
    rotary = model.model.rotary_emb.forward

    def forward(x, position_ids):
        seen.append(position_ids.flatten().tolist())
        return rotary(x, position_ids)
    monkeypatch.setattr(model.model.rotary_emb, 'forward', forward)
    for contender in (hf.Eager('hf', model), hf.Compiled(model)):
        with contender.decode(10) as run:
            for _ in range(2):
                seen.clear()
                assert run() > 0
                assert seen == [[10], [11], [12]]
        contender.close()
    assert compiled == ['reduce-overhead']


def test_a_peer_that_does_not_fit_is_left_out_with_a_note(monkeypatch):
    numbers = 2 * 1280 * 64 + 2 * (2 * 64 * 64 + 2 * 32 * 64 + 3 * 64 * 96) + 5 * 64
    monkeypatch.setattr(hf, 'available', lambda: 3 * numbers)
    notes = []
    made = hf.contenders(LLAMA, 'cpu', notes.append)
    assert [contender.name for contender in made] == ['hf bfloat16']
    assert len(notes) == 1 and 'hf float32' in notes[0] and 'free' in notes[0]
    with pytest.raises(NanoVlmError, match='are free'):
        hf.random_reference(LLAMA, 'cpu', torch.float32)


def test_memory_is_the_most_that_was_in_use_at_once(monkeypatch):
    """Of a GPU what it has less of; the host's peak counts when it was, not on top."""
    looks = [(2, 5), (9, 1), (3, 6), (2, 5)]  # GiB of the host, and of the GPU that are free
    seen = threading.Event()

    def now(place):
        if len(looks) == 1:
            seen.set()
        return looks[0][place] if place == 0 or len(looks) == 1 else looks.pop(0)[place]

    monkeypatch.setattr(used_memory, 'PERIOD', 0.001)
    monkeypatch.setattr(used_memory, '_status', lambda: {'VmRSS': now(0) << 30, 'VmHWM': 9 << 30})
    monkeypatch.setattr(used_memory, 'files_resident', lambda: 1 << 30)
    monkeypatch.setattr(torch, 'cuda', SimpleNamespace(
        mem_get_info=lambda: (now(1) << 30, 12 << 30)))
    used = UsedMemory('cuda')
    assert seen.wait(10)
    # Free memory is asked for first, and takes the pair away: the host's is that of the next.
    assert used.read() == {'resident_mib': 9216, 'files_of_that_mib': 1024, 'gpu_mib': 11264,
                           'in_all_mib': 1024 * (9 + 7 - 1)}


def test_pages_of_files_give_way_but_not_those_that_were_written_to(tmp_path):
    def page_in(access):
        with file.open('r+b') as opened:
            mapped = mmap.mmap(opened.fileno(), 0, access=access)
        sum(mapped[::4096])
        return mapped

    file = tmp_path / 'weights'
    file.write_bytes(b'1' * (32 << 20))
    os.sync()  # pages that are yet to be written are not clean
    before = files_resident()
    mapped = page_in(mmap.ACCESS_READ)
    assert files_resident() - before >= 31 << 20
    mapped.close()
    mapped = page_in(mmap.ACCESS_COPY)
    mapped[:] = b'2' * len(mapped)
    assert files_resident() - before < 4 << 20
