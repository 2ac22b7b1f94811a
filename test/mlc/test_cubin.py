# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Machine code is carried by the source, or compiled once; it is never that of something else."""
import pytest

from nanovlm_ros.mlc.cuda import cubin
from nanovlm_ros.mlc.cuda.cubin import find_cubin, with_cubin
from nanovlm_ros.types import ErrorCode, NanoVlmError

SOURCE = '#define A\n__global__ void k();\n'


@pytest.fixture
def compiled(monkeypatch, tmp_path):
    """A compiler that notes what it compiles, and an empty cache."""
    monkeypatch.setenv('NANOVLM_CACHE', str(tmp_path / 'cache'))
    calls = []

    def compile_cubin(source, arch):
        calls.append((source, arch))
        return f'{arch}:{source}'.encode() + bytes(range(256))
    monkeypatch.setattr(cubin, 'compile_cubin', compile_cubin)
    return calls


def test_a_source_that_carries_its_machine_code_needs_no_compiler(compiled, tmp_path):
    carrying = with_cubin(SOURCE, 'sm_87')
    assert carrying.startswith(SOURCE) and compiled == [(SOURCE, 'sm_87')]
    found = find_cubin(carrying, 'sm_87')
    assert found == b'sm_87:' + SOURCE.encode() + bytes(range(256))
    assert len(compiled) == 1 and not (tmp_path / 'cache').exists()


def test_the_added_line_is_a_comment(compiled):
    added = with_cubin(SOURCE, 'sm_87')[len(SOURCE):].strip('\n')
    assert added.startswith('//') and '\n' not in added and '\\' not in added


def test_another_gpu_gets_code_compiled_from_the_same_source_once(compiled):
    carrying = with_cubin(SOURCE, 'sm_87')
    first = find_cubin(carrying, 'sm_90')
    assert first.startswith(b'sm_90:') and compiled[1:] == [(SOURCE, 'sm_90')]
    assert find_cubin(carrying, 'sm_90') == first and len(compiled) == 2
    # The library of somebody without a compiler has the same source.
    assert find_cubin(SOURCE, 'sm_90') == first and len(compiled) == 2


def test_what_is_kept_depends_on_source_architecture_and_options(compiled, monkeypatch):
    find_cubin(SOURCE, 'sm_90')
    for source, arch in ((SOURCE + ' ', 'sm_90'), (SOURCE, 'sm_80')):
        assert find_cubin(source, arch).startswith(f'{arch}:{source}'.encode())
    monkeypatch.setattr(cubin, 'STANDARD', '--std=c++20')
    find_cubin(SOURCE, 'sm_90')
    assert len(compiled) == 4


def test_a_compiler_at_fault_leaves_nothing(compiled, monkeypatch, tmp_path):
    def broken(source, arch):
        raise NanoVlmError(ErrorCode.MODEL_ERROR, 'no such luck')
    monkeypatch.setattr(cubin, 'compile_cubin', broken)
    with pytest.raises(NanoVlmError, match='no such luck'):
        find_cubin(SOURCE, 'sm_90')
    assert not list(tmp_path.rglob('*.cubin'))


def test_a_cache_that_cannot_be_written_is_a_sentence(compiled, tmp_path):
    (tmp_path / 'cache').write_text('a file where the folder should be')
    with pytest.raises(NanoVlmError, match='NANOVLM_CACHE'):
        find_cubin(SOURCE, 'sm_90')
