# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The decoder as a relax module over our kernels: the Llama and the StableLM family.

They differ in the norm and in how much of a head is rotated (`DecoderShape`). What a
device does differently is in its `kernels.*.ops`.

`embed` turns token ids into rows, `run` takes a ragged batch of rows, whatever their
sequences: a prefill, a batched decode step or both at once. Where a device has better
kernels for one row of each sequence (`DecodeOps`), there are `decode` and `decode_one`, too;
elsewhere there is `run_one`, for a row of one sequence.
"""
from importlib import import_module
from typing import Callable

from tvm.relax.frontend import nn
from tvm.relax.frontend.nn import Tensor

from nanovlm_ros.mlc.mlc_layout import Group, decoder_groups
from nanovlm_ros.mlc.repack import library_parameters
from nanovlm_ros.mlc.shape import DecoderShape, Parameters


def ops_module(device: str):
    """Return the module with the operations of a kind of device."""
    return import_module(f'nanovlm_ros.mlc.kernels.{device}.ops')


class Weights(nn.Module):
    """The parameters of a matrix (rows, columns), a table or a norm, as the device has them."""

    def __init__(self, group: Group, parameters: Parameters):
        self.rows, self.columns = sum(group.rows), group.columns
        for part in group.parameters:
            name = f'{group.name}.{part}'
            if name in parameters:
                setattr(self, part, nn.Parameter(*parameters[name]))


class Layer(nn.Module):
    """One decoder layer; `x` is the residual stream, changed in place."""

    def __init__(self, weights: Callable[[str], Weights]):
        self.attention_norm = weights('attention_norm')
        self.qkv = weights('qkv')
        self.attention_out = weights('attention_out')
        self.mlp_norm = weights('mlp_norm')
        self.gate_up = weights('gate_up')
        self.down = weights('down')

    def forward(self, ops, x, pool, index, batch, rope):
        qkv = ops.linear(self.qkv, ops.norm(self.attention_norm, x))
        attended, pool = ops.attend(qkv, pool, index, batch, rope)
        x = ops.add(self.attention_out, attended, into=x)
        hidden = ops.gate(self.gate_up, ops.norm(self.mlp_norm, x))
        return ops.add(self.down, hidden, into=x), pool


class Decoder(nn.Module):
    """Embedding table, decoder layers and language-model head."""

    def __init__(self, shape: DecoderShape):
        module = ops_module(shape.device)
        self.shape, self.ops = shape, module.Ops(shape)
        self.decodes = hasattr(module, 'DecodeOps')
        if self.decodes:
            self.decode_ops, self.one_ops = module.DecodeOps(shape), module.DecodeOps(shape, True)
        layout = library_parameters(shape)
        weights = {group.name: Weights(group, layout)
                   for group in decoder_groups(shape, tied=False)}
        self.embedding = weights['embedding']
        self.layers = nn.ModuleList([
            Layer(lambda name, i=i: weights[f'layers.{i}.{name}']) for i in range(shape.layers)])
        self.norm = weights['norm']
        self.head = weights['head']

    @classmethod
    def export(cls, shape: DecoderShape):
        """Return the IRModule and its (name, parameter) list."""
        model = cls(shape)
        module, parameters = model.export_tvm(spec=model._spec())
        assert [name for name, _ in parameters] == list(library_parameters(shape))
        return module, parameters

    def embed(self, ids: Tensor):
        """ids (m,) int32 -> (m, hidden) float32."""
        return self.ops.embedding(self.embedding, ids)

    def run(self, x: Tensor, slot: Tensor, sequence: Tensor, position: Tensor, block: Tensor,
            table: Tensor, last: Tensor, cos: Tensor, sin: Tensor, pool: Tensor):
        """Run m rows; return the logits (b, vocab) of the rows `last` (b,), and the pool.

        x (m, hidden) is overwritten; slot, sequence, position (m,), block and table are
        described in the `attend` of the device's ops.
        """
        batch = slot, table, sequence, position, block
        x, pool = self._layers(self.ops, x, pool, batch, (cos, sin))
        x = self.ops.last(x, last)
        return self.ops.head(self.head, self.ops.norm(self.norm, x)), pool

    def run_one(self, x: Tensor, slot: Tensor, sequence: Tensor, position: Tensor,
                block: Tensor, table: Tensor, last: Tensor, cos: Tensor, sin: Tensor,
                pool: Tensor):
        """`run` with m = 1: all shapes are known; making them takes 4 % of a small model's step."""
        return self.run(x, slot, sequence, position, block, table, last, cos, sin, pool)

    def decode(self, ids: Tensor, slot: Tensor, position: Tensor, table: Tensor, part: Tensor,
               counter: Tensor, cos: Tensor, sin: Tensor, pool: Tensor):
        """Run a token of each of m sequences; return the logits (m, vocab), and the pool."""
        return self._decode(self.decode_ops, ids, (slot, table, position, part, counter),
                            (cos, sin), pool)

    def decode_one(self, ids: Tensor, slot: Tensor, position: Tensor, table: Tensor,
                   part: Tensor, counter: Tensor, cos: Tensor, sin: Tensor, pool: Tensor):
        """Run a token of one sequence: `decode` with m = 1."""
        return self._decode(self.one_ops, ids, (slot, table, position, part, counter),
                            (cos, sin), pool)

    def _decode(self, ops, ids: Tensor, batch, rope, pool: Tensor):
        x, pool = self._layers(ops, ops.embedding(self.embedding, ids), pool, batch, rope)
        return ops.head(self.head, ops.norm(self.norm, x)), pool

    def _layers(self, ops, x: Tensor, pool: Tensor, batch, rope):
        for index, layer in enumerate(self.layers):
            x, pool = layer(ops, x, pool, index, batch, rope)
        return x, pool

    def _spec(self):
        s = self.shape
        packed = {'param_mode': 'packed', 'effect_mode': 'none'}
        rope = nn.spec.Tensor(['positions', s.rotated // 2], 'float32')
        rows = nn.spec.Tensor(['m'], 'int32')
        cache = {'cos': rope, 'sin': rope, 'pool': nn.spec.Tensor(
            [s.layers, 2, 'slots', s.kv_heads, s.head_dim], s.cache_dtype)}
        functions = {
            'embed': {'ids': rows, '$': packed},
            'run': self._run_spec('m', 'blocks', 'sequences', 'b', cache, packed)}
        if self.decodes:
            functions.update(decode=self._decode_spec('m', cache, packed),
                             decode_one=self._decode_spec(1, cache, packed))
        else:
            functions['run_one'] = self._run_spec(1, 1, 1, 1, cache, packed)
        return nn.spec.ModuleSpec.from_raw(functions, self)

    def _run_spec(self, m, blocks, sequences, b, cache, packed):
        rows = nn.spec.Tensor([m], 'int32')
        return {'x': nn.spec.Tensor([m, self.shape.hidden], 'float32'),
                'slot': rows, 'sequence': rows, 'position': rows,
                'block': nn.spec.Tensor([blocks, self.ops.BLOCK_COLUMNS], 'int32'),
                'table': nn.spec.Tensor([sequences, 'length'], 'int32'),
                'last': nn.spec.Tensor([b], 'int32'), **cache, '$': packed}

    def _decode_spec(self, m, cache, packed):
        rows = nn.spec.Tensor([m], 'int32')
        return {'ids': rows, 'slot': rows, 'position': rows,
                'table': nn.spec.Tensor([m, 'length'], 'int32'),
                'part': nn.spec.Tensor(['parts'], 'float32'),
                'counter': nn.spec.Tensor(['counters'], 'int32'), **cache, '$': packed}
