# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Small repositories in the layouts that models are published in: file name -> bytes.

Tensors are random and few: what is tried with these is which files come and whether they
come whole, not what a model says.
"""
import io
import json

import torch
from safetensors.torch import save

CLIP = 'openai/clip-vit-large-patch14-336'

# What repositories hold beside a model, and nobody needs: never to be downloaded.
DECOYS = {name: name.encode() for name in (
    '.gitattributes', 'README.md', 'LICENSE.txt', 'images/demo.png', 'modeling_llava.py',
    'trainer_state.json', 'training_args.bin', 'optimizer.pt', 'tf_model.h5',
    'flax_model.msgpack', 'onnx/model.onnx', 'model.Q4_K_M.gguf',
    'original/consolidated.00.pth', 'original/params.json')}


def text(**content) -> bytes:
    """Return a JSON object as a file."""
    return json.dumps(content).encode()


def tensors(*names) -> dict:
    """Return 48 kB of noise for each name."""
    generator = torch.Generator().manual_seed(len(names[0]))
    return {name: torch.randn(96, 128, generator=generator) for name in names}


def pickled(*names) -> bytes:
    """Return a .bin file of tensors."""
    stream = io.BytesIO()
    torch.save(tensors(*names), stream)
    return stream.getvalue()


LAYER, HEAD = 'model.layers.0.self_attn.q_proj.weight', 'lm_head.weight'
EMBED, PROJECTOR = 'model.embed_tokens.weight', 'model.mm_projector.0.weight'
TOWER = 'model.vision_tower.vision_tower.vision_model.post_layernorm.weight'
TOKENIZER = {'tokenizer.model': b'sentencepiece', 'tokenizer_config.json': text(a=1),
             'special_tokens_map.json': text(bos_token='<s>')}


def llava_15() -> dict:
    """LLaVA-1.5: pickled shards with an index, the tower named in config.json."""
    first, second = 'pytorch_model-00001-of-00002.bin', 'pytorch_model-00002-of-00002.bin'
    return {
        **DECOYS, **TOKENIZER, 'config.json': text(model_type='llava', mm_vision_tower=CLIP),
        'generation_config.json': text(a=1), first: pickled(EMBED, LAYER),
        second: pickled(PROJECTOR, HEAD), 'mm_projector.bin': pickled(PROJECTOR),
        'pytorch_model.bin.index.json': text(weight_map={
            EMBED: first, LAYER: first, PROJECTOR: second, HEAD: second})}


def llava_16() -> dict:
    """LLaVA-1.6: safetensors shards with an index, the tower inside."""
    first, second = 'model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors'
    return {
        **DECOYS, **TOKENIZER, 'config.json': text(model_type='llava', mm_vision_tower=CLIP),
        'generation_config.json': text(a=1), first: save(tensors(EMBED, LAYER)),
        second: save(tensors(TOWER, PROJECTOR, HEAD)),
        'model.safetensors.index.json': text(weight_map={
            EMBED: first, LAYER: first, TOWER: second, PROJECTOR: second, HEAD: second})}


def vila_15() -> dict:
    """VILA-1.5: a folder for each part."""
    return {
        **DECOYS, 'config.json': text(llm_cfg={}, vision_tower_cfg={}, mm_projector_cfg={}),
        **{f'llm/{name}': content for name, content in TOKENIZER.items()},
        'llm/config.json': text(model_type='llama'), 'llm/generation_config.json': text(a=1),
        'llm/model.safetensors': save(tensors(EMBED, LAYER, HEAD)),
        'vision_tower/config.json': text(model_type='siglip_vision_model'),
        'vision_tower/preprocessor_config.json': text(size=384),
        'vision_tower/model.safetensors': save(tensors('vision_model.head.weight')),
        'mm_projector/config.json': text(mm_projector_type='mlp_downsample'),
        'mm_projector/model.safetensors': save(tensors('layers.1.weight'))}


def obsidian() -> dict:
    """Obsidian: one pickle without an index, the tower inside."""
    return {
        **DECOYS, 'tokenizer.json': text(model={}), 'tokenizer_config.json': text(a=1),
        'config.json': text(model_type='llava_stablelm_epoch', mm_vision_tower=CLIP),
        'pytorch_model.bin': pickled(EMBED, LAYER, TOWER, HEAD),
        'mm_projector.bin': pickled(PROJECTOR)}


def clip_tower() -> dict:
    """A vision tower's own repository: no safetensors, and a tokenizer nobody needs."""
    return {
        **DECOYS, 'config.json': text(model_type='clip'), 'tokenizer.json': text(model={}),
        'preprocessor_config.json': text(size=336), 'vocab.json': text(a=1),
        'pytorch_model.bin': pickled('vision_model.post_layernorm.weight')}
