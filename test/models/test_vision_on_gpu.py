# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Vision on a GPU: matrices written out by our kernel, and recordings that are replayed."""
import pytest
import torch
from photographs import rgb
from torch import nn
from vision_parts import llava, llava_checkpoint, llava_next

if not torch.cuda.is_available():
    pytest.skip('this machine has no GPU', allow_module_level=True)

from nanovlm_ros.engine.companion import Companion  # noqa: E402
from nanovlm_ros.mlc.packing import QUANTIZATIONS  # noqa: E402
from nanovlm_ros.models.placement import Placement  # noqa: E402
from nanovlm_ros.models.quantized_linear import QuantizedLinear, dequantize, quantize  # noqa: E402
from nanovlm_ros.models.vision_encoder import VisionEncoder  # noqa: E402

SHAPE = type('Shape', (), {'quantization': QUANTIZATIONS['q4f16_1']})


@pytest.fixture(scope='module')
def place():
    return Companion('cuda').placement(SHAPE, 'auto', 'int8')


@pytest.mark.parametrize('inputs', [16, 32, 48, 80, 1152, 4304])
@pytest.mark.parametrize('outputs', [1, 10, 300])
def test_a_matrix_is_written_out_as_torch_would(place, inputs, outputs):
    torch.manual_seed(0)
    linear = nn.Linear(inputs, outputs).requires_grad_(False)
    made = place.finish(nn.Sequential(linear))[0]
    q, scale = quantize(linear.weight)
    want = dequantize(q.cuda(), scale.cuda())[:, :inputs]
    assert torch.equal(made._unpack(made.weight, made.scale, inputs), want)


def test_other_matrices_are_written_out_by_torch(place):
    linear = nn.Linear(40, 8).requires_grad_(False)
    made = place.finish(nn.Sequential(linear))[0]
    x = torch.randn(3, 40)
    torch.testing.assert_close(made(x.half().cuda()).float().cpu(), QuantizedLinear(linear)(x),
                               atol=1e-2, rtol=1e-2)


@pytest.mark.parametrize('model', [llava, llava_next])
def test_pictures_in_turn_give_the_rows_of_the_cpu(tmp_path, place, model):
    made = llava_checkpoint(tmp_path, model())
    cpu, gpu = VisionEncoder(made, Placement(linear=QuantizedLinear)), VisionEncoder(made, place)
    names = ['chelsea.png', 'rocket.jpg', 'text.png', 'chelsea.png', 'rocket.jpg']
    kept = []
    for name in names:
        height, width = rgb(name).shape[:2]
        want, got = (e.encode(e.preprocess(rgb(name)), width, height) for e in (cpu, gpu))
        assert got.dtype == torch.float16 and got.device.type == 'cuda'
        assert (got.cpu() - want).abs().max() < 1e-2 * want.abs().max()
        kept.append(got)
    assert torch.equal(kept[0], kept[3]) and torch.equal(kept[1], kept[4])
