# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Models that are measured in a moment, and stand-ins for llama.cpp."""
import json
from types import SimpleNamespace

LLAMA = {'model_type': 'llama', 'hidden_size': 64, 'intermediate_size': 96,
         'num_hidden_layers': 2, 'num_attention_heads': 4, 'num_key_value_heads': 2,
         'vocab_size': 1280, 'max_position_embeddings': 384, 'rms_norm_eps': 1e-5}
STABLELM = {'model_type': 'llava_stablelm_epoch', 'hidden_size': 160, 'intermediate_size': 192,
            'num_hidden_layers': 2, 'num_attention_heads': 2, 'num_key_value_heads': 2,
            'vocab_size': 1280, 'max_position_embeddings': 384, 'norm_eps': 1e-5,
            'rope_pct': 0.25}
SIGLIP = {'model_type': 'siglip_vision_model', 'image_size': 56, 'patch_size': 14,
          'hidden_size': 64, 'intermediate_size': 96, 'num_hidden_layers': 2,
          'num_attention_heads': 4}
CLIP = {**SIGLIP, 'model_type': 'clip_vision_model'}
MODEL = {'name': 'tiny', 'llm': LLAMA, 'vision': SIGLIP, 'projector': 'mlp_downsample',
         'config': {'image_aspect_ratio': 'resize'}, 'several_images': True}


def write_shape(folder, **changes) -> str:
    """Write the description of a model; return its path."""
    made = {**MODEL, **changes}
    path = folder / f'{made["name"]}.json'
    path.write_text(json.dumps(made))
    return str(path)


class Writer:
    """Takes what gguf's writer takes, and keeps it."""

    written: list = []

    def __init__(self, path, arch):
        self.path, self.arch, self.fields, self.tensors = path, arch, {}, {}
        Writer.written.append(self)

    def __getattr__(self, name):
        if not name.startswith('add_'):
            raise AttributeError(name)
        return lambda value: self.fields.update({name.removeprefix('add_'): value})

    def add_tensor(self, name, array, raw_dtype=None):
        self.tensors[name] = array, raw_dtype

    def write_header_to_file(self):
        open(self.path, 'wb').close()

    write_kv_data_to_file = write_tensors_to_file = close = lambda self: None


class Llama:
    """Takes what llama-cpp-python's class takes, and keeps it."""

    made: list = []

    def __init__(self, path, **options):
        with open(path, 'rb'):
            self.options = options
        self.n_tokens, self.closed, self.evaluated = 0, False, []
        Llama.made.append(self)

    def reset(self):
        self.n_tokens = 0

    def eval(self, tokens):
        assert not self.closed
        self.n_tokens += len(tokens)
        assert self.n_tokens <= self.options['n_ctx']
        self.evaluated.append((len(tokens), self.n_tokens))

    def close(self):
        self.closed = True


def fake_modules() -> dict:
    """Return modules in place of llama_cpp and gguf."""
    Writer.written, Llama.made = [], []
    return {'llama_cpp': SimpleNamespace(Llama=Llama), 'gguf': SimpleNamespace(
        GGUFWriter=Writer, LlamaFileType=SimpleNamespace(MOSTLY_Q4_0=2),
        GGMLQuantizationType=SimpleNamespace(Q4_0=2))}
