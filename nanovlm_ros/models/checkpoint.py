# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What a model folder says about itself, in one vocabulary for all layouts.

Every failure is a NanoVlmError(MODEL_ERROR) that names the file or the key.
"""
import ast
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import torch

from nanovlm_ros.mlc.mlc_layout import decoder_groups
from nanovlm_ros.mlc.packing import LANES, Quantization
from nanovlm_ros.mlc.shape import LAYER_NORM, RMS_NORM, DecoderShape
from nanovlm_ros.models.weight_files import broken
from nanovlm_ros.models.weights import Weights

RESIZE, PAD, CROP, ANYRES = 'resize', 'pad', 'crop', 'anyres'
# Language models that are decoders of the Llama kind, by the model_type of their config.json.
NORMS = {'llama': RMS_NORM, 'llava': RMS_NORM, 'llava_llama': RMS_NORM,
         'stablelm': LAYER_NORM, 'stablelm_epoch': LAYER_NORM,
         'llava_stablelm_epoch': LAYER_NORM}
# Hidden size from which on models with float16 in their quantization have K and V in it, too:
# the cache of a small one costs nothing, that of a 7B model 1 GiB per 1,000 tokens in float32.
HALF_CACHE = 1024
# Part of a head that is rotated, where a configuration does not say.
ROTARY = {RMS_NORM: 1.0, LAYER_NORM: 0.25}
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class Checkpoint:
    """What loading needs to know; `open_model_folder` makes it from any layout."""

    path: Path
    name: str                       # by which answers name the model
    config: Dict[str, Any]          # of the whole
    llm: Dict[str, Any]             # of the language model
    llm_folder: Path                # of its weights and its tokenizer
    vision: Dict[str, Any]          # of the tower, as transformers writes it
    projector_type: str
    several_images: bool            # in one prompt
    image_mean: Tuple[float, ...]
    image_std: Tuple[float, ...]
    llm_weights: Callable[[], Weights] = field(repr=False)
    vision_weights: Callable[[], Weights] = field(repr=False)
    projector_weights: Callable[[], Weights] = field(repr=False)
    image_newline: Callable[[], Optional[torch.Tensor]] = field(repr=False)
    converted: Optional[Path] = None  # of the language model: weights in MLC's format alone

    @property
    def select_layer(self) -> int:
        """Hidden layer of the tower, counted as transformers counts them."""
        return self.config.get('mm_vision_select_layer', -2)

    @property
    def keep_class_token(self) -> bool:
        return self.config.get('mm_vision_select_feature', 'patch') == 'cls_patch'

    @property
    def aspect_ratio(self) -> str:
        """How images become square; `square`, or nothing, is the processor's own way, a crop."""
        said = self.config.get('image_aspect_ratio')
        return CROP if said in (None, '', 'square') else said

    @property
    def grid_pinpoints(self) -> List[List[int]]:
        """Resolutions for tiles, [width, height] each; some files have them as text."""
        points = self.config.get('image_grid_pinpoints') or []
        return ast.literal_eval(points) if isinstance(points, str) else points

    @property
    def unpad(self) -> bool:
        """Tiles are joined without the borders that were added to the image."""
        kind = self.config.get('mm_patch_merge_type', 'flat')
        if kind not in ('flat', 'spatial_unpad'):
            raise broken(f'{self.path}/config.json has mm_patch_merge_type {kind!r}; '
                         'supported: flat, spatial_unpad.')
        return kind == 'spatial_unpad'

    @property
    def positions(self) -> int:
        """Longest context the language model was trained for."""
        return number(self.llm, ('max_position_embeddings',), self.path)

    @property
    def rope_theta(self) -> float:
        """Base of the rotary embedding; transformers 5 keeps it in `rope_parameters`."""
        nested = self.llm.get('rope_parameters') or {}
        return float(nested.get('rope_theta') or self.llm.get('rope_theta') or 10000.0)

    @property
    def tied(self) -> bool:
        return bool(self.llm.get('tie_word_embeddings', False))

    def shape(self, quantization: Quantization) -> DecoderShape:
        """Dimensions of the language model.

        Raises MODEL_ERROR where one is missing, or is none that the kernels can take.
        """
        c = self.llm

        def get(*names):
            return number(c, names, self.path)

        norm = NORMS[c['model_type']]
        heads = get('num_attention_heads')
        head_dim = c.get('head_dim') or get('hidden_size') // heads
        nested = c.get('rope_parameters') or {}
        part = nested.get('partial_rotary_factor') or c.get('partial_rotary_factor') or c.get(
            'rope_pct') or ROTARY[norm]
        rotary_dim = int(head_dim * part)
        if head_dim % LANES or rotary_dim % 4:
            raise broken(f'The language model of {self.path} has heads of {head_dim} numbers, '
                         f'{rotary_dim} of them rotated; the kernels need a multiple of {LANES}, '
                         'and of 4. Use another model.')
        half = 'f16' in quantization.name and get('hidden_size') >= HALF_CACHE
        shape = DecoderShape(
            hidden=get('hidden_size'), intermediate=get('intermediate_size'),
            layers=get('num_hidden_layers'), q_heads=heads,
            kv_heads=get('num_key_value_heads', 'num_attention_heads'), head_dim=head_dim,
            vocab=get('vocab_size'), norm=norm, rotary_dim=rotary_dim,
            norm_eps=get('rms_norm_eps') if norm == RMS_NORM else
            get('layer_norm_eps', 'norm_eps'), quantization=quantization,
            cache_dtype='float16' if half else 'float32')
        decoder_groups(shape, self.tied)  # refuses a vocabulary, or another size, by its matrix
        return shape


def check_llm(config: Dict[str, Any], path: Path) -> None:
    """Refuse what the decoder does not do, rather than compute something else."""
    kind = config.get('model_type')
    if kind not in NORMS:
        raise broken(f'The language model of {path} has model_type {kind!r}; supported: '
                     f'{", ".join(NORMS)}.')
    if config.get('hidden_act', 'silu') != 'silu':
        raise broken(f'The language model of {path} has hidden_act {config["hidden_act"]!r}; '
                     'only silu is supported.')
    scaling = config.get('rope_parameters') or config.get('rope_scaling') or {}
    factor = config.get('rotary_scaling_factor') or 1.0
    if scaling.get('rope_type', scaling.get('type', 'default')) != 'default' or factor != 1.0:
        raise broken(f'{path} asks for rope scaling {scaling or factor}; only the plain rotary '
                     'embedding is supported.')
    for key in ('use_qkv_bias', 'attention_bias', 'mlp_bias', 'use_parallel_residual',
                'qk_layernorm'):
        if config.get(key):
            raise broken(f'{path} has {key} {config[key]!r}, which the decoder does not have. '
                         'Use a model without it.')


def read_json(path: Path) -> Dict[str, Any]:
    """Return the object of a JSON file."""
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
    except FileNotFoundError:
        raise broken(f'{path} is missing: the model folder is incomplete.') from None
    except OSError as error:
        raise broken(f'{path} cannot be read: {error.strerror}.') from error
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise broken(f'{path} is not JSON: {error}.') from error
    if not isinstance(content, dict):
        raise broken(f'{path} holds a {type(content).__name__}; a JSON object is needed.')
    return content


def number(config: Dict[str, Any], names: Sequence[str], path: Path):
    """Return the first of some keys that holds a number."""
    for name in names:
        value = config.get(name)
        if type(value) in (int, float) and value > 0:
            return value
    raise broken(f'The configuration of the language model of {path} gives no number for '
                 f'{" or ".join(names)}: the model folder is incomplete, or of another kind.')


def normalisation(folder: Path, clip: bool) -> Tuple[Tuple[float, ...], Tuple[float, ...]]:
    """Return (mean, std) of the pixels: of preprocessor_config.json, else as the tower's kind."""
    path = folder / 'preprocessor_config.json'
    said = read_json(path) if path.is_file() else {}
    mean, std = (CLIP_MEAN, CLIP_STD) if clip else ((0.5,) * 3, (0.5,) * 3)
    found = said.get('image_mean') or mean, said.get('image_std') or std
    for numbers in found:
        if not isinstance(numbers, (list, tuple)) or len(numbers) != 3 or not all(
                type(value) in (int, float) for value in numbers):
            raise broken(f'{path} has {numbers!r} for image_mean or image_std; three numbers are '
                         'needed.')
    return tuple(found[0]), tuple(found[1])
