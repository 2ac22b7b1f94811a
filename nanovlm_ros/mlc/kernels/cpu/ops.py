# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The operations of a decoder on a CPU.

Activations are float32 between the kernels; with `activations` int8 a 4-bit matrix gets
them quantised, right before.
"""
from typing import Tuple

from tvm import relax, tirx
from tvm.relax.frontend.nn import Tensor, op
from tvm.target import Target

from nanovlm_ros.mlc.kernels.cpu.append import append_rows
from nanovlm_ros.mlc.kernels.cpu.attention import attention
from nanovlm_ros.mlc.kernels.cpu.dot import best
from nanovlm_ros.mlc.kernels.cpu.elementwise import embedding, layer_norm, rms_norm, silu_mul
from nanovlm_ros.mlc.kernels.cpu.linear import linear
from nanovlm_ros.mlc.kernels.cpu.linear_int8 import linear_int8
from nanovlm_ros.mlc.kernels.cpu.quantize import quantize_rows
from nanovlm_ros.mlc.packing import GROUP, WORDS
from nanovlm_ros.mlc.shape import INT8, LAYER_NORM, DecoderShape


class Ops:
    """What a layer does to tensors of (m, columns); x is the residual stream, float32."""

    BLOCK_COLUMNS = 2

    def __init__(self, shape: DecoderShape):
        self.shape = shape
        self._heads = (shape.q_heads, shape.kv_heads, shape.head_dim)
        self._int8 = shape.quantization.quantized and shape.activations == INT8

    def embedding(self, table, ids: Tensor) -> Tensor:
        """Rows of a table, (m, hidden) float32."""
        q = self.shape.quantization
        return op.tensor_ir_op(
            embedding(table.rows, table.columns, q.weight, q.scale), 'embedding',
            [ids, *table.parameters()], _rows(ids, table.columns))

    def norm(self, norm, x: Tensor) -> Tensor:
        """What `linear` and `add` take."""
        s = self.shape
        kernel = (layer_norm if s.norm == LAYER_NORM else rms_norm)(s.hidden, s.norm_eps)
        return op.tensor_ir_op(kernel, s.norm, [x, *norm.parameters()], _rows(x, s.hidden))

    def linear(self, matrix, x: Tensor) -> Tensor:
        """x W^T, (m, rows of W) float32."""
        return op.tensor_ir_op(self._linear(matrix, False), 'linear', [
            self._factor(matrix, x), *matrix.parameters()], _rows(x, matrix.rows))

    head = linear

    def add(self, matrix, x: Tensor, into: Tensor) -> Tensor:
        """into += x W^T, in place."""
        arguments = [self._factor(matrix, x), *matrix.parameters(), into]
        return op.tensor_ir_inplace_op(
            self._linear(matrix, True), 'linear_add', arguments, len(arguments) - 1,
            _rows(x, matrix.rows))

    def gate(self, matrix, x: Tensor) -> Tensor:
        """silu(gate) * up of [gate, up] = x W^T, as `add` takes it."""
        return op.tensor_ir_op(silu_mul(self.shape.intermediate), 'silu_mul',
                               [self.linear(matrix, x)], _rows(x, self.shape.intermediate))

    def attend(self, qkv: Tensor, pool: Tensor, layer: int, batch, rope) -> Tuple[Tensor, Tensor]:
        """Store K and V of the rows; return what attention gives, as `add` takes it, and the pool.

        `batch` is (slot, table, sequence, position, block), `rope` (cos, sin): see
        `kernels.cpu.attention`.
        """
        s = self.shape
        slot, table, sequence, position, block = batch
        index = tirx.IntImm('int64', layer)
        pool = op.tensor_ir_inplace_op(
            append_rows(*self._heads, s.layers, s.cache_dtype), 'append_rows',
            [qkv, slot, pool, index], 2, Tensor.placeholder(pool.shape, s.cache_dtype))
        return op.tensor_ir_op(
            attention(*self._heads, s.rotated, s.layers, s.cache_dtype), 'attention',
            [qkv, *rope, pool, table, sequence, position, block, index],
            _rows(qkv, s.q_heads * s.head_dim)), pool

    def last(self, x: Tensor, rows: Tensor) -> Tensor:
        """Return some rows of x."""
        # `clip` only spares the warning of the unchecked mode: `rows` are in range.
        return op.wrap_nested(relax.op.take(x._expr, rows._expr, 0, mode='clip'), 'last')

    def _linear(self, matrix, accumulate: bool):
        q = self.shape.quantization
        if self._int8:
            return linear_int8(matrix.rows, matrix.columns, q.scale, accumulate,
                               best(Target.current()))
        return linear(matrix.rows, matrix.columns, q.weight, q.scale, accumulate)

    def _factor(self, matrix, x: Tensor) -> Tensor:
        """What a matrix is multiplied with: x, or x in int8."""
        if not self._int8:
            return x
        return op.tensor_ir_op(
            quantize_rows(matrix.columns), 'quantize_rows', [x], Tensor.placeholder(
                (x.shape[0], matrix.columns // GROUP, WORDS), 'int32'))


def _rows(like: Tensor, columns: int) -> Tensor:
    return Tensor.placeholder((like.shape[0], columns), 'float32')
