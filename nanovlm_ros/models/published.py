# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The models of the page at their full size, as their config.json have them; no files needed.

What the publishers' files say in more than one way, or not at all, is here as it costs most.
"""
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, Optional

from nanovlm_ros.models.checkpoint import (
    ANYRES, CLIP_MEAN, CLIP_STD, PAD, RESIZE, Checkpoint, check_llm)
from nanovlm_ros.types import ErrorCode, NanoVlmError

_LLAMA = {'model_type': 'llama', 'vocab_size': 32000, 'max_position_embeddings': 4096,
          'rms_norm_eps': 1e-5, 'rope_theta': 10000.0}


def _llama(hidden: int, layers: int, heads: int, kv_heads: int, intermediate: int, **more
           ) -> Dict[str, Any]:
    return {**_LLAMA, 'hidden_size': hidden, 'num_hidden_layers': layers,
            'num_attention_heads': heads, 'num_key_value_heads': kv_heads,
            'intermediate_size': intermediate, **more}


# Touvron et al., arXiv:2307.09288; Xia et al., arXiv:2310.06694; Grattafiori et al.,
# arXiv:2407.21783; Zhang et al., arXiv:2401.02385; Tow et al., StableLM-3B-4E1T.
LANGUAGE_MODELS: Dict[str, Dict[str, Any]] = {
    'Llama-2-7B': _llama(4096, 32, 32, 32, 11008),
    'Llama-2-13B': _llama(5120, 40, 40, 40, 13824),
    'Sheared-LLaMA-2.7B': _llama(2560, 32, 20, 20, 6912),
    'Llama-3-8B': _llama(4096, 32, 32, 8, 14336, vocab_size=128256, rope_theta=500000.0,
                         max_position_embeddings=8192),
    'TinyLlama-1.1B': _llama(2048, 22, 32, 4, 5632, max_position_embeddings=2048),
    'StableLM-3B': {
        'model_type': 'llava_stablelm_epoch', 'hidden_size': 2560, 'num_hidden_layers': 32,
        'num_attention_heads': 32, 'num_key_value_heads': 32, 'intermediate_size': 6912,
        'vocab_size': 50304, 'max_position_embeddings': 4096, 'norm_eps': 1e-5,
        'rope_theta': 10000.0, 'rope_pct': 0.25},
}

CLIP_L_336 = {
    'model_type': 'clip_vision_model', 'image_size': 336, 'patch_size': 14,
    'hidden_size': 1024, 'intermediate_size': 4096, 'num_hidden_layers': 24,
    'num_attention_heads': 16}
SIGLIP_SO400M = {
    'model_type': 'siglip_vision_model', 'image_size': 384, 'patch_size': 14,
    'hidden_size': 1152, 'intermediate_size': 4304, 'num_hidden_layers': 27,
    'num_attention_heads': 16}

_TILES = {
    'image_aspect_ratio': ANYRES, 'mm_patch_merge_type': 'spatial_unpad',
    'image_grid_pinpoints': [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]]}


@dataclass(frozen=True)
class Published:
    """The dimensions of one model; `vision` is None for a language model alone."""

    name: str
    llm: Dict[str, Any]                        # of the language model, as its config.json
    vision: Optional[Dict[str, Any]] = None    # of the tower
    projector: str = ''                        # mm_projector_type
    config: Dict[str, Any] = field(default_factory=dict)  # how images come to the tower
    several_images: bool = False               # in one prompt


def _clip(name: str, llm: str, **more) -> Published:
    config = {'image_aspect_ratio': PAD, **more}
    return Published(name, LANGUAGE_MODELS[llm], CLIP_L_336, 'mlp2x_gelu', config,
                     several_images=name.startswith('VILA'))


def _vila15(name: str, llm: str) -> Published:
    return Published(name, LANGUAGE_MODELS[llm], SIGLIP_SO400M, 'mlp_downsample',
                     {'image_aspect_ratio': RESIZE}, several_images=True)


# The page's models, in its order.
PAGE = (
    _clip('llava-v1.5-7b', 'Llama-2-7B'), _clip('llava-v1.5-13b', 'Llama-2-13B'),
    _clip('llava-v1.6-vicuna-7b', 'Llama-2-7B', **_TILES),
    _clip('llava-v1.6-vicuna-13b', 'Llama-2-13B', **_TILES),
    _clip('VILA-2.7b', 'Sheared-LLaMA-2.7B'), _clip('VILA-7b', 'Llama-2-7B'),
    _clip('VILA-13b', 'Llama-2-13B'),
    _vila15('VILA1.5-3b', 'Sheared-LLaMA-2.7B'), _vila15('Llama-3-VILA1.5-8B', 'Llama-3-8B'),
    _vila15('VILA1.5-13b', 'Llama-2-13B'), _clip('Obsidian-3B-V0.5', 'StableLM-3B'))
# For comparisons with programs that run language models alone.
ALONE = (Published('TinyLlama-1.1B', LANGUAGE_MODELS['TinyLlama-1.1B']),)
PUBLISHED: Dict[str, Published] = {model.name: model for model in (*PAGE, *ALONE)}


def find_published(name: str) -> Published:
    """Return a model by its name, in any case and with its owner or not, or of a JSON file.

    The file holds an object with the fields of `Published`, of which only `llm` must be there.
    Raises INVALID_REQUEST.
    """
    if name.endswith('.json'):
        return _read(Path(name).expanduser())
    wanted = name.rsplit('/', 1)[-1].lower()
    for known, model in PUBLISHED.items():
        if known.lower() == wanted:
            return model
    raise NanoVlmError(
        ErrorCode.INVALID_REQUEST,
        f'The shape {name!r} is unknown; use one of {", ".join(PUBLISHED)}, or a JSON file.')


def _read(path: Path) -> Published:
    try:
        model = Published(**{'name': path.stem, **json.loads(path.read_text(encoding='utf-8'))})
        check_llm(model.llm, path)
        return model
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise NanoVlmError(
            ErrorCode.INVALID_REQUEST,
            f'{path} is no description of a model ({error}); it needs an object with llm, the '
            'config.json of a language model, and may have name, vision, projector, config and '
            'several_images.') from error


def configured(model: Published, **parts) -> Checkpoint:
    """Return the checkpoint of a model without its files; `parts` are what there is of it.

    Asking for tensors that `parts` do not give is a mistake of the caller's.
    """
    path = Path(model.name)
    clip = 'clip' in (model.vision or {}).get('model_type', '')
    return Checkpoint(**{**dict(
        path=path, name=model.name, config=model.config, llm=model.llm, llm_folder=path,
        vision=model.vision or {}, projector_type=model.projector,
        several_images=model.several_images, image_mean=CLIP_MEAN if clip else (0.5,) * 3,
        image_std=CLIP_STD if clip else (0.5,) * 3, llm_weights=_none, vision_weights=_none,
        projector_weights=_none, image_newline=_none), **parts})


def _none():
    raise AssertionError('only the configuration of this model is here, no weights')
