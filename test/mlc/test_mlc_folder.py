# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""MLC folders: TVM's own reader and writer agree with ours, and broken ones end as a sentence."""
import json
import logging

import numpy as np
import pytest
from decoders import VOCAB, checkpoint_tensors, small_shape, write_folder

from nanovlm_ros.mlc.convert import convert_decoder
from nanovlm_ros.mlc.mlc_folder import MlcFolder
from nanovlm_ros.mlc.mlc_weights import load_mlc_folder
from nanovlm_ros.mlc.packing import QUANTIZATIONS, dequantize, quantize
from nanovlm_ros.mlc.repack import PackedWeights
from nanovlm_ros.types import ErrorCode, NanoVlmError

TENSORS = checkpoint_tensors()


def refused(call, *arguments, **options):
    with pytest.raises(NanoVlmError) as caught:
        call(*arguments, **options)
    assert caught.value.code == ErrorCode.MODEL_ERROR
    return caught.value.message


def edit(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.fixture
def tvmjs():
    """TVM's own reader and writer of the format."""
    return pytest.importorskip('tvm.contrib.tvmjs', reason='part of apache-tvm')


@pytest.fixture
def made(tmp_path):
    return write_folder(tmp_path / 'mlc', small_shape(), TENSORS)


@pytest.mark.parametrize('name', QUANTIZATIONS)
def test_tvm_reads_what_we_write(tmp_path, tvmjs, name):
    import tvm

    path = write_folder(tmp_path / 'mlc', small_shape(name), TENSORS)
    theirs, metadata = tvmjs.load_tensor_cache(str(path), tvm.cpu())
    ours = MlcFolder(path)
    assert ours.names == sorted(theirs) and metadata['ParamSize'] == len(theirs)
    for tensor in ours.names:
        np.testing.assert_array_equal(ours.array(tensor), theirs[tensor].numpy())
        assert ours.array(tensor).dtype == theirs[tensor].numpy().dtype


@pytest.mark.parametrize('encoding', ['raw', 'f32-to-bf16'])
def test_we_read_what_tvm_writes(tmp_path, tvmjs, encoding):
    random = np.random.default_rng(0)
    arrays = {'a.q_weight': random.integers(0, 2**32, (32, 8), np.uint32),
              'a.q_scale': random.standard_normal((32, 2)).astype(np.float16),
              'norm.weight': random.standard_normal(64).astype(np.float32)}
    tvmjs.dump_tensor_cache(arrays, str(tmp_path), encode_format=encoding, show_progress=False)
    folder = MlcFolder(tmp_path)
    folder.verify()
    for name, array in arrays.items():
        read = folder.array(name)
        assert read.dtype == array.dtype
        if name == 'norm.weight' and encoding == 'f32-to-bf16':
            np.testing.assert_allclose(read, array, rtol=2 ** -8)
            assert not (read.view(np.uint32) & 0xffff).any(), 'the value that was stored'
        else:
            np.testing.assert_array_equal(read, array)


def test_a_tensor_that_is_bfloat16_by_name_is_read_as_float32(tmp_path, tvmjs):
    values = np.array([1.5, -2.25, 3e30], np.float32)
    tvmjs.dump_tensor_cache({'a': values}, str(tmp_path), show_progress=False)
    edit(tmp_path / 'tensor-cache.json', lambda content: content['records'][0]['records'][0]
         .update(dtype='bfloat16', format='raw'))
    np.testing.assert_allclose(MlcFolder(tmp_path).array('a'), values, rtol=2 ** -8)


@pytest.mark.parametrize('name', ['q4f16_1', 'q4f32_1'])
def test_names_shapes_and_nibbles_are_those_of_mlc(tmp_path, name):
    folder = MlcFolder(write_folder(tmp_path / 'mlc', small_shape(name), TENSORS))
    scale_type = QUANTIZATIONS[name].scale
    assert [n for n in folder.names if '.layers.' not in n] == [
        'lm_head.q_scale', 'lm_head.q_weight', 'model.embed_tokens.q_scale',
        'model.embed_tokens.q_weight', 'model.norm.weight']
    layer = 'model.layers.1.'
    assert sorted(n.removeprefix(layer) for n in folder.names if n.startswith(layer)) == sorted([
        'input_layernorm.weight', 'post_attention_layernorm.weight',
        *(f'{module}.{part}' for part in ('q_weight', 'q_scale') for module in (
            'self_attn.qkv_proj', 'self_attn.o_proj', 'mlp.gate_up_proj', 'mlp.down_proj'))])
    words = folder.array(f'{layer}self_attn.qkv_proj.q_weight')
    scale = folder.array(f'{layer}self_attn.qkv_proj.q_scale')
    assert words.shape == (128, 8) and words.dtype == np.uint32
    assert scale.shape == (128, 2) and scale.dtype == scale_type
    assert folder.array('model.norm.weight').dtype == scale_type
    codes = (words[..., None] >> np.arange(0, 32, 4, dtype=np.uint32) & 15).reshape(128, 64)
    weight = np.concatenate([TENSORS[f'{layer}self_attn.{p}_proj.weight'] for p in 'qkv'])
    np.testing.assert_array_equal(dequantize(codes.astype(np.int8) - 7, scale),
                                  dequantize(*quantize(weight, scale_type)))


def test_the_older_name_of_the_index_is_read(made):
    before = MlcFolder(made)
    (made / 'tensor-cache.json').rename(made / 'ndarray-cache.json')
    assert MlcFolder(made).names == before.names


def test_a_folder_is_a_language_model_with_its_configuration(made):
    loaded = load_mlc_folder(made)
    assert loaded.quantization.name == 'q4f16_1'
    assert loaded.llm == {
        'model_type': 'llama', 'hidden_size': 64, 'intermediate_size': 96,
        'num_hidden_layers': 2, 'num_attention_heads': 4, 'num_key_value_heads': 2,
        'head_dim': 16, 'vocab_size': VOCAB, 'max_position_embeddings': 256,
        'rms_norm_eps': 1e-5, 'rope_theta': 10000.0, 'tie_word_embeddings': False}
    expected = dict(convert_decoder(small_shape(), TENSORS.__getitem__, tied=False))
    packed = loaded.packed(small_shape())
    assert list(packed) == list(expected) == small_shape().parameter_names()
    for name, array in expected.items():
        np.testing.assert_array_equal(packed[name], array)


def test_a_stablelm_has_the_biases_of_its_norms_and_its_own_words(tmp_path):
    tensors = checkpoint_tensors(norm_biases=True)
    shape = small_shape('q4f32_1', norm='layer_norm', rotary_dim=4)
    loaded = load_mlc_folder(write_folder(tmp_path / 'mlc', shape, tensors))
    assert loaded.folder.config()['model_type'] == loaded.llm['model_type'] == 'stablelm'
    assert loaded.llm['partial_rotary_factor'] == 0.25 and loaded.llm['layer_norm_eps'] == 1e-5
    packed = loaded.packed(shape)
    assert list(packed) == shape.parameter_names()
    for ours, theirs in (('layers.1.attention_norm', 'model.layers.1.input_layernorm'),
                         ('layers.0.mlp_norm', 'model.layers.0.post_attention_layernorm'),
                         ('norm', 'model.norm')):
        for part in ('weight', 'bias'):
            np.testing.assert_array_equal(packed[f'{ours}.{part}'], tensors[f'{theirs}.{part}'])
            assert f'{theirs}.{part}' in loaded.folder.names


def test_the_base_of_the_rotary_embedding_has_more_than_one_name(made):
    def rename(content):
        del content['model_config']['position_embedding_base']
        content['model_config']['rope_theta'] = 500000
    edit(made / 'mlc-chat-config.json', rename)
    assert load_mlc_folder(made).llm['rope_theta'] == 500000.0


# -- what can be wrong --------------------------------------------------------------------------

@pytest.mark.parametrize('name', ['model.so', 'model-cuda.tar'])
def test_a_library_of_another_build_is_refused(tmp_path, name):
    library = tmp_path / name
    library.write_bytes(b'\x7fELF')
    message = refused(load_mlc_folder, library)
    assert str(library) in message and 'another build of TVM' in message
    assert 'compiles a library of its own' in message


def test_a_library_in_the_folder_is_left_alone_and_said_to_be(made, caplog):
    (made / 'vila-q4f16_1-cuda.so').write_bytes(b'\x7fELF')
    with caplog.at_level(logging.WARNING):
        assert load_mlc_folder(made).folder.names
    assert str(made / 'vila-q4f16_1-cuda.so') in caplog.text
    assert 'another build of TVM' in caplog.text


@pytest.mark.parametrize('field, value, said', [
    ('model_type', 'mixtral', "'mixtral'"), ('model_config', None, 'model_config'),
    ('quantization', 'q4f16_ft', "'q4f16_ft'")])
def test_a_model_or_quantization_beyond_us_is_refused_by_name(made, field, value, said):
    edit(made / 'mlc-chat-config.json', lambda content: content.update({field: value}))
    message = refused(load_mlc_folder, made)
    assert str(made / 'mlc-chat-config.json') in message and said in message


@pytest.mark.parametrize('field, value', [
    ('rope_scaling', {'rope_type': 'llama3'}), ('tensor_parallel_shards', 2),
    ('hidden_size', None), ('num_hidden_layers', 'many'), ('rms_norm_eps', 0)])
def test_a_configuration_that_we_cannot_follow_is_refused(made, field, value):
    edit(made / 'mlc-chat-config.json',
         lambda content: content['model_config'].update({field: value}))
    message = refused(load_mlc_folder, made)
    assert str(made / 'mlc-chat-config.json') in message


def test_a_folder_without_its_files_is_named(made, tmp_path):
    assert str(tmp_path / 'none') in refused(load_mlc_folder, tmp_path / 'none')
    for name in ('mlc-chat-config.json', 'tensor-cache.json'):
        (made / name).rename(tmp_path / 'aside')
        assert name in refused(load_mlc_folder, made)
        (tmp_path / 'aside').rename(made / name)
        assert load_mlc_folder(made)


@pytest.mark.parametrize('length', [None, 0, 100])
def test_a_shard_that_is_missing_or_cut_short_is_named(made, length):
    shard = made / 'params_shard_0.bin'
    if length is None:
        shard.unlink()
    else:
        shard.write_bytes(shard.read_bytes()[:length])
    assert str(shard) in refused(MlcFolder, made)


def test_a_shard_that_is_cut_short_while_it_is_read_is_a_sentence(made):
    folder = MlcFolder(made)
    held = {name: folder.array(name) for name in folder.names}
    shard = made / 'params_shard_0.bin'
    shard.write_bytes(shard.read_bytes()[:100])
    assert str(shard) in refused(folder.array, 'lm_head.q_weight')
    assert all(array.sum() is not None for array in held.values()), 'the process lives'
    shard.unlink()
    assert str(shard) in refused(folder.array, 'lm_head.q_weight')


def test_a_flipped_bit_is_found_where_it_is_looked_for(made):
    shard = made / 'params_shard_0.bin'
    data = bytearray(shard.read_bytes())
    data[1000] ^= 1
    shard.write_bytes(data)
    message = refused(load_mlc_folder, made)
    assert str(shard) in message and 'MD5' in message


def _first(content):
    return content['records'][0]['records'][0]


@pytest.mark.parametrize('change', [
    lambda content: content.pop('records'),
    lambda content: content.update(records=3),
    lambda content: content['records'][0].update(dataPath='../elsewhere.bin'),
    lambda content: content['records'][0].update(format='zip'),
    lambda content: _first(content).update(shape=[-1, 8]),
    lambda content: _first(content).update(shape=[1 << 40]),
    lambda content: _first(content).update(byteOffset=-8),
    lambda content: _first(content).update(byteOffset=1 << 40),
    lambda content: _first(content).update(dtype='object'),
    lambda content: _first(content).update(format='gzip'),
    lambda content: _first(content).pop('name'),
    lambda content: content['records'][0]['records'].append(_first(content))])
def test_an_index_that_makes_no_sense_is_named(made, change):
    edit(made / 'tensor-cache.json', change)
    assert str(made / 'tensor-cache.json') in refused(MlcFolder, made)


@pytest.mark.parametrize('text', [b'{', b'[]', b'\xff\xfe'])
def test_an_index_that_is_not_json_is_named(made, text):
    (made / 'tensor-cache.json').write_bytes(text)
    assert str(made / 'tensor-cache.json') in refused(MlcFolder, made)


def test_weights_of_another_size_or_quantization_than_the_configuration_says(made):
    folder = MlcFolder(made)
    index = str(made / 'tensor-cache.json')
    message = refused(PackedWeights, folder, small_shape(intermediate=128), False)
    assert index in message and 'model.layers.0.mlp.gate_up_proj' in message
    message = refused(PackedWeights, folder, small_shape('q4f32_1'), False)
    assert index in message and 'float16' in message and 'float32' in message
    message = refused(PackedWeights, folder, small_shape('q0f16'), False)
    assert index in message and "'model.embed_tokens.weight'" in message
