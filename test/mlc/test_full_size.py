# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Every language model of the page compiles for this processor, with all of its layers."""
import time

import pytest
from full_size import CONFIGS, full_shape

tvm = pytest.importorskip('tvm', reason='decoders are compiled by apache-tvm')
if not hasattr(tvm, 'compile'):
    pytest.skip('TVM was loaded without its compiler', allow_module_level=True)

from nanovlm_ros.mlc.compile import compile_decoder, host_target  # noqa: E402
from nanovlm_ros.mlc.shape import LAYER_NORM  # noqa: E402


@pytest.mark.parametrize('name', CONFIGS)
def test_a_model_of_full_size_compiles(name, tmp_path):
    shape, began = full_shape(name), time.monotonic()
    assert shape.quantization.name == 'q4f16_1' and shape.cache_dtype == 'float16'
    compile_decoder(shape, host_target()).export_library(str(tmp_path / 'decoder.so'))
    size = (tmp_path / 'decoder.so').stat().st_size
    print(f'\n{name}, {shape.layers} layers: {time.monotonic() - began:.1f} s, {size >> 10} kB')
    machine = tvm.runtime.vm.VirtualMachine(
        tvm.runtime.load_module(str(tmp_path / 'decoder.so')), tvm.cpu())
    assert callable(machine['embed']) and callable(machine['run'])


def test_the_shapes_are_those_of_the_page():
    shape = full_shape('8B')
    assert (shape.q_heads, shape.kv_heads, shape.head_dim) == (32, 8, 128)
    shape = full_shape('3B')
    assert (shape.norm, shape.head_dim, shape.rotated) == (LAYER_NORM, 80, 20)
    assert all(full_shape(name).rotated == 128 for name in ('7B', '13B', '2.7B', '8B'))
