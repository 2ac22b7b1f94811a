# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""`mlc-chat-config.json` of a decoder, and back to a Hugging Face configuration."""
from typing import Any, Dict, Sequence

from nanovlm_ros.mlc.mlc_folder import CONFIG, MlcFolder
from nanovlm_ros.mlc.packing import QUANTIZATIONS, Quantization
from nanovlm_ros.mlc.shape import LAYER_NORM, DecoderShape
from nanovlm_ros.types import ErrorCode, NanoVlmError

VERSION = '0.1.0'  # of the file's layout
# Hugging Face's name -> MLC's, of what both families have.
_SHARED = {
    'hidden_size': 'hidden_size', 'intermediate_size': 'intermediate_size',
    'num_hidden_layers': 'num_hidden_layers', 'num_attention_heads': 'num_attention_heads',
    'num_key_value_heads': 'num_key_value_heads', 'vocab_size': 'vocab_size',
    'max_position_embeddings': 'context_window_size',
}
_FAMILY = {'llama': ('rms_norm_eps',), 'stablelm': ('layer_norm_eps', 'partial_rotary_factor')}
_THETA = {'llama': 'position_embedding_base', 'stablelm': 'rope_theta'}
PLAIN = {  # the prompt as it is: our own templates write it
    'name': 'LM', 'system_template': '{system_message}', 'system_message': '',
    'roles': {'user': '', 'assistant': ''}, 'seps': [''], 'messages': [],
    'role_templates': {'user': '{user_message}', 'assistant': '{assistant_message}',
                       'tool': '{tool_message}'},
    'role_content_sep': '', 'role_empty_sep': '', 'stop_str': [], 'stop_token_ids': [],
    'function_string': '', 'use_function_calling': False,
}


def chat_config(shape: DecoderShape, *, rope_theta: float, positions: int, tied: bool,
                tokenizer_files: Sequence[str] = ()) -> Dict[str, Any]:
    """Return the content of `mlc-chat-config.json` for a decoder."""
    stable = shape.norm == LAYER_NORM
    model_type = 'stablelm' if stable else 'llama'
    rope_theta = int(rope_theta) if rope_theta == int(rope_theta) else rope_theta  # as MLC does
    model: Dict[str, Any] = {
        'hidden_size': shape.hidden, 'intermediate_size': shape.intermediate,
        'num_hidden_layers': shape.layers, 'num_attention_heads': shape.q_heads,
        'num_key_value_heads': shape.kv_heads, 'head_dim': shape.head_dim,
        'vocab_size': shape.vocab, 'tie_word_embeddings': tied,
        _THETA[model_type]: rope_theta,
        'context_window_size': positions, 'prefill_chunk_size': min(positions, 2048),
        'tensor_parallel_shards': 1, 'max_batch_size': 1}
    if stable:
        model |= {'layer_norm_eps': shape.norm_eps, 'use_qkv_bias': False,
                  'partial_rotary_factor': shape.rotated / shape.head_dim}
    else:
        model['rms_norm_eps'] = shape.norm_eps
    return {
        'version': VERSION, 'model_type': model_type, 'quantization': shape.quantization.name,
        'model_config': model, 'vocab_size': shape.vocab, 'active_vocab_size': shape.vocab,
        'context_window_size': positions, 'sliding_window_size': -1,
        'prefill_chunk_size': model['prefill_chunk_size'], 'attention_sink_size': -1,
        'tensor_parallel_shards': 1, 'pipeline_parallel_stages': 1, 'model_task': 'chat',
        'tokenizer_files': list(tokenizer_files), 'conv_template': PLAIN}


def folder_quantization(folder: MlcFolder) -> Quantization:
    """Return how the weights of an MLC folder are stored."""
    name = folder.config().get('quantization')
    if name not in QUANTIZATIONS:
        raise _refused(folder, f'names the quantization {name!r}; supported: '
                       f'{", ".join(QUANTIZATIONS)}. Convert the model with one of them')
    return QUANTIZATIONS[name]


def hugging_face_config(folder: MlcFolder) -> Dict[str, Any]:
    """Return the decoder of an MLC folder in the words of a Hugging Face `config.json`."""
    config = folder.config()
    model_type, model = config.get('model_type'), config.get('model_config')
    if model_type not in _FAMILY:
        raise _refused(folder, f'is of the model_type {model_type!r}; supported: '
                       f'{", ".join(_FAMILY)}. Use a model of these families')
    if not isinstance(model, dict):
        raise _refused(folder, 'has no object model_config. Get it again with its weights')
    if model.get('rope_scaling'):
        raise _refused(folder, f'asks for rope scaling {model["rope_scaling"]}; only the plain '
                       'rotary embedding is supported. Use a model without it')
    if model.get('tensor_parallel_shards', 1) != 1:
        raise _refused(folder, f'was split for {model["tensor_parallel_shards"]} devices. '
                       'Convert the model with tensor_parallel_shards 1')
    if model.get('use_qkv_bias'):
        raise _refused(folder, 'asks for biases of q, k and v, which are not supported. Use a '
                       'model without them')
    wanted = {**_SHARED, **{name: name for name in _FAMILY[model_type]}}
    missing = [theirs for theirs in wanted.values() if not _number(model.get(theirs))]
    if missing:
        raise _refused(folder, f'gives no number for model_config.{missing[0]}. Get it again '
                       'together with its weights')
    theta = model.get(_THETA[model_type]) or model.get('rope_theta') or 10000
    heads = model['num_attention_heads']
    return {**{ours: model[theirs] for ours, theirs in wanted.items()},
            'model_type': model_type, 'rope_theta': float(theta),
            'head_dim': model.get('head_dim') or model['hidden_size'] // heads,
            'tie_word_embeddings': bool(model.get('tie_word_embeddings', False))}


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and value > 0


def _refused(folder: MlcFolder, why: str) -> NanoVlmError:
    return NanoVlmError(ErrorCode.MODEL_ERROR, f'{folder.path / CONFIG} {why}.')
