# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A model folder in the layout of VILA-1.5: `llm/`, `vision_tower/`, `mm_projector/`.

Every failure is a NanoVlmError(MODEL_ERROR) that names the file or the key.
"""
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List

import numpy as np

from nanovlm_ros.mlc.packing import Quantization
from nanovlm_ros.mlc.shape import LlamaShape
from nanovlm_ros.models.templates import TEMPLATES, Template
from nanovlm_ros.types import ErrorCode, NanoVlmError

PARTS = ('llm', 'vision_tower', 'mm_projector')


class Weights:
    """Tensors of a folder of safetensors shards, read one by one."""

    def __init__(self, folder: Path):
        from safetensors import SafetensorError, safe_open

        self.files = sorted(folder.glob('*.safetensors'))
        if not self.files:
            raise _broken(f'{folder} holds no *.safetensors file.')
        self._where: Dict[str, Any] = {}
        for path in self.files:
            try:
                shard = safe_open(path, framework='pt')
            except (SafetensorError, OSError) as error:
                raise _broken(f'{path} is not a readable safetensors file: {error}') from error
            self._where.update({name: shard for name in shard.keys()})

    def tensor(self, name: str):
        """Return a torch tensor by name."""
        if name not in self._where:
            files = ', '.join(str(path) for path in self.files)
            raise _broken(f'The tensor {name!r} is missing from {files}.')
        return self._where[name].get_tensor(name)

    def array(self, name: str) -> np.ndarray:
        """Return a float32 numpy array by name."""
        return self.tensor(name).float().numpy()

    def all(self) -> Dict[str, Any]:
        """Return every tensor."""
        return {name: self.tensor(name) for name in self._where}


@dataclass(frozen=True)
class Checkpoint:
    """What a model folder says about itself."""

    path: Path
    config: Dict[str, Any]
    llm: Dict[str, Any]
    vision: Dict[str, Any]
    projector_type: str
    template: Template

    @property
    def name(self) -> str:
        """Folder name, by which answers name the model."""
        return self.path.name

    @property
    def select_layer(self) -> int:
        return self.config.get('mm_vision_select_layer', -2)

    @property
    def keep_class_token(self) -> bool:
        return self.config.get('mm_vision_select_feature', 'patch') == 'cls_patch'

    @property
    def positions(self) -> int:
        """Longest context the language model was trained for."""
        return self.llm['max_position_embeddings']

    @property
    def rope_theta(self) -> float:
        """Base of the rotary embedding; transformers 5 keeps it in `rope_parameters`."""
        nested = self.llm.get('rope_parameters') or {}
        return float(nested.get('rope_theta', self.llm.get('rope_theta', 10000.0)))

    @property
    def tied(self) -> bool:
        return bool(self.llm.get('tie_word_embeddings', False))

    def shape(self, quantization: Quantization) -> LlamaShape:
        """Dimensions of the language model."""
        c = self.llm
        heads = c['num_attention_heads']
        return LlamaShape(
            hidden=c['hidden_size'], intermediate=c['intermediate_size'],
            layers=c['num_hidden_layers'], q_heads=heads,
            kv_heads=c.get('num_key_value_heads') or heads,
            head_dim=c.get('head_dim') or c['hidden_size'] // heads, vocab=c['vocab_size'],
            norm_eps=c['rms_norm_eps'], quantization=quantization)

    def folder(self, part: str) -> Path:
        """Return the folder of `llm`, `vision_tower` or `mm_projector`."""
        return self.path / part

    def files(self) -> List[Path]:
        """Every weights file, in a fixed order."""
        return [file for part in PARTS for file in sorted(self.folder(part).glob('*.safetensors'))]


def open_checkpoint(path: Path) -> Checkpoint:
    """Read the configuration files of a model folder and check what they ask for."""
    if not path.is_dir():
        raise _broken(f'The model folder {path} does not exist.')
    config = _read_json(path / 'config.json')
    missing = [part for part in PARTS if not (path / part).is_dir()]
    if missing:
        raise _broken(
            f'{path} lacks the folder {missing[0]}/: a VILA-1.5 checkpoint holds '
            f'{", ".join(PARTS)}. Other layouts are not supported in this version.')
    llm = _read_json(path / 'llm' / 'config.json')
    kind = llm.get('model_type')
    if kind != 'llama':
        raise _broken(f'{path}/llm/config.json has model_type {kind!r}; supported: llama.')
    scaling = (llm.get('rope_parameters') or llm.get('rope_scaling') or {})
    if scaling.get('rope_type', scaling.get('type', 'default')) != 'default':
        raise _broken(f'{path}/llm/config.json asks for rope scaling {scaling}; '
                      'only the plain rotary embedding is supported.')
    ratio = config.get('image_aspect_ratio', 'resize')
    if ratio != 'resize':
        raise _broken(f'{path}/config.json has image_aspect_ratio {ratio!r}; supported: resize.')
    projector = _read_json(path / 'mm_projector' / 'config.json')
    return Checkpoint(
        path=path, config=config, llm=llm,
        vision=_read_json(path / 'vision_tower' / 'config.json'),
        projector_type=projector.get('mm_projector_type', ''), template=TEMPLATES['vicuna_v1'])


def _read_json(path: Path) -> Dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
    except FileNotFoundError:
        raise _broken(f'{path} is missing: the model folder is incomplete.') from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise _broken(f'{path} is not JSON: {error}.') from error
    if not isinstance(content, dict):
        raise _broken(f'{path} holds a {type(content).__name__}; a JSON object is needed.')
    return content


def _broken(message: str) -> NanoVlmError:
    return NanoVlmError(ErrorCode.MODEL_ERROR, message)
