# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""`nanovlm compile`, for this machine and for another; nothing is compiled here."""
import pytest

from nanovlm_ros.cli import main as cli
from nanovlm_ros.engine import deploy as deploying
from nanovlm_ros.mlc.cuda import toolchain
from nanovlm_ros.mlc.target import Target


@pytest.fixture
def deployed(monkeypatch):
    """Have a folder made of two files; returns what was asked for."""
    asked = []

    def deploy(model, target, output, *, progress, **options):
        asked.append((model, target, output, options))
        return {output / 'libraries' / 'x.so': 2048, output / 'model' / 'nanovlm.json': 5 << 20}
    monkeypatch.setattr(deploying, 'deploy', deploy)
    return asked


def test_without_a_target_the_model_is_built_for_this_machine(model, capsys):
    assert cli.main(['compile']) == 0
    assert f'{model.name} is ready' in capsys.readouterr().out and model.closed


def test_with_a_target_the_files_for_the_robot_are_listed(deployed, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(toolchain, 'has_compiler', lambda: True)
    assert cli.main(['compile', '--model', 'm', '--target', 'cuda:sm_87', '--quantization',
                     'q4f32_1', '--output', str(tmp_path / 'robot')]) == 0
    assert deployed == [('m', Target('cuda', 'sm_87', 'aarch64'), tmp_path / 'robot', {
        'revision': '', 'trust_pickle': False, 'mlc_weights': '', 'quantization': 'q4f32_1',
        'activations': 'int8'})]
    out = capsys.readouterr().out
    assert '2.0 KiB  libraries/x.so' in out and '5,120.0 KiB  model/nanovlm.json' in out
    assert 'cuda:sm_87@aarch64' in out and 'NANOVLM_CACHE' in out
    assert 'not compiled yet' not in out


def test_without_a_cuda_compiler_it_is_said_that_the_robot_needs_one(
        deployed, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(toolchain, 'has_compiler', lambda: False)
    assert cli.main(['compile', '--target', 'cuda:sm_87', '--output', str(tmp_path)]) == 0
    assert 'pip install nvidia-cuda-nvrtc' in capsys.readouterr().out
    assert cli.main(['compile', '--target', 'cpu', '--output', str(tmp_path)]) == 0
    assert 'nvrtc' not in capsys.readouterr().out


@pytest.mark.parametrize('arguments, said', [
    (['--target', 'cuda:sm_87'], '--output'), (['--output', 'x'], '--target'),
    (['--target', 'cuda:sm_70', '--output', 'x'], 'sm_70')])
def test_what_cannot_be_compiled_for_is_a_sentence(deployed, capsys, arguments, said):
    assert cli.main(['compile', *arguments]) == 1
    assert said in capsys.readouterr().err and not deployed
