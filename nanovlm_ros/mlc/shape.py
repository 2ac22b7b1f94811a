# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What a compiled decoder depends on, and the parameters it takes; no TVM needed."""
from dataclasses import asdict, dataclass
from typing import Any, Dict, List

from nanovlm_ros.mlc.packing import QUANTIZATIONS, Quantization


@dataclass(frozen=True)
class LlamaShape:
    """Dimensions of a Llama decoder and the types of its weights and cache."""

    hidden: int
    intermediate: int
    layers: int
    q_heads: int
    kv_heads: int
    head_dim: int
    vocab: int            # rows of the embedding table and of lm_head
    norm_eps: float
    quantization: Quantization
    cache_dtype: str = 'float32'  # of the K/V pool

    def to_json(self) -> Dict[str, Any]:
        """Return a dictionary for `from_json`."""
        return {**asdict(self), 'quantization': self.quantization.name}

    @classmethod
    def from_json(cls, fields: Dict[str, Any]) -> 'LlamaShape':
        """Rebuild a shape from `to_json`."""
        return cls(**{**fields, 'quantization': QUANTIZATIONS[fields['quantization']]})

    def parameter_names(self) -> List[str]:
        """Names of the parameters, in the order in which the library takes them."""
        def matrix(name):
            return [f'{name}.weight'] + [f'{name}.scale'] * self.quantization.quantized

        names = matrix('embedding')
        for i in range(self.layers):
            layer = f'layers.{i}.'
            names += [layer + 'attention_norm.weight', *matrix(layer + 'qkv'),
                      *matrix(layer + 'attention_out'), layer + 'mlp_norm.weight',
                      *matrix(layer + 'gate_up'), *matrix(layer + 'down')]
        return names + ['norm.weight', *matrix('head')]
