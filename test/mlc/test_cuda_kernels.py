# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What of the CUDA decoder can be proved without a GPU: layouts, attention, machine code."""
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from decoders import small_shape

from nanovlm_ros.mlc.convert import convert_group
from nanovlm_ros.mlc.cuda import torch_functions
from nanovlm_ros.mlc.cuda.graphs import FILLS, PATIENCE, Graphs
from nanovlm_ros.mlc.cuda.scratch import padded_length, padded_rows
from nanovlm_ros.mlc.kernels.cuda.layout import pack, readers
from nanovlm_ros.mlc.mlc_layout import decoder_groups
from nanovlm_ros.mlc.packing import QUANTIZATIONS, round_trip

tvm = pytest.importorskip('tvm', reason='kernels are compiled by apache-tvm')
if not hasattr(tvm, 'compile'):
    pytest.skip('TVM was loaded without its compiler', allow_module_level=True)

from nanovlm_ros.mlc.compile import compile_decoder  # noqa: E402
from nanovlm_ros.mlc.cuda.toolchain import compile_cubin, has_compiler  # noqa: E402
from nanovlm_ros.mlc.decoder import Decoder  # noqa: E402
from nanovlm_ros.mlc.target import Target  # noqa: E402

RANDOM = np.random.default_rng(0)


def matrices(hidden=160):
    """The groups of a decoder whose columns do not fill their last tile, with their weights."""
    shape = small_shape(hidden=hidden, intermediate=96)
    for group in decoder_groups(shape, tied=False):
        if group.rows and group.name != 'embedding':
            weights = {f'{source}.weight': RANDOM.standard_normal((rows, group.columns)).astype(
                np.float32) for source, rows in zip(group.sources, group.rows)}
            yield group, weights


def unpacked(group, words, scale):
    """Read a packed matrix as `linear.cu` does, lane by lane."""
    down, across = words.shape[:2]
    out = np.zeros((down * 16, across * 128), np.float32)
    for lane in range(32):
        g, t = divmod(lane, 4)
        for side in range(2):
            for i in range(4):
                factor = scale[:, :, g, 4 * side + i].astype(np.float32)
                word = words[:, :, side, lane, i].view(np.uint32)
                for j in range(4):
                    for high in range(2):
                        value = ((word >> np.uint32(4 * j + 16 * high)) & np.uint32(15)) - 7.0
                        column = 32 * i + 8 * t + 2 * j + high
                        out.reshape(down, 16, across, 128)[
                            :, 8 * side + g, :, column] = value * factor
    return out[:, :group.columns], out[:, group.columns:]


@pytest.mark.parametrize(
    'group, weights', list(matrices()), ids=lambda part: getattr(part, 'name', ''))
def test_a_lane_finds_the_weights_of_its_rows_and_columns(group, weights):
    quantization = QUANTIZATIONS['q4f16_1']
    made = convert_group(group, quantization, weights.__getitem__)
    packed = {part: pack(group, part, made[p]) for part, p in group.parameters.items()}
    matrix, filling = unpacked(group, packed['weight'], packed['scale'])
    expected = round_trip(np.concatenate(list(weights.values())), quantization)
    if group.name.endswith('gate_up'):  # a gate beside the one that it multiplies
        gate, up = np.split(expected, 2)
        expected = np.stack([gate.reshape(-1, 8, gate.shape[1]), up.reshape(-1, 8, up.shape[1])],
                            1).reshape(expected.shape)
    np.testing.assert_array_equal(matrix, expected)
    assert not filling.any()


@pytest.mark.parametrize('heads, kv_heads', [(4, 4), (8, 2)])
@pytest.mark.parametrize('device, flash', [
    ('cpu', False), *(pytest.param('cuda', flash, marks=pytest.mark.skipif(
        not torch.cuda.is_available(), reason='this machine has no GPU'))
        for flash in (True, False))])
def test_attention_of_ragged_batches_is_causal(monkeypatch, heads, kv_heads, device, flash):
    if not flash:
        monkeypatch.setattr(torch_functions, 'is_flash_attention_available', lambda: False)
    kind = {'device': device, 'dtype': torch.float32 if device == 'cpu' else torch.float16}
    generator = torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(*shape, generator=generator).to(**kind)

    span = torch.tensor([[0, 5, 5], [5, 1, 7], [6, 3, 8]], dtype=torch.int32)
    # Two rows of filling.
    query, out = normal(11, heads, 16), torch.full((11, heads * 16), 7.0, **kind)
    key, value = normal(3, 9, kv_heads, 16), normal(3, 9, kv_heads, 16)
    torch_functions._attention(query, key, value, span, out)
    for i, (first, rows, length) in enumerate(span.tolist()):
        for row in range(rows):
            seen = length - rows + row + 1
            for head in range(heads):
                kv = head // (heads // kv_heads)
                weight = torch.softmax(
                    key[i, :seen, kv].double() @ query[first + row, head].double() / 4, 0)
                expected = weight @ value[i, :seen, kv].double()
                found = out[first + row].view(heads, 16)[head].double()
                torch.testing.assert_close(
                    found, expected, rtol=0, atol=1e-6 if device == 'cpu' else 3e-3)
    assert (out[9:] == 7).all()


@pytest.mark.parametrize('quantization', ['q4f16_1', 'q0f16'])
def test_the_decoder_has_its_functions_and_parameters(quantization):
    shape = small_shape(quantization).on('cuda')
    module, parameters = Decoder.export(shape)
    assert {'embed', 'run', 'decode', 'decode_one'} <= {v.name_hint for v in module.functions}
    assert [name for name, _ in parameters] == shape.parameter_names()


@pytest.mark.parametrize('arch, overlapping', [('sm_90', True), ('sm_87', False)])
def test_kernels_overlap_where_the_gpu_can(tmp_path, arch, overlapping):
    target = Target.parse(f'cuda:{arch}@x86_64')
    path = tmp_path / 'library.so'
    compile_decoder(small_shape(layers=1).on('cuda'), target.tvm()).export_library(str(path))
    assert (b'use_programtic_dependent_launch' in path.read_bytes()) is overlapping


@pytest.mark.skipif(not has_compiler(), reason='neither nvcc nor NVRTC is installed')
@pytest.mark.parametrize('heads, kv_heads, head_dim, rotated, hidden', [
    (4, 4, 16, 16, 64), (32, 4, 64, 64, 2048), (32, 32, 80, 20, 2560), (16, 16, 96, 96, 1536),
    (56, 8, 128, 128, 7168), (24, 2, 128, 128, 3072)])
def test_kernels_of_any_shape_become_machine_code(heads, kv_heads, head_dim, rotated, hidden):
    shape = replace(small_shape(layers=1), hidden=hidden, intermediate=4 * hidden, q_heads=heads,
                    kv_heads=kv_heads, head_dim=head_dim, rotary_dim=rotated, vocab=64).on('cuda')
    executable = compile_decoder(shape, Target.parse('cuda:sm_87@x86_64').tvm())
    source = executable.mod.imports[0].imports[0].inspect_source()
    assert len(re.findall(r'__global__', source)) > 20
    assert compile_cubin(source, 'sm_87')


def test_sums_of_attention_fit_the_memory_of_a_block():
    assert readers(1, 128) == readers(4, 128) == readers(8, 64) == 8
    assert all(readers(group, 128) * group * 130 * 4 <= 48 << 10 for group in range(1, 33))


def test_batches_come_in_few_sizes_and_are_never_cut():
    assert all(padded_rows(n) >= n for n in range(1, 3000))
    assert len({padded_rows(n) for n in range(1, 1025)}) < 12
    for positions in (100, 256, 300, 4096):
        assert all(n <= padded_length(n, positions) <= positions for n in range(1, positions + 1))
        assert len({padded_length(n, positions) for n in range(1, positions + 1)}) <= 5


class Fills:
    """Batches of given makes, and how many were recorded."""

    def __init__(self):
        self.graphs, self.recorded = Graphs(object), 0

    def run(self, *makes):
        for make in makes:
            if self.graphs.fill(make) is None and self.graphs.worth_recording(make):
                self.graphs.keep(make, object())
                self.recorded += 1


def test_a_make_is_recorded_when_it_comes_for_the_second_time():
    fills = Fills()
    fills.run('a', 'b', 'c')
    assert fills.recorded == 0
    fills.run('a', 'a', 'a')
    assert fills.recorded == 1


def test_more_makes_in_turn_than_are_kept_are_not_recorded_over_and_over():
    fills = Fills()
    for _ in range(20):
        fills.run(*range(FILLS + 4))
    assert fills.recorded == FILLS


def test_a_make_that_does_not_come_any_more_gives_way():
    fills = Fills()
    for _ in range(2):
        fills.run(*range(FILLS))
    for _ in range(PATIENCE):
        fills.run('new', *range(1, FILLS))
    assert fills.recorded == FILLS + 1 and fills.graphs.fill('new') is not None
    assert fills.graphs.fill(0) is None
