# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Which device a model runs on, and what is said where it is not the one that was asked for.

No test needs a GPU: what torch and TVM say about one is made up.
"""
import logging
from types import SimpleNamespace

import pytest
import torch

from nanovlm_ros.engine import companion, device, loader
from nanovlm_ros.engine.device import choose_device
from nanovlm_ros.engine.sampler import sample_rows
from nanovlm_ros.mlc.cuda import runtime
from nanovlm_ros.mlc.packing import QUANTIZATIONS
from nanovlm_ros.mlc.target import Target
from nanovlm_ros.types import ErrorCode, NanoVlmError


def fail(*_, **__):
    raise AssertionError('nobody should ask')


@pytest.fixture
def gpu(monkeypatch):
    """Return a function that makes up a GPU: `gpu(problem)` is what keeps TVM from using it."""
    def make(problem=''):
        def prepare():
            if problem:
                raise NanoVlmError(ErrorCode.NOT_READY, problem)
        monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
        monkeypatch.setattr(torch.cuda, 'get_device_capability', lambda: (9, 0))
        monkeypatch.setattr(runtime, 'prepare', prepare)
    return make


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)


def refused(*arguments):
    with pytest.raises(NanoVlmError) as caught:
        choose_device(*arguments)
    return caught.value


def test_cpu_asks_nothing_about_cuda(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', fail)
    monkeypatch.setattr(runtime, 'prepare', fail)
    assert choose_device('cpu', 'q0f32') == 'cpu'


def test_auto_is_the_cpu_where_there_is_no_gpu_and_nothing_is_worth_a_warning(no_gpu, caplog):
    assert choose_device('auto', 'q4f16_1') == 'cpu'
    assert not caplog.records


@pytest.mark.parametrize('asked', ['auto', 'cuda'])
@pytest.mark.parametrize('quantization', ['q4f16_1', 'q0f16'])
def test_a_gpu_that_can_run_the_model_is_taken(gpu, asked, quantization, caplog):
    gpu()
    assert choose_device(asked, quantization) == 'cuda'
    assert not caplog.records


def test_auto_says_why_a_gpu_is_not_taken(gpu, caplog):
    gpu('libcudart.so.13 is missing.')
    assert choose_device('auto', 'q4f16_1') == 'cpu'
    record, = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == ('The model runs on the CPU, though there is a GPU. '
                                   'libcudart.so.13 is missing.')


def test_auto_leaves_a_gpu_alone_that_is_too_old(gpu, monkeypatch, caplog):
    gpu()
    monkeypatch.setattr(torch.cuda, 'get_device_capability', lambda: (7, 0))
    assert choose_device('auto', 'q4f16_1') == 'cpu'
    assert 'sm_70' in caplog.text
    assert refused('cuda', 'q4f16_1').code == ErrorCode.INVALID_REQUEST


def test_cuda_insists(gpu):
    gpu('libcudart.so.13 is missing.')
    error = refused('cuda', 'q4f16_1')
    assert (error.code, error.message) == (ErrorCode.NOT_READY, 'libcudart.so.13 is missing.')


def test_cuda_without_a_gpu_says_what_is_missing_and_the_way_out(no_gpu):
    runtime.prepare.cache_clear()
    message = refused('cuda', 'q4f16_1').message
    assert 'torch' in message and 'CPU' in message


@pytest.mark.parametrize('quantization', ['q4f32_1', 'q0f32'])
def test_a_quantization_without_cuda_kernels_is_refused_there_with_those_that_have(
        gpu, quantization, caplog):
    gpu()
    error = refused('cuda', quantization)
    assert error.code == ErrorCode.INVALID_REQUEST
    assert all(part in error.message for part in (quantization, 'q4f16_1 or q0f16', 'cpu'))
    assert choose_device('auto', quantization) == 'cpu'
    assert error.message in caplog.text


def test_a_device_that_is_unknown_is_refused_with_those_that_are_known():
    with pytest.raises(NanoVlmError, match="'abacus' is unknown; use one of auto, cuda, cpu"):
        loader.load(device='abacus')


@pytest.fixture
def assembled(monkeypatch):
    """Return the arguments of each model that `load` would have assembled."""
    calls = []
    monkeypatch.setattr(loader, 'assemble', lambda *arguments, **options: calls.append(
        SimpleNamespace(arguments=arguments, **options)))
    return calls


def test_on_a_gpu_the_decoder_is_of_its_kernels_and_its_cache_of_float16(gpu, assembled):
    gpu()
    loader.load(quantization='q0f16', context_length=300)
    shape = assembled[0].arguments[1]
    assert (shape.device, shape.cache_dtype, shape.quantization.name) == (
        'cuda', 'float16', 'q0f16')
    assert assembled[0].context == 300


def test_on_the_cpu_beside_a_gpu_the_decoder_is_as_without_one(gpu, no_gpu, assembled, monkeypatch):
    loader.load()
    gpu()
    loader.load(device='cpu')
    without, beside = (call.arguments[1] for call in assembled)
    assert without == beside and beside.device == 'cpu'


def test_a_model_that_cannot_run_on_the_gpu_is_refused_before_it_is_looked_for(gpu):
    gpu('There is no driver.')
    with pytest.raises(NanoVlmError, match='There is no driver.'):
        loader.load('/no/such/model', device='cuda')


def test_the_library_is_made_for_the_device_of_the_shape(gpu, monkeypatch):
    from nanovlm_ros.engine import build, memory, model
    from nanovlm_ros.mlc import language_model

    class Parts:
        """What a model is made of, but for the decoder."""

        def __init__(self, checkpoint, place, decoder, context, template, sample):
            self.device, self.decoder, self.sample = place.device, decoder(), sample

        def warm_up(self):
            pass

    monkeypatch.setattr(model, 'VisionLanguageModel', Parts)
    monkeypatch.setattr(memory, 'check_memory', lambda *_: None)
    monkeypatch.setattr(build, 'library', lambda shape, progress, target: target)
    monkeypatch.setattr(companion, '_open', lambda device, library: SimpleNamespace(
        sample=None, unpack=None))
    monkeypatch.setattr(companion, 'companion_library', lambda progress, target: target)
    monkeypatch.setattr(language_model, 'open_language_model',
                        lambda shape, library, weights, **options: (library, weights, options))
    gpu()
    monkeypatch.setattr(torch.cuda, 'get_device_capability', lambda: (8, 7))
    monkeypatch.setattr(torch.cuda, 'current_device', lambda: 0)
    checkpoint = loader.open_checkpoint('')
    for name, target, torchs in (
            ('cpu', Target.parse('cpu'), torch.device('cpu')),
            ('cuda', Target.here('cuda'), torch.device('cuda', 0))):
        shape = checkpoint.shape(QUANTIZATIONS['q4f16_1']).on(name)
        made = loader.assemble(checkpoint, shape, lambda: 'weights', context=100, slots=300)
        assert made.device == torchs
        assert (made.sample is sample_rows) == (name == 'cpu')
        assert made.decoder == (target, 'weights', {
            'rope_theta': checkpoint.rope_theta, 'positions': 100, 'slots': 300})
    assert Target.here('cuda').arch == 'sm_87'


def test_every_quantization_for_a_gpu_is_one_of_ours():
    assert set(device.ON_CUDA) <= set(QUANTIZATIONS)
