# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The operations of a decoder on a GPU: activations are float16, sums and the residual float32.

Many rows (`Ops`) are bound by arithmetic: weights are written out in float16 and torch
multiplies (cuBLAS), and attends. One row of each sequence (`DecodeOps`) is bound by reading
the weights: 4-bit products, and attention that reads the cache where it lies.
"""
from typing import Optional, Tuple, Union

from tvm import tirx
from tvm.relax.frontend.nn import Tensor, op

from nanovlm_ros.mlc.cuda.names import ATTENTION, MATMUL
from nanovlm_ros.mlc.kernels.cuda import kernels
from nanovlm_ros.mlc.shape import LAYER_NORM, DecoderShape


class Ops:
    """What a layer does to tensors of (m, columns); x is the residual stream, float32."""

    BLOCK_COLUMNS = 3

    def __init__(self, shape: DecoderShape):
        self.shape = shape
        self._quantized, self._one = shape.quantization.quantized, False
        self._heads = (shape.q_heads, shape.kv_heads, shape.head_dim)

    def embedding(self, table, ids: Tensor) -> Tensor:
        """Rows of a table, (m, hidden) float32."""
        return op.tensor_ir_op(
            kernels.embedding(table.rows, table.columns, self.shape.quantization), 'embedding',
            [ids, *table.parameters()], _rows(ids, table.columns, 'float32'))

    def norm(self, norm, x: Tensor) -> Tensor:
        """What `linear`, `add` and `gate` take, float16."""
        return op.tensor_ir_op(self._norm(), self.shape.norm, [x, *norm.parameters()],
                               _rows(x, self.shape.hidden))

    def linear(self, matrix, x: Tensor) -> Tensor:
        """x W^T, (m, rows of W) float16."""
        return self._product(matrix, x, gated=False)

    def head(self, matrix, x: Tensor) -> Tensor:
        """x W^T, (m, rows of W) float32; m is the number of sequences."""
        if not self._quantized:
            return op.extern(MATMUL, [x, *matrix.parameters()], _rows(x, matrix.rows, 'float32'))
        return self._few(matrix, x, kernels.STORE_FLOAT, _rows(x, matrix.rows, 'float32'))

    def add(self, matrix, x: Tensor, into: Tensor) -> Tensor:
        """into += x W^T, in place."""
        return op.tensor_ir_inplace_op(
            kernels.add_half(matrix.rows), 'add', [self.linear(matrix, x), into], 1,
            _rows(x, matrix.rows, 'float32'))

    def gate(self, matrix, x: Tensor) -> Tensor:
        """silu(gate) * up of [gate, up] = x W^T, as `add` takes it."""
        return op.tensor_ir_op(
            kernels.silu_mul(self.shape.intermediate), 'silu_mul',
            [self._product(matrix, x, gated=True)], _rows(x, self.shape.intermediate))

    def attend(self, qkv: Tensor, pool: Tensor, layer: int, batch, rope) -> Tuple[Tensor, Tensor]:
        """Store K and V of the rows; return what attention gives, as `add` takes it, and the pool.

        `batch` is (slot, table, sequence, position, span); span (sequences, 3) int32, in the
        host's memory, has the first row of each sequence, its rows, and its rows in the cache.
        """
        s = self.shape
        slot, table, _, position, span = batch
        index = tirx.IntImm('int64', layer)
        pool = op.tensor_ir_inplace_op(
            kernels.append_rows(*self._heads, s.layers), 'append_rows', [qkv, slot, pool, index],
            2, Tensor.placeholder(pool.shape, s.cache_dtype))
        query = op.tensor_ir_op(
            kernels.rotate_queries(*self._heads, s.rotated), 'rotate_queries',
            [qkv, *rope, position],
            Tensor.placeholder((qkv.shape[0], s.q_heads, s.head_dim), 'float16'))
        rows = Tensor.placeholder((*table.shape, s.kv_heads, s.head_dim), 'float16')
        key, value = op.tensor_ir_op(
            kernels.gather_rows(s.kv_heads, s.head_dim, s.rotated, s.layers), 'gather_rows',
            [pool, *rope, table, index], [rows, rows])
        attended = op.extern(ATTENTION, [query, key, value, span],
                             _rows(qkv, s.q_heads * s.head_dim))
        return attended, pool

    def last(self, x: Tensor, rows: Tensor) -> Tensor:
        """Return some rows of x."""
        return op.tensor_ir_op(kernels.take(self.shape.hidden), 'take', [x, rows],
                               _rows(rows, self.shape.hidden, 'float32'))

    def _product(self, matrix, x: Tensor, gated: bool) -> Tensor:
        weight = matrix.weight
        if self._quantized:
            weight = op.tensor_ir_op(
                kernels.dequantize(matrix.rows, matrix.columns, gated), 'dequantize',
                [*matrix.parameters()],
                Tensor.placeholder((matrix.rows, matrix.columns), 'float16'))
        return op.extern(MATMUL, [x, weight], _rows(x, matrix.rows))

    def _norm(self, parts: int = 0):
        s = self.shape
        return kernels.norm(s.hidden, s.norm == LAYER_NORM, s.norm_eps, parts)

    def _few(self, matrix, x: Tensor, end: str, out: Tensor) -> Tensor:
        return op.tensor_ir_op(
            kernels.linear(matrix.rows, matrix.columns, end, one=self._one), f'linear_{end}',
            [x, *matrix.parameters()], out)


class Residual:
    """The residual stream, and parts that its next norm is to add to it."""

    def __init__(self, x: Tensor, parts: Optional[Tensor] = None):
        self.x, self.parts = x, parts


class DecodeOps(Ops):
    """The same for one row of each sequence; the residual stream may have parts to be added.

    With `one` there is one sequence alone.
    """

    def __init__(self, shape: DecoderShape, one: bool = False):
        super().__init__(shape)
        self._one = one

    def norm(self, norm, x: Union[Tensor, Residual]) -> Tensor:
        """What `linear`, `add` and `gate` take, float16."""
        if not isinstance(x, Residual):
            return super().norm(norm, x)
        parameters = [*norm.parameters()]
        x.x, out = op.tensor_ir_inplace_op(
            self._norm(parts=x.parts.shape[0]), f'add_{self.shape.norm}',
            [x.parts, *parameters, x.x], [1 + len(parameters), -1],
            [_rows(x.x, self.shape.hidden, 'float32'), _rows(x.x, self.shape.hidden)])
        return out

    def linear(self, matrix, x: Tensor) -> Tensor:
        """x W^T, (m, rows of W) float16."""
        if not self._quantized:
            return super().linear(matrix, x)
        return self._few(matrix, x, kernels.STORE_HALF, _rows(x, matrix.rows))

    def add(self, matrix, x: Tensor, into: Union[Tensor, Residual]) -> Union[Tensor, Residual]:
        """into += x W^T, in place, or when its norm is taken."""
        if not self._quantized:
            return super().add(matrix, x, into)
        parts = kernels.splits(matrix.columns)
        made = op.tensor_ir_op(
            kernels.linear(matrix.rows, matrix.columns, kernels.STORE_FLOAT, parts, self._one),
            'linear_parts', [x, *matrix.parameters()],
            Tensor.placeholder((parts, x.shape[0], matrix.rows), 'float32'))
        return Residual(into.x if isinstance(into, Residual) else into, made)

    def gate(self, matrix, x: Tensor) -> Tensor:
        """silu(gate) * up of [gate, up] = x W^T, as `add` takes it."""
        if not self._quantized:
            return super().gate(matrix, x)
        return self._few(matrix, x, kernels.GATE, _rows(x, self.shape.intermediate))

    def attend(self, qkv: Tensor, pool: Tensor, layer: int, batch, rope) -> Tuple[Tensor, Tensor]:
        """Store K and V of the rows; return what attention gives, as `add` takes it, and the pool.

        `batch` is (slot, table, position, part, counter); see `kernels.attend_row`.
        """
        s = self.shape
        slot, table, position, part, counter = batch
        pool, attended = op.tensor_ir_inplace_op(
            kernels.attend_row(*self._heads, s.rotated, s.layers), 'attend_row',
            [qkv, *rope, pool, table, slot, position, part, counter,
             tirx.IntImm('int64', layer)], [3, -1],
            [Tensor.placeholder(pool.shape, s.cache_dtype),
             _rows(qkv, s.q_heads * s.head_dim)])
        return attended, pool


def _rows(like: Tensor, columns: int, dtype: str = 'float16') -> Tensor:
    return Tensor.placeholder((like.shape[0], columns), dtype)
