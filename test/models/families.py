# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Every published family as a small checkpoint, in the layout and with the names of the real one.

The weights are random. What each should compute comes from transformers' own modules, which
never read the files.
"""
import json
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Callable, Dict

import torch
from safetensors.torch import save_file
from tokenizer_files import LLAMA_3, VOCAB, llama_3_json, neox_json, write_sentencepiece
from torch import nn
from transformers import (
    CLIPConfig, CLIPVisionConfig, CLIPVisionModel, LlamaConfig, LlamaForCausalLM,
    SiglipVisionConfig, SiglipVisionModel, StableLmConfig, StableLmForCausalLM)

CLIP_NAME = 'openai/clip-vit-large-patch14-336'
SIZE, PATCH = 56, 14      # of CLIP: 4 x 4 patches
SIGLIP_SIZE = 70          # 5 x 5 patches: one line and one column of zeros
LAYERS = 3
POSITIONS = 512
PINPOINTS = [[1, 2], [2, 1], [2, 2], [3, 1], [1, 3]]  # of LLaVA-1.6, (width, height) in tiles


@dataclass
class Parts:
    """The modules of a model, float32; every number is one of the stored type."""

    llm: nn.Module
    tower: nn.Module
    projector: nn.Sequential
    newline: torch.Tensor


@dataclass(frozen=True)
class Family:
    """One model of the page: `write(folder, parts)` makes its files below `folder.parent`."""

    name: str
    kind: str                       # llama, llama_3 or stablelm
    write: Callable[['Family', Path, Parts], None]
    clip: bool = True
    config: Dict[str, Any] = field(default_factory=dict)
    dtype: torch.dtype = torch.float16
    pickled: bool = False
    images: int = 1                 # that a prompt may hold at least

    def make(self, folder: Path) -> Parts:
        """Write the checkpoint; return its modules."""
        torch.manual_seed(sum(self.name.encode()))
        llm = {'llama': partial(llama, kv_heads=4), 'llama_3': partial(
            llama, kv_heads=2, rope_theta=500000.0), 'stablelm': stablelm}[self.kind]()
        tower = (clip if self.clip else siglip)()
        hidden, wide = llm.config.hidden_size, tower.config.hidden_size
        projector = (nn.Sequential(nn.Linear(wide, hidden), nn.GELU(), nn.Linear(hidden, hidden))
                     if self.clip else
                     nn.Sequential(nn.Identity(), nn.LayerNorm(4 * wide), nn.Linear(
                         4 * wide, hidden), nn.GELU(), nn.Linear(hidden, hidden)))
        parts = Parts(llm, tower, projector, torch.randn(hidden).to(self.dtype).float())
        for module, spread in ((llm, 0.15), (tower, 0.2), (projector, 0.2)):
            lively(module, spread, self.dtype)
        folder.mkdir(parents=True)
        self.write(self, folder, parts)
        return parts


@torch.no_grad()
def lively(module: nn.Module, spread: float, dtype: torch.dtype) -> None:
    """Give every parameter random values: zeros and ones would hide mistakes."""
    module.eval()
    for name, parameter in module.named_parameters():
        middle = 1.0 if parameter.ndim == 1 and name.endswith('weight') else 0.0
        parameter.copy_((middle + spread * torch.randn(parameter.shape)).to(dtype))


# -- modules ----------------------------------------------------------------------------------

def llama(kv_heads: int, rope_theta: float = 10000.0) -> LlamaForCausalLM:
    return LlamaForCausalLM(LlamaConfig(
        hidden_size=64, intermediate_size=96, num_hidden_layers=LAYERS, num_attention_heads=4,
        num_key_value_heads=kv_heads, vocab_size=VOCAB, rms_norm_eps=1e-5,
        max_position_embeddings=POSITIONS,
        rope_parameters={'rope_type': 'default', 'rope_theta': rope_theta}))


def stablelm() -> StableLmForCausalLM:
    """Heads of 80, of which 20 are rotated."""
    return StableLmForCausalLM(StableLmConfig(
        hidden_size=160, intermediate_size=192, num_hidden_layers=LAYERS, num_attention_heads=2,
        num_key_value_heads=2, vocab_size=VOCAB, layer_norm_eps=1e-5, use_qkv_bias=False,
        max_position_embeddings=POSITIONS, rope_parameters={
            'rope_type': 'default', 'rope_theta': 10000.0, 'partial_rotary_factor': 0.25}))


def clip() -> CLIPVisionModel:
    """Heads of 64, as every tower of OpenAI has them."""
    return CLIPVisionModel(CLIPVisionConfig(
        image_size=SIZE, patch_size=PATCH, hidden_size=128, intermediate_size=160,
        num_hidden_layers=3, num_attention_heads=2))


def siglip() -> SiglipVisionModel:
    return SiglipVisionModel(SiglipVisionConfig(
        image_size=SIGLIP_SIZE, patch_size=PATCH, hidden_size=48, intermediate_size=80,
        num_hidden_layers=3, num_attention_heads=4, vision_use_head=False))


# -- files ------------------------------------------------------------------------------------

def write_json(path: Path, content: Dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2))


def stored(module: nn.Module, prefix: str, dtype: torch.dtype) -> Dict[str, torch.Tensor]:
    """The tensors of a module as a file holds them; what is no float stays what it is."""
    return {prefix + name: tensor.clone().to(dtype) if tensor.is_floating_point() else tensor
            for name, tensor in module.state_dict().items()}


def tower_tensors(tower: nn.Module, dtype: torch.dtype) -> Dict[str, torch.Tensor]:
    """A tower as transformers published it, with the positions that old versions stored."""
    named = stored(tower, '', dtype)
    if not any(name.startswith('vision_model.') for name in named):
        named = {f'vision_model.{name}': tensor for name, tensor in named.items()}
    count = tower.config.image_size ** 2 // PATCH ** 2 + isinstance(tower, CLIPVisionModel)
    return {**named, 'vision_model.embeddings.position_ids': torch.arange(count)[None]}


def llm_tensors(llm: nn.Module, dtype: torch.dtype) -> Dict[str, torch.Tensor]:
    """A language model as published, with the frequencies that old versions stored."""
    return {**stored(llm, '', dtype), **{
        f'model.layers.{i}.self_attn.rotary_emb.inv_freq': torch.ones(8) for i in range(LAYERS)}}


def write_shards(folder: Path, tensors: Dict[str, torch.Tensor], pickled: bool, count: int = 3
                 ) -> None:
    """Write shards with an index, in the order of the tensors."""
    stem, suffix, save = (('pytorch_model', 'bin', torch.save) if pickled else
                          ('model', 'safetensors', save_file))
    index, names = {}, list(tensors)
    for i in range(count):
        part = names[i * len(names) // count:(i + 1) * len(names) // count]
        file = f'{stem}-{i + 1:05}-of-{count:05}.{suffix}'
        save({name: tensors[name].contiguous() for name in part}, folder / file)
        index |= dict.fromkeys(part, file)
    write_json(folder / f'{stem}.{suffix}.index.json', {
        'metadata': {'total_size': sum(t.nbytes for t in tensors.values())},
        'weight_map': index})


def llama_config(llm: nn.Module) -> Dict[str, Any]:
    """The configuration of a language model in the words of transformers 4.31."""
    c = llm.config
    return {
        'bos_token_id': 1, 'eos_token_id': 2, 'pad_token_id': 0, 'hidden_act': 'silu',
        'hidden_size': c.hidden_size, 'intermediate_size': c.intermediate_size,
        'num_hidden_layers': c.num_hidden_layers, 'num_attention_heads': c.num_attention_heads,
        'num_key_value_heads': c.num_key_value_heads, 'vocab_size': c.vocab_size,
        'max_position_embeddings': c.max_position_embeddings, 'rope_scaling': None,
        'rope_theta': c.rope_parameters['rope_theta'], 'tie_word_embeddings': False,
        'torch_dtype': 'float16', 'transformers_version': '4.31.0', 'use_cache': True,
        **({'rms_norm_eps': c.rms_norm_eps} if isinstance(llm, LlamaForCausalLM) else {})}


VISION_KEYS = {
    'mm_hidden_size': 128, 'mm_projector_type': 'mlp2x_gelu', 'mm_use_im_patch_token': False,
    'mm_use_im_start_end': False, 'mm_vision_select_feature': 'patch',
    'mm_vision_select_layer': -2, 'mm_vision_tower': CLIP_NAME, 'use_mm_proj': True}


def write_llava(family: Family, folder: Path, parts: Parts) -> None:
    """LLaVA and the first VILA: all in one folder, with the tower but for LLaVA-1.5."""
    inside = not family.pickled
    prefix = 'model.vision_tower.vision_tower.'
    tensors = {**llm_tensors(parts.llm, family.dtype),
               **stored(parts.projector, 'model.mm_projector.', family.dtype)}
    if inside:
        tensors |= {prefix + name: tensor for name, tensor in tower_tensors(
            parts.tower, family.dtype).items()}
    if 'image_grid_pinpoints' in family.config:
        tensors['model.image_newline'] = parts.newline.to(family.dtype)
    if family.pickled:
        projector = {name: tensor for name, tensor in tensors.items() if 'mm_projector' in name}
        torch.save(projector, folder / 'mm_projector.bin')
        tensors = {name: tensor for name, tensor in tensors.items() if name not in projector}
    write_shards(folder, tensors, family.pickled)
    write_json(folder / 'config.json', {
        'architectures': ['LlavaLlamaForCausalLM'], 'model_type': 'llava',
        **llama_config(parts.llm), **VISION_KEYS, **family.config})
    write_json(folder / 'generation_config.json', {'bos_token_id': 1, 'eos_token_id': 2})
    # A file that does not speak of `legacy` is one from before there was a choice.
    write_sentencepiece(folder, **({} if family.name == 'VILA-2.7b' else {'legacy': False}))
    if not inside:
        write_clip(folder.parent / Path(CLIP_NAME).name, parts.tower)


def write_clip(folder: Path, tower: nn.Module) -> None:
    """The published tower: the whole of CLIP, its text half too, in a pickle."""
    folder.mkdir()
    vision = CLIPConfig(vision_config=tower.config.to_dict()).to_dict()
    write_json(folder / 'config.json', vision)
    write_json(folder / 'preprocessor_config.json', {
        'crop_size': SIZE, 'size': SIZE, 'resample': 3, 'do_center_crop': True,
        'image_mean': [0.48145466, 0.4578275, 0.40821073],
        'image_std': [0.26862954, 0.26130258, 0.27577711]})
    torch.save({**tower_tensors(tower, torch.float32), 'logit_scale': torch.tensor(4.6),
                'text_model.final_layer_norm.weight': torch.ones(64)},
               folder / 'pytorch_model.bin')


def write_vila15(family: Family, folder: Path, parts: Parts) -> None:
    """A folder for each part; the tokenizer is the language model's."""
    llm, tower, projector = (folder / name for name in ('llm', 'vision_tower', 'mm_projector'))
    for part in (llm, tower, projector):
        part.mkdir()
    write_json(folder / 'config.json', {
        'architectures': ['LlavaLlamaModel'], 'model_type': 'llava_llama',
        'image_aspect_ratio': 'resize', 'mm_hidden_size': 48, 'mm_use_im_patch_token': False,
        'mm_use_im_start_end': False, 'mm_vision_select_feature': 'cls_patch',
        'mm_vision_select_layer': -2, 'num_video_frames': 8, 's2': False,
        **{f'{name}_cfg': {} for name in ('llm', 'vision_tower', 'mm_projector')}})
    config = {'architectures': ['LlamaForCausalLM'], 'model_type': 'llama',
              **llama_config(parts.llm)}
    if family.kind == 'llama_3':
        begin, end, *_ = (VOCAB - len(LLAMA_3) + i for i in range(len(LLAMA_3)))
        config |= {'bos_token_id': begin, 'eos_token_id': end}
        (llm / 'tokenizer.json').write_text(llama_3_json())
    else:
        write_sentencepiece(llm, legacy=False)
    write_json(llm / 'config.json', config)
    write_json(llm / 'generation_config.json', {'eos_token_id': config['eos_token_id']})
    write_shards(llm, llm_tensors(parts.llm, family.dtype), pickled=False, count=2)
    write_json(tower / 'config.json', {
        'architectures': ['SiglipVisionModel'], **parts.tower.config.to_dict()})
    write_json(tower / 'preprocessor_config.json', {
        'size': {'height': SIGLIP_SIZE, 'width': SIGLIP_SIZE}, 'image_mean': [0.5] * 3,
        'image_std': [0.5] * 3, 'resample': 3})
    save_file(tower_tensors(parts.tower, family.dtype), tower / 'model.safetensors')
    write_json(projector / 'config.json', {
        'architectures': ['MultimodalProjector'], 'mm_projector_type': 'mlp_downsample',
        'model_type': 'v2l_projector'})
    save_file(stored(parts.projector, 'layers.', family.dtype), projector / 'model.safetensors')


def write_obsidian(family: Family, folder: Path, parts: Parts) -> None:
    """One pickle with the tower inside, StableLM's first configuration, GPT-NeoX's tokenizer."""
    tensors = llm_tensors(parts.llm, family.dtype)
    tensors |= {f'model.vision_tower.vision_tower.{name}': tensor for name, tensor in
                tower_tensors(parts.tower, family.dtype).items()}
    torch.save(tensors, folder / 'pytorch_model.bin')
    torch.save(stored(parts.projector, 'model.mm_projector.', family.dtype),
               folder / 'mm_projector.bin')
    config = {key: value for key, value in llama_config(parts.llm).items()
              if key not in ('rope_scaling', 'pad_token_id')}
    write_json(folder / 'config.json', {
        **config, 'architectures': ['LlavaStableLMEpochForCausalLM'], 'bos_token_id': 0,
        'eos_token_id': 0, 'model_type': 'llava_stablelm_epoch', 'norm_eps': 1e-5,
        'num_heads': 2, 'rope_pct': 0.25, 'rotary_scaling_factor': 1.0, **VISION_KEYS,
        **family.config})
    write_json(folder / 'generation_config.json', {'bos_token_id': 0, 'eos_token_id': 0})
    (folder / 'tokenizer.json').write_text(neox_json())
    write_json(folder / 'tokenizer_config.json', {'tokenizer_class': 'GPTNeoXTokenizer'})


ANYRES = {'image_aspect_ratio': 'anyres', 'mm_patch_merge_type': 'spatial_unpad',
          'image_grid_pinpoints': [[w * SIZE, h * SIZE] for w, h in PINPOINTS],
          'unfreeze_mm_vision_tower': True}

FAMILIES = {family.name: family for family in (
    Family('llava-v1.5-7b', 'llama', write_llava, config={'image_aspect_ratio': 'pad'},
           pickled=True),
    Family('llava-v1.6-vicuna-7b', 'llama', write_llava, config=ANYRES),
    Family('VILA-2.7b', 'llama', write_llava, images=3,
           config={'image_aspect_ratio': 'resize', 'model_type': 'llava_llama'}),
    Family('VILA-7b', 'llama', write_llava, images=3, config={'image_aspect_ratio': 'pad'}),
    Family('VILA1.5-3b', 'llama', write_vila15, clip=False, images=3, dtype=torch.bfloat16),
    Family('Llama-3-VILA1.5-8B', 'llama_3', write_vila15, clip=False, images=3,
           dtype=torch.bfloat16),
    Family('Obsidian-3B-V0.5', 'stablelm', write_obsidian, pickled=True,
           config={'image_aspect_ratio': 'pad'}))}
