# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What a GPU cannot be used for lack of is a sentence, and is looked for anew each time."""
import pytest

pytest.importorskip('tvm', reason='the runtime is that of apache-tvm')

import torch  # noqa: E402
import tvm  # noqa: E402

from nanovlm_ros.mlc.cuda import runtime  # noqa: E402
from nanovlm_ros.types import ErrorCode, NanoVlmError  # noqa: E402


@pytest.fixture(autouse=True)
def gpu(monkeypatch):
    """Have torch say that there is a GPU, and nothing prepared."""
    monkeypatch.setattr(torch.version, 'cuda', '13.0')
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'init', lambda: None)
    runtime.prepare.cache_clear()
    yield
    runtime.prepare.cache_clear()


def failure():
    with pytest.raises(NanoVlmError) as caught:
        runtime.prepare()
    assert caught.value.code == ErrorCode.NOT_READY
    assert 'set the device to cpu' in caught.value.message
    return caught.value.message


def test_a_torch_without_cuda_is_named_with_what_to_install(monkeypatch):
    monkeypatch.setattr(torch.version, 'cuda', None)
    message = failure()
    assert torch.__version__ in message and 'CUDA 13' in message


def test_a_gpu_that_torch_does_not_see_is_a_matter_of_the_driver(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    message = failure()
    assert 'built for CUDA 13.0' in message and 'nvidia-smi' in message


def loads(monkeypatch, *missing):
    """Replace the loader of libraries; those that are missing fail as the system's does."""
    loaded = []

    def load(path):
        loaded.append(path)
        for name in missing:
            if path.endswith(name):
                raise OSError(f'{name}: cannot open shared object file: No such file')
    monkeypatch.setattr(runtime.ctypes, 'CDLL', load)
    return loaded


def test_without_cuda_13_the_sentence_speaks_of_jetpack(monkeypatch):
    loads(monkeypatch, runtime.CUDART)
    monkeypatch.setattr(runtime, 'find_files', lambda folder, name: iter(()))
    message = failure()
    assert 'libcudart.so.13: cannot open' in message and 'JetPack 6' in message
    assert 'pip install nvidia-cuda-runtime' in message


def test_the_cuda_runtime_of_a_wheel_does_where_torch_brings_another(monkeypatch):
    loaded = loads(monkeypatch, runtime.CUDART)
    monkeypatch.setattr(runtime, 'find_files', lambda folder, name: iter([f'/wheel/{name}.1']))
    assert 'TVM sees no GPU' in failure()
    assert loaded == [runtime.CUDART, f'/wheel/{runtime.CUDART}.1', str(runtime.runtime_library())]


def test_a_runtime_library_that_cannot_be_loaded_is_told(monkeypatch):
    loads(monkeypatch, runtime.RUNTIME)
    assert f"TVM's runtime for CUDA could not be loaded: {runtime.RUNTIME}" in failure()


def test_what_is_ready_is_not_prepared_twice(monkeypatch):
    loaded, lowered = loads(monkeypatch), []
    monkeypatch.setattr(tvm.runtime.Device, 'exist', True)
    monkeypatch.setattr(runtime, '_lower_stacks', lambda: lowered.append(True))
    registered = []
    monkeypatch.setattr('tvm_ffi.get_global_func', lambda name, allow_missing: name)
    monkeypatch.setattr('tvm_ffi.register_global_func', lambda *a, **k: registered.append(a[0]))
    for _ in range(2):
        runtime.prepare()
    assert loaded == [runtime.CUDART, str(runtime.runtime_library())]
    assert lowered == [True], 'after TVM sees the GPU'
    assert registered == [runtime.COMPILE]
