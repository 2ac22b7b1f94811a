# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A model ready for a robot in a folder of our own: converted weights and no others.

    nanovlm.json         what a `Checkpoint` says
    vision.safetensors   tower, projector and image_newline, as they were stored
    llm/                 weights in MLC's format; the tokenizer's files

It holds data alone. Libraries are code, and come from the build cache, never from a model.
"""
import json
import shutil
from pathlib import Path
from typing import Dict

import torch
from safetensors.torch import save_file

from nanovlm_ros.mlc.mlc_folder import CONFIG, MlcFolder
from nanovlm_ros.models.checkpoint import Checkpoint, read_json
from nanovlm_ros.models.fill import without_prefix
from nanovlm_ros.models.weight_files import broken
from nanovlm_ros.models.weights import Weights, open_weights

MARK, VISION, LLM = 'nanovlm.json', 'vision.safetensors', 'llm'
TOWER, PROJECTOR, NEWLINE = 'tower.', 'projector.', 'newline'
SAID = ('name', 'config', 'llm', 'vision', 'projector_type', 'several_images', 'image_mean',
        'image_std')  # fields of a Checkpoint
# What MLC wants beside the weights, and what our tokenizer reads besides.
TOKENIZER_FILES = ('tokenizer.model', 'tokenizer.json', 'vocab.json', 'merges.txt',
                   'added_tokens.json', 'tokenizer_config.json')
STOP_FILES = ('generation_config.json', 'config.json')


def write_bundle(checkpoint: Checkpoint, weights: MlcFolder, folder: Path) -> None:
    """Write a checkpoint with its converted weights into a folder that is there and empty.

    Raises OSError, and what reading the checkpoint raises.
    """
    save_file(_vision_tensors(checkpoint), folder / VISION)
    (folder / LLM).mkdir()
    tokenizer = map(checkpoint.llm_folder.joinpath, (*TOKENIZER_FILES, *STOP_FILES))
    for path in (weights.index, weights.path / CONFIG, *(s.path for s in weights.shards),
                 *(path for path in tokenizer if path.is_file())):
        shutil.copyfile(path, folder / LLM / path.name)
    said = {name: getattr(checkpoint, name) for name in SAID}
    (folder / MARK).write_text(json.dumps(said, indent=1), encoding='utf-8')


def open_bundle(path: Path, name: str = '') -> Checkpoint:
    """Return the checkpoint of a folder that `write_bundle` made. Raises MODEL_ERROR."""
    said = read_json(path / MARK)
    missing = [key for key in SAID if key not in said]
    if missing:
        raise broken(f'{path / MARK} does not say {missing[0]!r}: it was made by another release. '
                     'Make the folder anew with `nanovlm compile --output`.')
    weights = open_weights(path)

    def newline():
        return weights.floats(NEWLINE) if NEWLINE in weights else None

    def unconverted() -> Weights:
        raise broken(f'{path} holds converted weights only. Convert the published model instead.')

    fields = {key: said[key] for key in SAID}
    return Checkpoint(
        path=path, llm_folder=path / LLM, converted=path / LLM, llm_weights=unconverted,
        vision_weights=lambda: weights.below(TOWER),
        projector_weights=lambda: weights.below(PROJECTOR), image_newline=newline,
        **{**fields, 'name': name or said['name'], 'image_mean': tuple(said['image_mean']),
           'image_std': tuple(said['image_std'])})


def _vision_tensors(checkpoint: Checkpoint) -> Dict[str, torch.Tensor]:
    # Published CLIP folders hold a language half, too.
    tower = without_prefix(checkpoint.vision_weights(), 'vision_model.')
    parts = {TOWER: tower, PROJECTOR: checkpoint.projector_weights()}
    tensors = {prefix + name: tensor for prefix, part in parts.items()
               for name, tensor in part.all().items()}
    newline = checkpoint.image_newline()
    if newline is not None:
        tensors[NEWLINE] = newline
    # A file may hold one tensor under two names, or a view of another; this format may not.
    return {name: tensor.clone().contiguous() for name, tensor in tensors.items()}
