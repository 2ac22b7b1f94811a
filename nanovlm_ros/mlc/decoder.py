# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The decoder as a relax module over our kernels: the Llama and the StableLM family.

They differ in the norm and in how much of a head is rotated (`DecoderShape`).

Two functions: `embed` turns token ids into rows, `forward` runs a ragged batch
of rows, whatever their sequences: a prefill, a batched decode step or both at
once. Prefill and decode are the same code with different row counts.
"""
from tvm import relax, tirx
from tvm.relax.frontend import nn
from tvm.relax.frontend.nn import Tensor, op

from nanovlm_ros.mlc import kernels
from nanovlm_ros.mlc.packing import GROUP, LANES, NIBBLES
from nanovlm_ros.mlc.shape import LAYER_NORM, RMS_NORM, DecoderShape


class Linear(nn.Module):
    """y = x W^T; with `into`, into += x W^T in place."""

    def __init__(self, inputs, outputs, quantization):
        self.inputs, self.outputs, self.quantization = inputs, outputs, quantization
        blocks, dtype = outputs // LANES, quantization.weight
        self.weight = (nn.Parameter((blocks, inputs // NIBBLES, LANES), 'int32')
                       if quantization.quantized else
                       nn.Parameter((blocks, inputs, LANES), dtype))
        if quantization.quantized:
            self.scale = nn.Parameter((blocks, inputs // GROUP, LANES), quantization.scale)

    def forward(self, x: Tensor, into: Tensor = None):
        q = self.quantization
        weights = [self.weight, self.scale] if q.quantized else [self.weight]
        kernel = kernels.linear(self.outputs, self.inputs, q.weight, q.scale, into is not None)
        out = Tensor.placeholder((x.shape[0], self.outputs), 'float32')
        if into is None:
            return op.tensor_ir_op(kernel, 'linear', [x, *weights], out)
        args = [x, *weights, into]
        return op.tensor_ir_inplace_op(kernel, 'linear_add', args, len(args) - 1, out)


class Embedding(nn.Module):
    """Rows of a table."""

    def __init__(self, vocab, hidden, quantization):
        self.vocab, self.hidden, self.quantization = vocab, hidden, quantization
        self.weight = (nn.Parameter((vocab, hidden // NIBBLES), 'int32')
                       if quantization.quantized else
                       nn.Parameter((vocab, hidden), quantization.weight))
        if quantization.quantized:
            self.scale = nn.Parameter((vocab, hidden // GROUP), quantization.scale)

    def forward(self, ids: Tensor):
        q = self.quantization
        weights = [self.weight, self.scale] if q.quantized else [self.weight]
        return op.tensor_ir_op(
            kernels.embedding(self.vocab, self.hidden, q.weight, q.scale), 'embedding',
            [ids, *weights], Tensor.placeholder((ids.shape[0], self.hidden), 'float32'))


class RMSNorm(nn.Module):
    """x / rms(x) * weight."""

    def __init__(self, hidden, eps):
        self.hidden, self.eps = hidden, eps
        self.weight = nn.Parameter((hidden,), 'float32')

    def forward(self, x: Tensor):
        return op.tensor_ir_op(kernels.rms_norm(self.hidden, self.eps), 'rms_norm',
                               [x, self.weight], Tensor.placeholder(x.shape, 'float32'))


class LayerNorm(nn.Module):
    """(x - mean) / deviation * weight + bias."""

    def __init__(self, hidden, eps):
        self.hidden, self.eps = hidden, eps
        self.weight = nn.Parameter((hidden,), 'float32')
        self.bias = nn.Parameter((hidden,), 'float32')

    def forward(self, x: Tensor):
        return op.tensor_ir_op(kernels.layer_norm(self.hidden, self.eps), 'layer_norm',
                               [x, self.weight, self.bias],
                               Tensor.placeholder(x.shape, 'float32'))


NORMS = {RMS_NORM: RMSNorm, LAYER_NORM: LayerNorm}


class Layer(nn.Module):
    """One decoder layer; `x` is the residual stream, changed in place."""

    def __init__(self, shape: DecoderShape):
        self.shape = shape
        q = shape.quantization
        width = shape.q_heads * shape.head_dim
        self.attention_norm = NORMS[shape.norm](shape.hidden, shape.norm_eps)
        self.qkv = Linear(shape.hidden, width + 2 * shape.kv_heads * shape.head_dim, q)
        self.attention_out = Linear(width, shape.hidden, q)
        self.mlp_norm = NORMS[shape.norm](shape.hidden, shape.norm_eps)
        self.gate_up = Linear(shape.hidden, 2 * shape.intermediate, q)
        self.down = Linear(shape.intermediate, shape.hidden, q)

    def forward(self, x, pool, index, batch, rope):
        s = self.shape
        heads = (s.q_heads, s.kv_heads, s.head_dim)
        slot, table, sequence, position, block = batch
        index = tirx.IntImm('int64', index)
        qkv = self.qkv(self.attention_norm(x))
        pool = op.tensor_ir_inplace_op(
            kernels.append_rows(*heads, s.layers, s.cache_dtype), 'append_rows',
            [qkv, slot, pool, index], 2, Tensor.placeholder(pool.shape, s.cache_dtype))
        attended = op.tensor_ir_op(
            kernels.attention(*heads, s.rotated, s.layers, s.cache_dtype), 'attention',
            [qkv, *rope, pool, table, sequence, position, block, index],
            Tensor.placeholder((x.shape[0], s.q_heads * s.head_dim), 'float32'))
        x = self.attention_out(attended, into=x)
        gate_up = self.gate_up(self.mlp_norm(x))
        hidden = op.tensor_ir_op(
            kernels.silu_mul(s.intermediate), 'silu_mul', [gate_up],
            Tensor.placeholder((x.shape[0], s.intermediate), 'float32'))
        return self.down(hidden, into=x), pool


class Decoder(nn.Module):
    """Embedding table, decoder layers and language-model head."""

    def __init__(self, shape: DecoderShape):
        self.shape = shape
        self.embedding = Embedding(shape.vocab, shape.hidden, shape.quantization)
        self.layers = nn.ModuleList([Layer(shape) for _ in range(shape.layers)])
        self.norm = NORMS[shape.norm](shape.hidden, shape.norm_eps)
        self.head = Linear(shape.hidden, shape.vocab, shape.quantization)

    @classmethod
    def export(cls, shape: DecoderShape):
        """Return the IRModule and its (name, parameter) list."""
        model = cls(shape)
        module, parameters = model.export_tvm(spec=model._spec())
        assert [name for name, _ in parameters] == shape.parameter_names()
        return module, parameters

    def embed(self, ids: Tensor):
        """ids (m,) int32 -> (m, hidden) float32."""
        return self.embedding(ids)

    def run(self, x: Tensor, slot: Tensor, sequence: Tensor, position: Tensor, block: Tensor,
            table: Tensor, last: Tensor, cos: Tensor, sin: Tensor, pool: Tensor):
        """Run m rows; return the logits (b, vocab) of the rows `last` (b,), and the pool.

        x (m, hidden) is overwritten; slot, sequence, position (m,), block and table are
        described in `kernels.attention`.
        """
        for index, layer in enumerate(self.layers):
            x, pool = layer(x, pool, index, (slot, table, sequence, position, block),
                            (cos, sin))
        # `clip` only spares the warning of the unchecked mode: `last` is in range.
        x = op.wrap_nested(relax.op.take(x._expr, last._expr, 0, mode='clip'), 'last')
        return self.head(self.norm(x)), pool

    def _spec(self):
        s = self.shape
        packed = {'param_mode': 'packed', 'effect_mode': 'none'}
        rope = nn.spec.Tensor(['positions', s.rotated // 2], 'float32')
        rows = nn.spec.Tensor(['m'], 'int32')
        return nn.spec.ModuleSpec.from_raw({
            'embed': {'ids': rows, '$': packed},
            'run': {
                'x': nn.spec.Tensor(['m', s.hidden], 'float32'),
                'slot': rows, 'sequence': rows, 'position': rows,
                'block': nn.spec.Tensor(['blocks', 2], 'int32'),
                'table': nn.spec.Tensor(['sequences', 'length'], 'int32'),
                'last': nn.spec.Tensor(['b'], 'int32'),
                'cos': rope, 'sin': rope,
                'pool': nn.spec.Tensor(
                    [s.layers, 2, 'slots', s.kv_heads, s.head_dim], s.cache_dtype),
                '$': packed,
            },
        }, self)
