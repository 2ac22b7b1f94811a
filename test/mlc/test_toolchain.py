# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""CUDA sources are compiled by what is there, and its errors are sentences."""
import os

import pytest

from nanovlm_ros.mlc.cuda import toolchain
from nanovlm_ros.mlc.cuda.toolchain import compile_cubin, find_nvcc, find_nvrtc
from nanovlm_ros.types import ErrorCode, NanoVlmError

NVCC, NVRTC = find_nvcc(), find_nvrtc()

# The beginning is as TVM writes it.
SOURCE = '''
#ifdef __CUDACC_RTC__
  #include <cuda/std/cstdint>
  using cuda::std::uint8_t;
  using cuda::std::uint16_t;
  using cuda::std::uint32_t;
  using cuda::std::uint64_t;
  using cuda::std::int8_t;
  using cuda::std::int16_t;
  using cuda::std::int32_t;
  using cuda::std::int64_t;
  #include <cuda/std/type_traits>
  namespace std {
    using cuda::std::is_same;
    using cuda::std::is_same_v;
    using cuda::std::is_integral;
    using cuda::std::is_signed;
    using cuda::std::is_unsigned;
    using cuda::std::is_floating_point;
    using cuda::std::enable_if;
    using cuda::std::conditional;
  }
#else
  #include <cstdint>
  #include <type_traits>
#endif
#include <cuda_fp16.h>
struct thing {};
static_assert(sizeof(int8_t) == 1 && sizeof(uint16_t) == 2 && sizeof(int32_t) == 4, "");
static_assert(sizeof(int64_t) == 8 && sizeof(uint64_t) == 8 && uint8_t(-1) > 0, "");
static_assert(std::is_same<int, int32_t>::value && !std::is_same_v<int, unsigned>, "");
static_assert(std::is_integral<const long long>::value && !std::is_integral<float>::value, "");
static_assert(std::is_signed<float>::value && std::is_signed<int64_t>::value, "");
static_assert(!std::is_signed<uint8_t>::value && !std::is_signed<thing>::value, "");
static_assert(std::is_unsigned<bool>::value && !std::is_unsigned<double>::value, "");
static_assert(std::is_floating_point<const double>::value, "");
static_assert(!std::is_floating_point<int>::value && !std::is_unsigned<thing>::value, "");
template <class T>
__device__ typename std::enable_if<std::is_floating_point<T>::value, T>::type twice(T x) {
  return x + x;
}
static_assert(std::is_same_v<std::conditional<false, int, float>::type, float>, "");
extern "C" __global__ void half_of(const __half2* x, __half2* y, int64_t n) {
  if (threadIdx.x < n) y[threadIdx.x] = __hfma2(x[threadIdx.x], x[0], __float2half2_rn(
      twice(__expf(1.0f))));
}
'''


@pytest.fixture(autouse=True)
def bare(monkeypatch, tmp_path):
    """A machine without a CUDA toolkit; returns the only folder on its PATH."""
    for name in ('CUDA_HOME', 'CUDA_PATH'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(toolchain, 'TOOLKIT', tmp_path / 'toolkit')
    (tmp_path / 'bin').mkdir()
    monkeypatch.setenv('PATH', str(tmp_path / 'bin'))
    return tmp_path / 'bin'


def fake_nvcc(folder, script):
    """Put a compiler there that does what a script says."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / 'nvcc'
    path.write_text(f'#!/bin/sh\n{script}\n')
    path.chmod(0o755)
    return path


# Writes its arguments, and the last of them, the source, to the file behind -o.
ECHO = '''all="$*"
while [ $# -gt 1 ]; do [ "$1" = -o ] && out="$2"; shift; done
{ echo "$all"; while read -r line; do echo "$line"; done < "$1"; } > "$out"'''


def failure(source='x', arch='sm_90'):
    with pytest.raises(NanoVlmError) as caught:
        compile_cubin(source, arch)
    assert caught.value.code == ErrorCode.MODEL_ERROR
    return caught.value.message


def test_nvcc_on_the_path_compiles_for_the_architecture_without_fast_math(bare):
    fake_nvcc(bare, ECHO)
    options, source = compile_cubin('the source\n', 'sm_87').decode().splitlines()
    assert source == 'the source'
    assert {'-cubin', '-O3', '--std=c++17', '-arch=sm_87'} <= set(options.split())
    assert 'fast' not in options


def test_the_toolkit_that_cuda_home_names_comes_first(bare, monkeypatch, tmp_path):
    fake_nvcc(bare, 'exit 1')
    home = fake_nvcc(tmp_path / 'home' / 'bin', ECHO)
    monkeypatch.setenv('CUDA_HOME', str(tmp_path / 'home'))
    assert find_nvcc() == home and b'-arch=sm_90' in compile_cubin('x\n', 'sm_90')


def test_nvcc_is_found_where_jetpack_puts_it(tmp_path):
    assert find_nvcc() is None
    installed = fake_nvcc(tmp_path / 'toolkit' / 'bin', ECHO)
    assert find_nvcc() == installed


def test_the_first_errors_of_nvcc_are_told(bare):
    fake_nvcc(bare, 'echo "k.cu(1): warning: odd" >&2; for i in 1 2 3 4 5 6 7 8 9 10; do '
                    'echo "k.cu($i): error: bad" >&2; done; exit 2')
    message = failure()
    assert message.startswith('nvcc (') and 'sm_90' in message
    assert 'k.cu(1): error' in message and 'k.cu(8)' in message
    assert 'warning' not in message and 'k.cu(9)' not in message


def test_what_nvcc_says_without_the_word_error_is_told_too(bare):
    fake_nvcc(bare, 'echo "gcc: not found" >&2; exit 1')
    assert 'gcc: not found' in failure()


def test_an_nvcc_that_cannot_be_run_is_a_sentence(bare):
    fake_nvcc(bare, '').write_bytes(b'\x7fELF nothing that runs')
    assert 'cannot be run' in failure()


def test_without_any_compiler_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setattr(toolchain.sys, 'path', [])
    message = failure()
    assert 'pip install nvidia-cuda-nvrtc nvidia-cuda-runtime' in message and 'nvcc' in message
    assert not toolchain.has_compiler()


def fake_wheels(monkeypatch, tmp_path, *files):
    """Install files below `nvidia/cu13`; returns that folder."""
    folder = tmp_path / 'site' / 'nvidia' / 'cu13'
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b'no library')
    monkeypatch.setattr(toolchain.sys, 'path', [str(tmp_path / 'site')])
    return folder


def test_nvrtc_without_its_headers_names_the_package_that_has_them(monkeypatch, tmp_path):
    fake_wheels(monkeypatch, tmp_path, 'lib/libnvrtc.so.13')
    assert 'pip install nvidia-cuda-runtime' in failure()


def test_an_nvrtc_that_cannot_be_loaded_is_a_sentence(monkeypatch, tmp_path):
    folder = fake_wheels(monkeypatch, tmp_path, 'lib/libnvrtc.alt.so.13', 'lib/libnvrtc.so.13',
                         'include/cuda_fp16.h')
    message = failure()
    assert f'{folder}/lib/libnvrtc.so.13 cannot be loaded' in message
    assert '--force-reinstall' in message


needs_nvrtc = pytest.mark.skipif(
    NVRTC is None, reason='libnvrtc is not installed (pip install nvidia-cuda-nvrtc)')
needs_nvcc = pytest.mark.skipif(NVCC is None, reason='there is no CUDA toolkit')


@pytest.fixture
def real_nvrtc(monkeypatch):
    """The NVRTC of this machine, with headers of its own."""
    if not list(NVRTC.parents[1].glob('include/cuda_fp16.h')):
        pytest.skip('cuda_fp16.h is not installed (pip install nvidia-cuda-runtime)')
    monkeypatch.setattr(toolchain, 'find_nvrtc', lambda: NVRTC)


@needs_nvrtc
@pytest.mark.parametrize('arch', ['sm_80', 'sm_87', 'sm_90'])
def test_nvrtc_compiles_what_tvm_writes_without_cccl(real_nvrtc, arch):
    cubin = compile_cubin(SOURCE, arch)
    assert cubin.startswith(b'\x7fELF') and b'half_of' in cubin


@needs_nvrtc
def test_the_errors_of_nvrtc_are_told(real_nvrtc):
    message = failure(SOURCE + 'int main() { return missing; }')
    assert message.startswith('NVRTC ') and 'identifier "missing" is undefined' in message
    assert 'sm_12' in failure(SOURCE, 'sm_12')


@needs_nvcc
def test_the_real_nvcc_compiles_what_tvm_writes(bare, monkeypatch):
    monkeypatch.setenv('PATH', os.pathsep.join([str(NVCC.parent), '/usr/bin', '/bin']))
    cubin = compile_cubin(SOURCE, 'sm_87')
    assert cubin.startswith(b'\x7fELF') and b'half_of' in cubin
