# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A bundle is the model it was made of, but for weights that are converted already."""
import json
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / 'mlc'))  # decoders

from decoders import checkpoint_tensors, small_shape, write_folder  # noqa: E402
from families import FAMILIES  # noqa: E402

from nanovlm_ros.mlc.mlc_folder import MlcFolder  # noqa: E402
from nanovlm_ros.models.bundle import MARK, SAID, write_bundle  # noqa: E402
from nanovlm_ros.models.fill import without_prefix  # noqa: E402
from nanovlm_ros.models.layouts import open_model_folder  # noqa: E402
from nanovlm_ros.models.tokenizer import Tokenizer  # noqa: E402
from nanovlm_ros.types import NanoVlmError  # noqa: E402


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    """Converted weights; a bundle takes them as they are."""
    return MlcFolder(write_folder(tmp_path_factory.mktemp('converted') / 'mlc', small_shape(),
                                  checkpoint_tensors()))


@pytest.fixture(scope='module', params=FAMILIES)
def pair(request, weights, tmp_path_factory):
    """Return the checkpoint of a family, and that of its bundle."""
    family, folder = FAMILIES[request.param], tmp_path_factory.mktemp('model')
    family.make(folder / family.name)
    checkpoint = open_model_folder(folder / family.name, trust_pickle=family.pickled)
    (folder / 'bundle').mkdir()
    write_bundle(checkpoint, weights, folder / 'bundle')
    return checkpoint, open_model_folder(folder / 'bundle')


def test_a_bundle_says_what_the_checkpoint_said(pair):
    checkpoint, bundle = pair
    for name in SAID:
        assert getattr(bundle, name) == getattr(checkpoint, name)
    assert bundle.shape(small_shape().quantization) == checkpoint.shape(small_shape().quantization)


def test_the_vision_half_is_there_tensor_by_tensor(pair):
    checkpoint, bundle = pair
    for before, after in (
            (without_prefix(checkpoint.vision_weights(), 'vision_model.'),
             bundle.vision_weights()),
            (checkpoint.projector_weights(), bundle.projector_weights())):
        before, after = before.all(), after.all()
        assert before.keys() == after.keys() and before
        for name, tensor in before.items():
            assert tensor.dtype == after[name].dtype and torch.equal(tensor, after[name])
    before, after = checkpoint.image_newline(), bundle.image_newline()
    assert (before is None) == (after is None)
    assert before is None or torch.equal(before, after)


def test_the_tokenizer_is_the_same(pair):
    ours, theirs = (Tokenizer(checkpoint.llm_folder) for checkpoint in pair)
    text = ' What is shown,  please?\n'
    assert ours.encode(text) == theirs.encode(text) and ours.stop_ids == theirs.stop_ids
    assert ours.vocab_size == theirs.vocab_size


def test_the_weights_are_the_converted_ones_and_no_others(pair, weights):
    _, bundle = pair
    folder = MlcFolder(bundle.converted)
    folder.verify()
    assert folder.names == weights.names and folder.config() == weights.config()
    assert {path.name for path in bundle.path.iterdir()} == {MARK, 'vision.safetensors', 'llm'}
    assert not list(bundle.path.rglob('*.bin.index.json')) and not list(
        bundle.path.rglob('*.so'))
    with pytest.raises(NanoVlmError, match='converted weights only'):
        bundle.llm_weights()


def test_a_bundle_of_another_release_is_refused_with_what_to_do(pair, tmp_path):
    said = json.loads((pair[1].path / MARK).read_text())
    del said['projector_type']
    (tmp_path / MARK).write_text(json.dumps(said))
    with pytest.raises(NanoVlmError, match="projector_type.*nanovlm compile"):
        open_model_folder(tmp_path)
