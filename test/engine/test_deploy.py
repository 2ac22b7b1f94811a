# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A folder for a robot holds all that it needs, and the robot needs no compiler."""
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / 'mlc'))  # runtime_only

from answer import answer  # noqa: E402
from runtime_only import runtime_only  # noqa: E402

from nanovlm_ros.engine import build  # noqa: E402
from nanovlm_ros.engine import deploy as deploying  # noqa: E402
from nanovlm_ros.engine.deploy import deploy  # noqa: E402
from nanovlm_ros.engine.loader import demo_model  # noqa: E402
from nanovlm_ros.mlc.__main__ import NO_COMPILER  # noqa: E402
from nanovlm_ros.mlc.packing import QUANTIZATIONS  # noqa: E402
from nanovlm_ros.mlc.shape import DecoderShape  # noqa: E402
from nanovlm_ros.mlc.target import Target  # noqa: E402
from nanovlm_ros.models.bundle import MARK  # noqa: E402
from nanovlm_ros.types import ErrorCode, NanoVlmError  # noqa: E402

HERE, ROOT = Path(__file__).parent, Path(__file__).parents[2]
SHAPE = DecoderShape(
    hidden=32, intermediate=32, layers=1, q_heads=2, kv_heads=2, head_dim=16, vocab=32,
    norm_eps=1e-5, quantization=QUANTIZATIONS['q0f32'])
CPU, ORIN = Target('cpu'), Target('cuda', 'sm_87', 'aarch64')

@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """The demo model for a processor like this one."""
    folder = tmp_path_factory.mktemp('deployed') / 'robot'
    deploy('', CPU, folder)
    return folder


@pytest.fixture(scope='module')
def robot(tmp_path_factory):
    """Return a function that runs Python on a machine without a compiler."""
    path = os.pathsep.join([str(runtime_only(tmp_path_factory.mktemp('site'))), str(ROOT)])
    environment = {k: v for k, v in os.environ.items() if k != 'TVM_USE_RUNTIME_LIB'}

    def run(*arguments, **variables):
        return subprocess.run(
            [sys.executable, *arguments], capture_output=True, text=True, check=False,
            env={**environment, 'PYTHONPATH': path, **variables})
    return run


def test_a_robot_with_the_runtime_alone_answers_as_the_workstation_does(folder, robot):
    copy = folder.with_name('copy')
    shutil.copytree(folder, copy)
    before = sorted(copy.rglob('*'))
    done = robot(HERE / 'answer.py', copy / 'model', NANOVLM_CACHE=str(copy))
    assert done.stdout == f'{answer("")}\nruntime only: True\n', done.stderr
    assert sorted(copy.rglob('*')) == before, 'nothing had to be made'


def test_a_robot_cannot_compile_and_says_so(robot, tmp_path):
    (tmp_path / 'shape.json').write_text(json.dumps(SHAPE.to_json()))
    done = robot('-m', 'nanovlm_ros.mlc', tmp_path / 'shape.json', tmp_path / 'library.so')
    assert done.returncode == 1 and done.stderr.strip() == NO_COMPILER


def test_a_missing_library_is_told_with_where_it_was_looked_for_and_how_it_is_made(
        monkeypatch, tmp_path):
    monkeypatch.setenv('NANOVLM_CACHE', str(tmp_path))
    monkeypatch.setattr(build.subprocess, 'run', lambda command, **_: subprocess.CompletedProcess(
        command, 1, '', NO_COMPILER))
    with pytest.raises(NanoVlmError) as caught:
        build.library(SHAPE.on('cuda'), lambda *_: None, ORIN)
    message = caught.value.message
    assert f'{tmp_path}/libraries holds no library' in message and message.endswith(NO_COMPILER)
    assert 'nanovlm compile --target cuda:sm_87@aarch64 --output' in message


def test_the_files_are_told_with_their_sizes(folder):
    files = deploy('', CPU, folder)
    assert {path: path.stat().st_size for path in folder.rglob('*') if path.is_file()} == files
    assert {path.parts[0] for path in (p.relative_to(folder) for p in files)} == {
        'libraries', 'model'}


@pytest.fixture
def compiled(monkeypatch, tmp_path):
    """A compiler that notes shape and target, in an empty cache."""
    monkeypatch.setenv('NANOVLM_CACHE', str(tmp_path / 'cache'))
    calls = []

    def compile_library(shape, target, path):
        calls.append((shape, target))
        path.write_bytes(str(target).encode())
    monkeypatch.setattr(build, '_compile', compile_library)
    return calls


def test_a_library_for_another_machine_does_not_depend_on_this_one(
        compiled, monkeypatch, tmp_path):
    deploy('', ORIN, tmp_path / 'robot')
    (shape, target), beside = compiled
    assert (shape.device, shape.cache_dtype, target) == ('cuda', 'float16', ORIN)
    assert beside == (None, ORIN)
    monkeypatch.setattr(build, '_processor', lambda: ['of the robot'])
    monkeypatch.setenv('NANOVLM_CACHE', str(tmp_path / 'robot'))
    found = build.library(shape, lambda *_: None, ORIN)
    assert found.read_bytes() == b'cuda:sm_87@aarch64'
    assert build.companion_library(lambda *_: None, ORIN).read_bytes() == b'cuda:sm_87@aarch64'
    assert len(compiled) == 2
    build.library(shape, lambda *_: None, Target('cuda', 'sm_90', 'aarch64'))
    assert len(compiled) == 3


def test_a_second_target_is_added_and_the_model_replaced(compiled, tmp_path):
    output = tmp_path / 'robot'
    deploy('', ORIN, output)
    (output / 'model' / 'leftover').write_text('of an earlier release')
    deploy('', CPU, output, quantization='q0f16')
    assert len(list((output / 'libraries').iterdir())) == 4, 'each has one beside the decoder'
    assert not (output / 'model' / 'leftover').exists()
    assert 'q0f16' in (output / 'model' / 'llm' / 'mlc-chat-config.json').read_text()
    assert {path.name for path in output.iterdir()} == {'libraries', 'model'}


def test_a_deployed_model_can_be_deployed_for_another_target(compiled, tmp_path):
    deploy('', CPU, tmp_path / 'first', quantization='q0f16')
    deploy(str(tmp_path / 'first' / 'model'), ORIN, tmp_path / 'second')
    assert compiled[2][0] == compiled[0][0].on('cuda')
    assert compiled[1] == (None, CPU) and compiled[3] == (None, ORIN)
    first, second = (
        {path.relative_to(tmp_path / name): path.read_bytes()
         for path in (tmp_path / name).rglob('*.*') if path.suffix != '.so' and path.name != MARK}
        for name in ('first', 'second'))
    assert first == second and len(first) > 4


@pytest.mark.parametrize('make', [
    lambda path: path.write_text('x'),
    lambda path: (path / 'photos').mkdir(parents=True)])
def test_a_folder_of_something_else_is_left_alone(compiled, tmp_path, make):
    make(tmp_path / 'mine')
    with pytest.raises(NanoVlmError) as caught:
        deploy('', CPU, tmp_path / 'mine')
    assert caught.value.code == ErrorCode.INVALID_REQUEST and not compiled


def test_a_folder_that_cannot_be_written_is_a_sentence_and_keeps_what_it_had(
        compiled, monkeypatch, tmp_path):
    deploy('', CPU, tmp_path / 'robot')
    before = {path: path.read_bytes() for path in tmp_path.rglob('*') if path.is_file()}

    def full(*_):
        raise OSError(28, 'No space left on device')
    monkeypatch.setattr(deploying, 'write_bundle', full)
    with pytest.raises(NanoVlmError, match='No space left') as caught:
        deploy(str(demo_model()), CPU, tmp_path / 'robot')
    assert str(tmp_path / 'robot') in caught.value.message
    assert before == {path: path.read_bytes() for path in tmp_path.rglob('*') if path.is_file()}
