# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Every language model of the page compiles for this processor, with all of its layers."""
import time

import pytest

tvm = pytest.importorskip('tvm', reason='decoders are compiled by apache-tvm')
if not hasattr(tvm, 'compile'):
    pytest.skip('TVM was loaded without its compiler', allow_module_level=True)

from nanovlm_ros.mlc.compile import compile_decoder, host_target  # noqa: E402
from nanovlm_ros.mlc.packing import QUANTIZATIONS  # noqa: E402
from nanovlm_ros.models.published import LANGUAGE_MODELS, PAGE, configured  # noqa: E402

# One model of the page for each language model.
MODELS = {name: next(model for model in PAGE if model.llm is llm)
          for name, llm in LANGUAGE_MODELS.items() if any(model.llm is llm for model in PAGE)}


@pytest.mark.parametrize('name', MODELS)
def test_a_model_of_full_size_compiles(name, tmp_path):
    shape, began = configured(MODELS[name]).shape(QUANTIZATIONS['q4f16_1']), time.monotonic()
    assert shape.quantization.name == 'q4f16_1' and shape.cache_dtype == 'float16'
    compile_decoder(shape, host_target()).export_library(str(tmp_path / 'decoder.so'))
    size = (tmp_path / 'decoder.so').stat().st_size
    print(f'\n{name}, {shape.layers} layers: {time.monotonic() - began:.1f} s, {size >> 10} kB')
    machine = tvm.runtime.vm.VirtualMachine(
        tvm.runtime.load_module(str(tmp_path / 'decoder.so')), tvm.cpu())
    assert callable(machine['embed']) and callable(machine['run'])
