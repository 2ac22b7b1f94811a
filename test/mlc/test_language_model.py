# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The compiled decoder against transformers with the same dequantised weights."""
import numpy as np
import pytest
import torch
from activations import round_activations
from transformers import LlamaConfig, LlamaForCausalLM, StableLmConfig, StableLmForCausalLM

from nanovlm_ros.engine.build import library
from nanovlm_ros.mlc.convert import convert_decoder
from nanovlm_ros.mlc.kv_cache import OutOfSlots
from nanovlm_ros.mlc.language_model import open_language_model
from nanovlm_ros.mlc.packing import QUANTIZATIONS, round_trip
from nanovlm_ros.mlc.shape import FLOAT32, INT8, LAYER_NORM, DecoderShape
from nanovlm_ros.mlc.target import Target
from nanovlm_ros.types import ErrorCode, NanoVlmError

VOCAB, HIDDEN = 160, 64
TOLERANCE = {'q0f32': 1e-3, 'q0f16': 1e-3, 'q4f32_1': 2e-3, 'q4f16_1': 2e-3}
# A number that the last bit rounds to the next of 127 steps moves all that follow.
INT8_TOLERANCE = 0.1
CUDA_TOLERANCE = 2e-2  # float16 between the products
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason='this machine has no GPU')


@pytest.fixture(scope='module', params=[
    *(('llama', name, FLOAT32, 'cpu') for name in QUANTIZATIONS),
    ('stablelm', 'q0f32', FLOAT32, 'cpu'), ('stablelm', 'q4f16_1', FLOAT32, 'cpu'),
    ('llama', 'q4f32_1', INT8, 'cpu'),
    *(pytest.param((family, name, FLOAT32, 'cuda'), marks=needs_gpu) for family, name in (
        ('llama', 'q4f16_1'), ('llama', 'q0f16'), ('stablelm', 'q4f16_1')))],
    ids='-'.join)
def pair(request):
    """Return our decoder, the reference over the same weights, and the tolerance."""
    family, name, activations, device = request.param
    quantization = QUANTIZATIONS[name]
    torch.manual_seed(0)
    shape, reference = (llama if family == 'llama' else stablelm)(quantization)
    shape, state = shape.on(device, activations), reference.state_dict()
    weights = dict(convert_decoder(shape, lambda name: state[name].numpy().copy(), tied=False))
    for tensor in state.values():
        if tensor.ndim == 2:
            tensor.copy_(torch.from_numpy(round_trip(tensor.numpy(), quantization)))
    if activations == INT8:
        round_activations(reference)
    model = open_language_model(
        shape, library(shape, lambda *_: None, Target.here(device)), weights,
        rope_theta=10000.0, positions=256, slots=400)
    if device == 'cuda':
        return model, reference, CUDA_TOLERANCE
    return model, reference, (
        INT8_TOLERANCE if activations == INT8 else TOLERANCE[name])


def llama(quantization):
    """Grouped-query attention."""
    shape = DecoderShape(
        hidden=HIDDEN, intermediate=96, layers=3, q_heads=4, kv_heads=2, head_dim=16, vocab=VOCAB,
        norm_eps=1e-5, quantization=quantization)
    return shape, LlamaForCausalLM(LlamaConfig(
        vocab_size=VOCAB, hidden_size=HIDDEN, intermediate_size=96, num_hidden_layers=3,
        num_attention_heads=4, num_key_value_heads=2, rms_norm_eps=1e-5,
        initializer_range=0.15)).eval()


def stablelm(quantization):
    """Heads of 80 of which 20 are rotated, norms with a bias."""
    shape = DecoderShape(
        hidden=160, intermediate=96, layers=3, q_heads=2, kv_heads=2, head_dim=80, vocab=VOCAB,
        norm_eps=1e-5, quantization=quantization, norm=LAYER_NORM, rotary_dim=20)
    reference = StableLmForCausalLM(StableLmConfig(
        vocab_size=VOCAB, hidden_size=160, intermediate_size=96, num_hidden_layers=3,
        num_attention_heads=2, num_key_value_heads=2, layer_norm_eps=1e-5, use_qkv_bias=False,
        initializer_range=0.1)).eval()
    for name, parameter in reference.named_parameters():
        if parameter.ndim == 1:  # of a norm; float16 holds it without loss, as published
            torch.nn.init.normal_(parameter, float(name.endswith('weight')), 0.1)
            parameter.data = parameter.data.half().float()
    return shape, reference


def rows_of(model, ids):
    return model.embed(ids).clone()


def zeros(model, reference, rows):
    return torch.zeros(rows, reference.config.hidden_size, device=model.device)


def expected(reference, ids):
    with torch.no_grad():
        return reference(torch.tensor([ids])).logits[0].numpy()


def close(model, tolerance):
    """How far apart two ways to the same logits may end."""
    return tolerance / 10 if model.device.type == 'cpu' else tolerance


def random_ids(count):
    return np.random.default_rng(count).integers(0, VOCAB, count).tolist()


def test_prefill_and_32_decode_steps_equal_the_reference(pair):
    model, reference, tolerance = pair
    ids = random_ids(50)
    sequence = model.cache.add()
    logits = model.run([(sequence, 50)], rows_of(model, ids))[0].cpu().numpy()
    for _ in range(32):
        assert np.abs(logits - expected(reference, ids)[-1]).max() < tolerance
        ids.append(int(logits.argmax()))
        logits = model.decode([(sequence, ids[-1])])[0].cpu().numpy()
    model.cache.remove(sequence)


def test_the_cached_path_equals_the_uncached_one(pair):
    model, _, tolerance = pair
    ids = random_ids(40)
    whole, parts = model.cache.add(), model.cache.add()
    at_once = model.run([(whole, 40)], rows_of(model, ids))
    for start, stop in [(0, 17), (17, 18), (18, 40)]:
        in_parts = model.run([(parts, stop - start)], rows_of(model, ids[start:stop]))
    np.testing.assert_allclose(in_parts.cpu(), at_once.cpu(), atol=close(model, tolerance))
    model.cache.remove(whole)
    model.cache.remove(parts)


def test_a_batch_that_comes_again_gives_the_same_logits(pair):
    model, reference, tolerance = pair  # on a GPU it is recorded when it comes for the second time
    first, *others = (model.cache.add() for _ in range(5))
    ids = random_ids(21)
    for sequence in [first, *others]:
        logits = model.run([(sequence, 21)], rows_of(model, ids))[0].cpu().numpy()
        assert np.abs(logits - expected(reference, ids)[-1]).max() < tolerance
    other_ids = random_ids(22)[1:]
    model.cache.drop(first, 0, 21)
    logits = model.run([(first, 21)], rows_of(model, other_ids))[0].cpu().numpy()
    assert np.abs(logits - expected(reference, other_ids)[-1]).max() < tolerance
    for sequence in [first, *others]:
        model.cache.remove(sequence)


def test_sequences_of_any_lengths_decode_together(pair):
    model, reference, tolerance = pair
    lengths = [3, 70, 41, 1, 17, 5, 2, 8, 30]  # more than a product takes at a time
    ids = [random_ids(length + 2) for length in lengths]
    sequences = [model.cache.add() for _ in lengths]
    model.run(list(zip(sequences, lengths)),
              rows_of(model, sum((i[:-2] for i in ids), [])))
    for step in (-2, -1):
        logits = model.decode([(s, i[step]) for s, i in zip(sequences, ids)]).cpu().numpy()
    for row, own in zip(logits, ids):
        assert np.abs(row - expected(reference, own)[-1]).max() < tolerance
    for sequence in sequences:
        model.cache.remove(sequence)


@pytest.mark.parametrize('together', [1, 2])
def test_nothing_is_left_of_a_step_of_longer_sequences(pair, together):
    model, _, tolerance = pair
    long, short, alone = ([model.cache.add() for _ in range(together)] for _ in range(3))
    for sequences, length in ((long, 60), (short, 5), (alone, 5)):
        for sequence in sequences:
            model.run([(sequence, length)], rows_of(model, random_ids(length)))
    model.decode([(sequence, 9) for sequence in long])
    after = model.decode([(sequence, 7) for sequence in short]).cpu().clone()
    for row, sequence in zip(after, alone):
        expected = model.run([(sequence, 1)], rows_of(model, [7]))[0].cpu()
        np.testing.assert_allclose(row, expected, atol=close(model, tolerance))
    for sequence in [*long, *short, *alone]:
        model.cache.remove(sequence)


def test_a_step_that_is_repeated_gives_the_same_logits_to_the_last_bit(pair):
    model, *_ = pair
    sequence = model.cache.add()
    model.run([(sequence, 90)], rows_of(model, random_ids(90)))
    first = model.decode([(sequence, 7)]).clone()
    for _ in range(100):
        model.cache.drop(sequence, 90, 91)
        assert torch.equal(model.decode([(sequence, 7)]), first)
    model.cache.remove(sequence)


def test_a_batch_of_forks_equals_each_one_alone(pair):
    model, reference, tolerance = pair
    prefix, tails = random_ids(33), [random_ids(n) for n in (1, 4, 9)]
    parent = model.cache.add()
    model.run([(parent, 33)], rows_of(model, prefix))
    forks = [model.cache.fork(parent, 33) for _ in tails]
    logits = model.run([(fork, len(tail)) for fork, tail in zip(forks, tails)],
                       rows_of(model, sum(tails, [])))
    for row, tail in zip(logits, tails):
        assert np.abs(row.cpu().numpy() - expected(reference, prefix + tail)[-1]).max() < tolerance
    for sequence in [parent, *forks]:
        model.cache.remove(sequence)
    assert model.cache.free == model.cache.slots


def test_rows_dropped_from_the_middle_leave_the_others_at_their_new_places(pair):
    model, _, tolerance = pair
    # With one layer's worth of context-free K and V (the first token's), dropping
    # the rows of a repeated prefix must equal never having had them.
    first, second = [7] * 5, random_ids(6)
    dropped, direct = model.cache.add(), model.cache.add()
    model.run([(dropped, 10)], rows_of(model, first + first))
    model.cache.drop(dropped, 5, 10)
    model.run([(direct, 5)], rows_of(model, first))
    left = model.run([(dropped, 6)], rows_of(model, second))
    right = model.run([(direct, 6)], rows_of(model, second))
    np.testing.assert_allclose(left.cpu(), right.cpu(), atol=close(model, tolerance))
    model.cache.remove(dropped)
    model.cache.remove(direct)


def test_a_batch_that_does_not_fit_changes_nothing(pair):
    model, reference, _ = pair
    sequence, other = model.cache.add(), model.cache.add()
    with pytest.raises(OutOfSlots):
        model.run([(sequence, 200), (other, 250)], zeros(model, reference, 450))
    assert model.cache.length(sequence) == model.cache.length(other) == 0
    assert model.cache.free == model.cache.slots
    model.cache.remove(sequence)
    model.cache.remove(other)


def test_a_sequence_longer_than_the_context_is_refused_and_changes_nothing(pair):
    model, reference, _ = pair
    sequence = model.cache.add()
    with pytest.raises(NanoVlmError) as caught:
        model.run([(sequence, 257)], zeros(model, reference, 257))
    assert caught.value.code == ErrorCode.CONTEXT_OVERFLOW
    assert '257 rows' in caught.value.message and '256' in caught.value.message
    assert model.cache.length(sequence) == 0
    model.cache.remove(sequence)


@pytest.mark.parametrize('ids', [[1, VOCAB], [-1]])
def test_an_id_that_has_no_row_is_refused(pair, ids):
    with pytest.raises(NanoVlmError, match='different models'):
        pair[0].embed(ids)
