# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The layouts in which models are published, each turned into a `Checkpoint`.

VILA-1.5: a folder for each part, `llm/`, `vision_tower/`, `mm_projector/`. LLaVA (also VILA and
Obsidian): one folder, one set of shards; the tower is inside, or is the published one beside it.
"""
from pathlib import Path
from typing import Any, Callable, Dict, Optional

from nanovlm_ros.models.bundle import MARK, open_bundle
from nanovlm_ros.models.checkpoint import (
    ANYRES, CROP, PAD, RESIZE, Checkpoint, check_llm, normalisation, read_json)
from nanovlm_ros.models.fill import without_prefix
from nanovlm_ros.models.weight_files import broken
from nanovlm_ros.models.weights import Weights, open_weights

PARTS = ('llm', 'vision_tower', 'mm_projector')
PROJECTOR = 'mm_projector.bin'
TOWER = 'model.vision_tower.vision_tower.'
LLAVA = ('llava', 'llava_llama', 'llava_stablelm_epoch')
SEVERAL = 'vila'  # in the name of models that were trained on prompts of several images

FindTower = Callable[[str], Path]  # the folder of a published tower


def open_model_folder(path: Path, *, name: str = '', trust_pickle: bool = False,
                      find_tower: Optional[FindTower] = None) -> Checkpoint:
    """Read the configuration files of a model folder and check what they ask for.

    `name` is what answers call the model (default: the folder's name). `find_tower` gets the
    name of a published vision tower that the folder does not hold. Raises MODEL_ERROR.
    """
    if not path.is_dir():
        raise broken(f'The model folder {path} does not exist.')
    try:
        checkpoint = _open(path, name, trust_pickle, find_tower)
        check_llm(checkpoint.llm, path)
        _read_values(checkpoint)
    except (TypeError, ValueError, AttributeError, KeyError, SyntaxError) as error:
        raise broken(f'A value in the configuration files of {path} is of the wrong kind: '
                     f'{error}. Get the model again.') from error
    for key in ('mm_use_im_start_end', 'mm_use_im_patch_token', 's2'):
        if checkpoint.config.get(key):
            raise broken(f'{path}/config.json has {key} {checkpoint.config[key]!r}: images would '
                         'come to the language model in a way that is not supported. Use a model '
                         'without it.')
    if checkpoint.aspect_ratio not in (RESIZE, PAD, CROP, ANYRES):
        raise broken(f'{path}/config.json has image_aspect_ratio {checkpoint.aspect_ratio!r}; '
                     f'supported: {", ".join((RESIZE, PAD, CROP, ANYRES))}, or none.')
    return checkpoint


def _open(path: Path, name: str, trust_pickle: bool, find_tower: Optional[FindTower]
          ) -> Checkpoint:
    if (path / MARK).is_file():
        return open_bundle(path, name)
    config = read_json(path / 'config.json')
    made = _vila15 if (path / 'llm').is_dir() or 'llm_cfg' in config else _llava
    return made(path, name or folder_name(path), config, trust_pickle, find_tower)


def _read_values(checkpoint: Checkpoint) -> None:
    """Read what is otherwise read when it is used, and raise what that raises."""
    checkpoint.select_layer + 0
    checkpoint.projector_type + ''
    for width, height in checkpoint.grid_pinpoints:
        width + height
    checkpoint.unpad, checkpoint.rope_theta, checkpoint.positions


def folder_name(path: Path) -> str:
    """Return what a model in a folder is called; a snapshot of a hub is named by its repository."""
    path = path.resolve()
    repository = path.parents[1].name if path.parent.name == 'snapshots' else ''
    return repository.rpartition('--')[2] or path.name


def _vila15(path: Path, name: str, config: Dict[str, Any], trust_pickle: bool, _) -> Checkpoint:
    missing = [part for part in PARTS if not (path / part).is_dir()]
    if missing:
        raise broken(f'{path} lacks the folder {missing[0]}/: a VILA-1.5 model holds '
                     f'{", ".join(PARTS)}. Get the whole of it.')
    llm, tower, projector = (path / part for part in PARTS)
    vision = read_json(tower / 'config.json')
    mean, std = normalisation(tower, _is_clip(vision))

    def weights(folder: Path) -> Weights:
        return open_weights(folder, trust_pickle=trust_pickle)

    return Checkpoint(
        path=path, name=name, config={'image_aspect_ratio': RESIZE, **config},
        llm=read_json(llm / 'config.json'), llm_folder=llm, vision=vision,
        projector_type=read_json(projector / 'config.json').get('mm_projector_type', ''),
        several_images=True, image_mean=mean, image_std=std,
        llm_weights=lambda: weights(llm), vision_weights=lambda: weights(tower),
        projector_weights=lambda: without_prefix(weights(projector), 'layers.'),
        image_newline=lambda: None)


def _llava(path: Path, name: str, config: Dict[str, Any], trust_pickle: bool,
           find_tower: Optional[FindTower]) -> Checkpoint:
    kind = config.get('model_type')
    if kind not in LLAVA:
        raise broken(
            f'{path} is of the unknown model_type {kind!r}, and it has no folder llm/. Models of '
            f'the layouts LLaVA ({", ".join(LLAVA)}) and VILA-1.5 can be used.')
    weights = open_weights(path, trust_pickle=trust_pickle, also=(PROJECTOR,))
    inside = weights.below(TOWER)
    if inside.names:
        folder = _local_tower(config, path)
        vision = read_json(folder / 'config.json') if folder else infer_clip(inside, path)
    else:
        folder = _local_tower(config, path) or _published_tower(config, path, find_tower)
        vision = read_json(folder / 'config.json')
    mean, std = normalisation(folder or path, _is_clip(vision))

    def newline():
        name = 'model.image_newline'
        return weights.floats(name) if name in weights else None

    return Checkpoint(
        path=path, name=name, config=config, llm=config, llm_folder=path, vision=vision,
        projector_type=config.get('mm_projector_type', 'linear'),
        several_images=_takes_several(config, name), image_mean=mean, image_std=std,
        llm_weights=lambda: weights,
        vision_weights=lambda: inside if inside.names else open_weights(
            folder, trust_pickle=trust_pickle),
        projector_weights=lambda: weights.below('model.mm_projector.'), image_newline=newline)


def _takes_several(config: Dict[str, Any], name: str) -> bool:
    said = [name, config.get('_name_or_path', ''), *config.get('architectures', [])]
    return any(SEVERAL in str(text).lower() for text in said)


def _is_clip(vision: Dict[str, Any]) -> bool:
    return 'siglip' not in vision.get('vision_config', vision).get('model_type', '')


def _local_tower(config: Dict[str, Any], path: Path) -> Optional[Path]:
    """Return the tower's folder where mm_vision_tower names one, absolute or beside the model."""
    tower = config.get('mm_vision_tower')
    if not isinstance(tower, str) or not tower:
        return None
    # An absolute path stays itself behind `/`.
    for folder in (path / tower, path.parent / Path(tower).name):
        if (folder / 'config.json').is_file() and folder.resolve() != path.resolve():
            return folder
    return None


def _published_tower(config: Dict[str, Any], path: Path, find_tower: Optional[FindTower]) -> Path:
    tower = config.get('mm_vision_tower')
    if not isinstance(tower, str) or not tower:
        raise broken(f'{path} holds no vision tower, and its config.json names none '
                     '(mm_vision_tower). It is a language model alone, or incomplete.')
    if find_tower is None:
        raise broken(f'{path} holds no vision tower; it uses {tower}. Put that model into '
                     f'{path.parent / Path(tower).name}.')
    return find_tower(tower)


def infer_clip(weights: Weights, path: Path) -> Dict[str, Any]:
    """Return the configuration of a CLIP tower from its tensors.

    Checkpoints that carry a tuned tower name the one it came from, and do not repeat its
    configuration. OpenAI's towers have heads of 64, a norm eps of 1e-5 and quick_gelu (Radford
    et al., arXiv:2103.00020).
    """
    named = without_prefix(weights, 'vision_model.')
    patches = named.tensor('embeddings.patch_embedding.weight')
    positions = named.tensor('embeddings.position_embedding.weight').shape[0]
    if 'embeddings.class_embedding' not in named or patches.ndim != 4:
        raise broken(f'The vision tower inside {path} is not a CLIP, and its configuration is not '
                     'there. Put the tower that config.json names (mm_vision_tower) beside it.')
    hidden, _, patch, _ = patches.shape
    layers = {name.split('.')[2] for name in named.names if name.startswith('encoder.layers.')}
    return {
        'model_type': 'clip_vision_model', 'hidden_size': hidden, 'patch_size': patch,
        'intermediate_size': named.tensor('encoder.layers.0.mlp.fc1.weight').shape[0],
        'num_hidden_layers': len(layers), 'num_attention_heads': max(1, hidden // 64),
        'image_size': round((positions - 1) ** 0.5) * patch, 'layer_norm_eps': 1e-5,
        'hidden_act': 'quick_gelu'}
