# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""One answer against its truth: right is right, wrong is wrong, in every kind of score."""
import sys

import pytest
from synthetic import question

from nanovlm_ros.bag import labels
from nanovlm_ros.bag.scoring import KINDS, score
from nanovlm_ros.types import NanoVlmError


def right(kind, text, truth, **changes):
    return score(question('q', kind, **changes), text, '', truth)['correct']


def test_exact_means_every_character():
    assert right('exact', 'Yes.', 'Yes.')
    assert not right('exact', 'yes.', 'Yes.')


@pytest.mark.parametrize('text', ['EXIT 12', 'exit  12.', ' Exit 12!\n', 'EXIT 12'])
def test_normalised_leaves_out_case_width_spaces_and_the_final_stop(text):
    assert right('normalised', text, 'EXIT 12')


@pytest.mark.parametrize('text', ['EXIT 1', 'EXIT 1 2', ''])
def test_normalised_keeps_the_rest(text):
    assert not right('normalised', text, 'EXIT 12')


def test_a_list_of_truths_is_alternatives():
    assert right('normalised', 'a person', ['A person.', 'A man.'])
    assert not right('normalised', 'a dog', ['A person.', 'A man.'])


@pytest.mark.parametrize('text, said', [
    ('Yes.', 'yes'), ('yes, a red one', 'yes'), ('"Yes"', 'yes'), ('NO', 'no'),
    ('No, none', 'no'), ('Nothing', 'other'), ('Yesterday', 'other'), ('', 'other')])
def test_yes_and_no_are_read_from_the_first_word(text, said):
    assert score(question('q', 'yes_no'), text, '', True) == {
        'correct': said == 'yes', 'said': said, 'expected': 'yes'}


def test_a_truth_beyond_yes_and_no_must_be_said_itself():
    assert right('yes_no', "I don't know.", "I don't know.")
    assert not right('yes_no', 'Banana.', "I don't know.")


@pytest.mark.parametrize('text, said', [
    ('open', 'open'), ('The door is open.', 'open'), ('OPEN', 'open'), ('half open', 'half open'),
    ('It is half open', 'half open'), ('opened', 'other'), ('open or closed', 'other')])
def test_a_choice_is_the_one_that_is_named(text, said):
    found = score(question('q', 'choice', choices=['open', 'half open', 'closed']), text, '',
                  'Closed.')
    assert found == {'correct': False, 'said': said, 'expected': 'closed'}


def test_a_truth_that_is_no_choice_is_an_error_that_names_the_choices():
    with pytest.raises(NanoVlmError, match="'ajar' of question 'q' is not one of the choices"):
        score(question('q', 'choice', choices=['open', 'closed']), 'open', '', 'ajar')


@pytest.mark.parametrize('text, said', [
    ('3', 3), ('3.', 3), ('There are two boxes and 5 balls.', 2), ('-1.5 m', -1.5), ('.5', .5),
    ('1e3', 1000), ('A-3', 3), ('none', None), ('x7', None), ('Twelve', 12)])
def test_a_number_is_the_first_in_the_text(text, said):
    assert labels.number(text) == said


def test_a_number_may_be_off_by_the_tolerance():
    asked = question('q', 'number', tolerance=0.5)
    assert score(asked, '3.5', '', 3) == {
        'correct': True, 'said': 3.5, 'expected': 3.0, 'error': 0.5}
    assert not score(asked, '3.6', '', 3)['correct']
    assert score(asked, 'many', '', 3) == {
        'correct': False, 'said': None, 'expected': 3.0, 'error': None}


def test_of_alternatives_the_nearest_number_counts():
    assert score(question('q', 'number'), '4', '', [10, 5]) == {
        'correct': False, 'said': 4.0, 'expected': 5.0, 'error': 1.0}
    assert score(question('q', 'number', tolerance=9), '4', '', [10, 5])['error'] == 1


def test_json_is_judged_field_by_field():
    asked = question('q', 'json', field_scores={'note': 'normalised', 'boxes': 'number'},
                     tolerance=1)
    truth = {'door': 'open', 'boxes': 2, 'note': 'Wet floor', 'person': True}
    found = score(asked, '', '{"door":"open","boxes":3,"note":"wet floor.","person":1,"x":0}',
                  truth)
    assert found == {'correct': False, 'valid': True, 'fields': {
        'door': True, 'boxes': True, 'note': True, 'person': False}}  # 1 is not true


@pytest.mark.parametrize('text', ['', '{"door": "op', '[]', '"open"'])
def test_json_that_is_none_or_no_object_has_no_field_right(text):
    found = score(question('q', 'json'), 'open', text, {'door': 'open'})
    assert not found['correct'] and found['fields'] == {'door': False}
    assert found['valid'] == (text in ('[]', '"open"'))


def test_json_other_than_objects_is_compared_by_value():
    assert score(question('q', 'json'), '', '[1, 2.0]', [1.0, 2])['correct']
    assert not score(question('q', 'json'), '', '[true]', [1])['correct']


@pytest.mark.parametrize('said, true, edits', [
    ('EXIT 12', 'EXIT 12', 0), ('exit 1', 'EXIT 12', 1), ('kitten', 'sitting', 3), ('', 'ab', 2)])
def test_the_distance_of_texts_is_levenshteins(said, true, edits):
    found = score(question('q', 'text_distance'), said, '', true)
    assert found == {'correct': edits == 0, 'distance': edits,
                     'similarity': 1 - edits / max(len(said), len(true))}


def test_an_unknown_kind_is_an_error_that_lists_those_there_are():
    with pytest.raises(NanoVlmError, match=', '.join(KINDS)):
        score(question('q', 'vibes'), '', '', '')


@pytest.mark.parametrize('truth', ['many', float('nan'), float('inf')])
def test_a_number_cannot_be_compared_with_what_is_none(truth):
    with pytest.raises(NanoVlmError, match=f"truth {truth!r} of question 'q' is not a number"):
        score(question('q', 'number'), '3', '', truth)


def test_without_rapidfuzz_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, 'rapidfuzz.distance', None)
    with pytest.raises(NanoVlmError, match=r'needs rapidfuzz; .*nanovlm_ros\[eval\]'):
        score(question('q', 'text_distance'), 'a', '', 'b')
