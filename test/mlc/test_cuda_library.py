# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Libraries for GPUs are made without one, and load where there is TVM's runtime alone."""
import os
import subprocess
import sys
from pathlib import Path

import pytest

tvm = pytest.importorskip('tvm', reason='libraries are compiled by apache-tvm')
if not hasattr(tvm, 'compile'):
    pytest.skip('TVM was loaded without its compiler', allow_module_level=True)

from cuda_modules import SOURCE, fake_driver, write_twice  # noqa: E402
from runtime_only import runtime_only  # noqa: E402

from nanovlm_ros.mlc import compile as compiling  # noqa: E402
from nanovlm_ros.mlc.cuda import cubin, toolchain  # noqa: E402
from nanovlm_ros.mlc.cuda.runtime import CUDART, runtime_library  # noqa: E402
from nanovlm_ros.mlc.link import find_linker, link  # noqa: E402
from nanovlm_ros.mlc.target import Target  # noqa: E402
from nanovlm_ros.types import NanoVlmError  # noqa: E402

ROOT = Path(__file__).parents[2]
FAKE = b'\x7fELF machine code'
ARM = 183  # e_machine of an ELF file: EM_AARCH64


@pytest.fixture
def cuda_compiler(monkeypatch):
    """A CUDA compiler whose code is FAKE; the GPU that it is for runs nothing here."""
    monkeypatch.setenv('TVM_COMPILE_FORCE_FALLBACK', '1')
    monkeypatch.setattr(compiling, 'has_compiler', lambda: True)
    monkeypatch.setattr(cubin, 'compile_cubin', lambda source, arch: FAKE)


LOAD = '''
import ctypes, os, sys
library, driver, cudart = sys.argv[1:]
for path in (driver, cudart):
    ctypes.CDLL(path)
import torch
torch.version.cuda = '13.0'
torch.cuda.is_available, torch.cuda.init = lambda: True, lambda: None
torch.cuda.get_device_capability = lambda: (8, 7)
import tvm
assert tvm.base._RUNTIME_ONLY
tvm.runtime.Device.exist = True
from nanovlm_ros.mlc.cuda import runtime
runtime.prepare()
module = runtime.load_library(library)
from tvm.runtime.vm import VirtualMachine
print(callable(VirtualMachine(module, tvm.cpu())['run']))
from nanovlm_ros.mlc.cuda import cubin
from nanovlm_ros.types import ErrorCode, NanoVlmError
def broken(source, arch):
    raise NanoVlmError(ErrorCode.MODEL_ERROR, f'no compiler for {arch}: {"twice_kernel" in source}')
cubin.compile_cubin = broken
torch.cuda.get_device_capability = lambda: (9, 0)
try:
    runtime.load_library(library)
except NanoVlmError as error:
    print(error.message)
'''


def test_a_library_loads_with_its_machine_code_and_without_any_compiler(
        cuda_compiler, tmp_path):
    cudart = next(toolchain.find_files('lib', CUDART), None)
    if cudart is None or not runtime_library().is_file():
        pytest.skip(f'{CUDART} or {runtime_library().name} is not installed')
    write_twice(Target.parse('cuda:sm_87@x86_64'), tmp_path / 'twice.so')
    done = subprocess.run(
        [sys.executable, '-c', LOAD, tmp_path / 'twice.so', fake_driver(tmp_path), cudart],
        capture_output=True, text=True, check=False, env={
            **os.environ, 'NANOVLM_CACHE': str(tmp_path / 'cache'),
            'PYTHONPATH': os.pathsep.join([str(runtime_only(tmp_path / 'site')), str(ROOT)])})
    assert done.stdout.splitlines() == ['True', 'no compiler for sm_90: True'], done.stderr


def test_a_library_made_without_a_cuda_compiler_holds_the_source_alone(monkeypatch, tmp_path):
    monkeypatch.setenv('TVM_COMPILE_FORCE_FALLBACK', '1')
    monkeypatch.setattr(compiling, 'has_compiler', lambda: False)
    write_twice(Target.parse('cuda:sm_87@x86_64'), tmp_path / 'twice.so')
    content = (tmp_path / 'twice.so').read_bytes()
    assert SOURCE.encode() in content and cubin.MARK.encode() not in content


def test_a_library_for_a_jetson_is_linked_for_arm(cuda_compiler, tmp_path):
    if find_linker('aarch64') is None:
        pytest.skip('there is no linker for aarch64 (apt install gcc-aarch64-linux-gnu)')
    write_twice(Target.parse('cuda:sm_87'), tmp_path / 'twice.so')
    content = (tmp_path / 'twice.so').read_bytes()
    assert int.from_bytes(content[18:20], 'little') == ARM
    assert f'{cubin.MARK}sm_87 '.encode() in content


def test_without_a_linker_for_the_machine_it_is_said_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setenv('PATH', str(tmp_path))
    monkeypatch.setattr('importlib.util.find_spec', lambda name: None)
    for machine, said in (('aarch64', 'gcc-aarch64-linux-gnu'), ('riscv64', 'ziglang'),
                          (os.uname().machine, 'apt install gcc')):
        with pytest.raises(NanoVlmError, match=said):
            link(str(tmp_path / 'x.so'), [], machine)


def test_what_the_linker_says_is_told(tmp_path):
    (tmp_path / 'broken.o').write_bytes(b'no object')
    with pytest.raises(NanoVlmError, match='broken.o'):
        link(str(tmp_path / 'x.so'), [str(tmp_path / 'broken.o')], os.uname().machine)
