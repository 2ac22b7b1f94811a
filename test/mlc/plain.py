# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The layouts of the CPU kernels in the plain way: all of a matrix at once, nibble by nibble."""
import numpy as np

from nanovlm_ros.mlc.packing import quantize


def matrix(weight, quantization):
    """Lay out a float (n, k) matrix: {'weight', ['scale']}."""
    if not quantization.quantized:
        return {'weight': side_by_side(weight.astype(quantization.weight))}
    q, scale = quantize(weight, quantization.scale)
    words = np.zeros((len(q), q.shape[1] // 8), np.uint32)
    for column in range(q.shape[1]):
        group, half, four, byte = (
            column // 32, column % 32 // 16, column % 16 // 4, column % 4)
        words[:, 4 * group + four] |= (q[:, column] + 7).astype(np.uint32) << np.uint32(
            8 * byte + 4 * half)
    return {'weight': side_by_side(words.view(np.int32)), 'scale': side_by_side(scale)}


def joined(parts):
    """Put the scales of each group behind its words, as the library takes a matrix: [array]."""
    if 'scale' not in parts:
        return [parts['weight']]
    weight, scale = parts['weight'], parts['scale']
    blocks, groups, lanes = scale.shape
    rows = [[np.concatenate([weight[b, 4 * g:4 * g + 4].ravel(), scale[b, g].view(np.int32)])
             for g in range(groups)] for b in range(blocks)]
    return [np.array(rows, np.int32)]


def table(weight, quantization):
    """Lay out a float (vocabulary, k) embedding table: {'weight', ['scale']}."""
    if not quantization.quantized:
        return {'weight': weight.astype(quantization.weight)}
    q, scale = quantize(weight, quantization.scale)
    codes = (q + 7).astype(np.uint32).reshape(len(q), -1, 8)
    words = sum(codes[:, :, i] << np.uint32(4 * i) for i in range(8))
    return {'weight': words.view(np.int32), 'scale': scale}


def side_by_side(rows):
    """(n, c) -> (n / 16, c, 16)."""
    n, c = rows.shape
    return np.ascontiguousarray(rows.reshape(n // 16, 16, c).transpose(0, 2, 1))
