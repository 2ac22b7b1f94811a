# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What a batch takes of the GPU's memory beside weights and cache, in few sizes.

TVM keeps what it has taken, by size: batches of any size would leave a block of each. So rows
and tables are filled up to the next of a few sizes.
"""
from nanovlm_ros.mlc.shape import DecoderShape

ROWS = (16, 64, 128, 192, 256, 384, 512, 768)  # then multiples of 1024
SHORTEST = 256      # rows of the shortest table; then twice that, and so on
HALF, FLOAT = 2, 4  # bytes of a number


def padded_rows(rows: int) -> int:
    """Return how many rows a batch of so many is filled up to."""
    return next((size for size in ROWS if rows <= size), -(-rows // 1024) * 1024)


def padded_length(longest: int, positions: int) -> int:
    """Return how long the tables of a batch are made, at least `longest`."""
    length = SHORTEST
    while length < longest:
        length *= 2
    return max(longest, min(length, positions))


def scratch_bytes(shape: DecoderShape, rows: int, sequences: int, length: int) -> int:
    """Return about what a batch takes: activations of a layer, its keys and values gathered."""
    heads = shape.q_heads * 2 + shape.kv_heads * 2
    row = heads * shape.head_dim * HALF + 3 * shape.intermediate * HALF + shape.hidden * (
        2 * HALF + 2 * FLOAT)
    gathered = 2 * sequences * length * shape.kv_heads * shape.head_dim * HALF
    return 2 * (rows * row + gathered) + sequences * shape.vocab * FLOAT
