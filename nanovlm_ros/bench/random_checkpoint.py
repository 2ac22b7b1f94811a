# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A checkpoint of published dimensions whose tower, projector and tokenizer are made up."""
import json
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Dict, Iterator, Tuple

from nanovlm_ros.bench.random_weights import random_tensors
from nanovlm_ros.engine.loader import demo_model
from nanovlm_ros.models.checkpoint import Checkpoint
from nanovlm_ros.models.projector import empty_projector
from nanovlm_ros.models.published import Published, configured
from nanovlm_ros.models.templates import LLAMA_3, Special
from nanovlm_ros.models.vision_tower import VisionShape

Shapes = Dict[str, Tuple[int, ...]]
LLAMA_3_VOCABULARY = 128256


@contextmanager
def random_checkpoint(model: Published) -> Iterator[Checkpoint]:
    """Give the checkpoint of a model with random tensors; the tokenizer's folder goes afterwards.

    The texts of the vocabulary are those of the model that ships, filled up to the size of the
    published one: prompts are somewhat longer than with the published tokenizer.
    """
    hidden = model.llm['hidden_size']
    with TemporaryDirectory(prefix='nanovlm_') as folder:
        write_tokenizer(Path(folder), model.llm['vocab_size'])
        yield configured(
            model, llm_folder=Path(folder),
            vision_weights=lambda: random_tensors(tower_shapes(model.vision)),
            projector_weights=lambda: random_tensors(projector_shapes(model)),
            image_newline=lambda: random_tensors({'newline': (hidden,)}).tensor('newline'))


def write_tokenizer(folder: Path, vocabulary: int) -> None:
    """Write the demo model's tokenizer with words without a meaning up to a size."""
    ours = demo_model() / 'llm'
    content = json.loads((ours / 'tokenizer.json').read_text(encoding='utf-8'))
    words = content['model']['vocab']
    controls = _controls(LLAMA_3) if vocabulary == LLAMA_3_VOCABULARY else []
    for number in range(len(words), vocabulary - len(controls)):
        words[f'<unused {number}>'] = number
    like = content['added_tokens'][-1]
    content['added_tokens'] += [
        {**like, 'id': vocabulary - len(controls) + i, 'content': text}
        for i, text in enumerate(controls)]
    (folder / 'tokenizer.json').write_text(json.dumps(content), encoding='utf-8')
    for name in ('generation_config.json', 'tokenizer_config.json'):
        (folder / name).write_text((ours / name).read_text(encoding='utf-8'), encoding='utf-8')


def _controls(template) -> list:
    """Return the texts of the control tokens of a template."""
    pieces = (*template.before_system, *template.after_system, *template.before_user,
              *template.before_answer, *template.after_answer)
    return sorted({*template.stop_tokens, *(p.text for p in pieces if isinstance(p, Special))})


def tower_shapes(vision: Dict) -> Shapes:
    """Return the tensors of a tower as transformers names them."""
    s = VisionShape.from_config(vision)
    wide, patch = s.hidden, (s.hidden, 3, s.patch_size, s.patch_size)
    norm = {'weight': (wide,), 'bias': (wide,)}
    modules: Dict[str, Shapes] = {
        'embeddings.patch_embedding': {'weight': patch, **({} if s.clip else {'bias': (wide,)})},
        'embeddings.position_embedding': {'weight': (s.patches + s.clip, wide)}}
    if s.clip:
        modules['pre_layrnorm'] = norm
    for i in range(s.layers):
        layer = f'encoder.layers.{i}.'
        for name in ('q_proj', 'k_proj', 'v_proj', 'out_proj'):
            modules[f'{layer}self_attn.{name}'] = {'weight': (wide, wide), 'bias': (wide,)}
        modules[f'{layer}mlp.fc1'] = {
            'weight': (s.intermediate, wide), 'bias': (s.intermediate,)}
        modules[f'{layer}mlp.fc2'] = {'weight': (wide, s.intermediate), 'bias': (wide,)}
        modules[f'{layer}layer_norm1'] = modules[f'{layer}layer_norm2'] = norm
    found = {f'{module}.{part}': shape for module, parts in modules.items()
             for part, shape in parts.items()}
    return {**found, **({'embeddings.class_embedding': (wide,)} if s.clip else {})}


def projector_shapes(model: Published) -> Shapes:
    """Return the tensors of a projector as `models.projector` names them."""
    made = empty_projector(model.projector, VisionShape.from_config(model.vision).hidden,
                           model.llm['hidden_size'])
    return {name: tuple(parameter.shape) for name, parameter in made.named_parameters()}
