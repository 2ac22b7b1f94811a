# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What a compiled decoder depends on, and the parameters it takes; no TVM needed."""
from dataclasses import asdict, dataclass, replace
from typing import Any, Dict, List, Tuple

from nanovlm_ros.mlc.packing import GROUP, NIBBLES, QUANTIZATIONS, Quantization

# Name of a parameter, or a part of it -> (shape, dtype).
Parameters = Dict[str, Tuple[Tuple[int, ...], str]]

RMS_NORM, LAYER_NORM = 'rms_norm', 'layer_norm'
ACTIVATIONS = FLOAT32, INT8 = 'float32', 'int8'


@dataclass(frozen=True)
class DecoderShape:
    """Dimensions of a decoder of the Llama or StableLM family, types of its weights and cache."""

    hidden: int
    intermediate: int
    layers: int
    q_heads: int
    kv_heads: int
    head_dim: int
    vocab: int            # rows of the embedding table and of lm_head
    norm_eps: float
    quantization: Quantization
    norm: str = RMS_NORM
    rotary_dim: int = 0           # dimensions of a head that are rotated; 0: all
    cache_dtype: str = 'float32'  # of the K/V pool
    device: str = 'cpu'           # or 'cuda': whose kernels run, and lay out the weights
    activations: str = FLOAT32    # what 4-bit matrices multiply with on the CPU; or INT8

    @property
    def rotated(self) -> int:
        """Dimensions of a head that are rotated."""
        return self.rotary_dim or self.head_dim

    def on(self, device: str, activations: str = FLOAT32) -> 'DecoderShape':
        """Return the same decoder for the kernels of a device.

        On CUDA K and V are float16; on a CPU, 4-bit matrices multiply with `activations`.
        """
        if device == 'cpu':
            return replace(self, activations=activations if self.quantization.quantized
                           else FLOAT32)
        return replace(self, device=device, cache_dtype='float16')

    def to_json(self) -> Dict[str, Any]:
        """Return a dictionary for `from_json`."""
        return {**asdict(self), 'quantization': self.quantization.name}

    @classmethod
    def from_json(cls, fields: Dict[str, Any]) -> 'DecoderShape':
        """Rebuild a shape from `to_json`."""
        return cls(**{**fields, 'quantization': QUANTIZATIONS[fields['quantization']]})

    def parameter_names(self) -> List[str]:
        """Names of the parameters, in the order in which the library takes what is made of them."""
        def matrix(name):
            return [f'{name}.weight'] + [f'{name}.scale'] * self.quantization.quantized

        def norm(name):
            return [f'{name}.weight'] + [f'{name}.bias'] * (self.norm == LAYER_NORM)

        names = matrix('embedding')
        for i in range(self.layers):
            layer = f'layers.{i}.'
            names += [*norm(layer + 'attention_norm'), *matrix(layer + 'qkv'),
                      *matrix(layer + 'attention_out'), *norm(layer + 'mlp_norm'),
                      *matrix(layer + 'gate_up'), *matrix(layer + 'down')]
        return [*names, *norm('norm'), *matrix('head')]


def table_parameters(rows: int, columns: int, quantization: Quantization) -> Parameters:
    """Return how an embedding table (rows, columns) is laid out: row by row, as MLC has it."""
    if not quantization.quantized:
        return {'weight': ((rows, columns), quantization.weight)}
    return {'weight': ((rows, columns // NIBBLES), 'int32'),
            'scale': ((rows, columns // GROUP), quantization.scale)}
