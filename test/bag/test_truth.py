# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Truths come from constants, label files and topics; labels that match nothing are refused."""
import pytest
from recordings import (
    ROS2, STRING, TOPIC, film, ns, write_bag, write_lines, write_questions)

from nanovlm_ros.bag.plan import Sampling, make_plans
from nanovlm_ros.bag.questions import load_questions
from nanovlm_ros.bag.reader import named
from nanovlm_ros.bag.truth import Truths, check_labels
from nanovlm_ros.types import NanoVlmError


@pytest.fixture
def truths(tmp_path):
    """Return a function: truth, label lines -> the truth of each of ten images."""
    def read(truth, *lines, topics=None, **question):
        write_lines(tmp_path / 'labels.jsonl', *lines)
        path = write_bag(tmp_path / 'night', {TOPIC: film(10), **(topics or {})})
        questions = load_questions(write_questions(tmp_path, {'truth': truth, **question}))
        plan, = make_plans(named([path]), questions, Sampling())
        made = Truths(plan, questions, tmp_path)
        check_labels([made])
        return [made.of(0, ns(n / 10), ns(n / 10)) for n in range(10)]
    return read


LABELS = {'labels': 'labels.jsonl', 'field': 'door'}


def test_a_constant_holds_always(truths):
    assert truths({'constant': 'Yes.'}) == ['Yes.'] * 10


def test_labels_hold_in_half_open_ranges_of_stamps(truths):
    assert truths(LABELS, {'start_ns': ns(0.1), 'end_ns': ns(0.3), 'door': 'open'},
                  {'start_ns': ns(0.3), 'end_ns': ns(0.4), 'door': 'closed', 'x': 1}) == [
        None, 'open', 'open', 'closed', *[None] * 6]


def test_labels_may_count_seconds_and_name_their_bag(truths):
    assert truths(LABELS, {'bag': 'night', 'start': 0.0, 'end': 0.2, 'door': False},
                  {'bag': 'day', 'start': 0.0, 'end': 9, 'door': True})[:3] == [
        False, False, None]


def test_the_last_message_of_a_topic_holds(truths):
    said = [(at, ROS2.types[STRING](data=text)) for at, text in ((0.15, 'open'), (0.3, 'closed'))]
    assert truths({'topic': '/door', 'field': 'data'}, topics={'/door': said})[:5] == [
        None, None, 'open', 'closed', 'closed']


def test_a_topic_of_json_text_is_read_for_a_json_score(truths):
    said = [(0.0, ROS2.types[STRING](data='{"a": 1}'))]
    assert truths({'topic': '/door', 'field': 'data'}, topics={'/door': said},
                  json_schema={'type': 'object'})[0] == {'a': 1}


@pytest.mark.parametrize('lines, said', [
    ([{'start': 0, 'end': 1, 'window': 1}], "no line with the field 'door'"),
    ([{'start': 50, 'end': 60, 'door': 1}], 'matches an image'),
    ([{'bag': 'day', 'start': 0, 'end': 1, 'door': 1}], "for the bag 'night'"),
    ([{'start': 0, 'end': 2, 'door': 1}, {'start': 1, 'end': 3, 'door': 2}], 'lines 1 and 2'),
    ([{'start': 1, 'end': 1, 'door': 1}], 'line 1: the range'),
    ([{'start': 1, 'end': float('inf'), 'door': 1}], 'line 1: a label needs'),
    ([{'from': 0, 'door': 1}], 'line 1: a label needs'), (['x'], 'line 1: a label needs')])
def test_labels_that_match_nothing_or_are_broken_are_refused(truths, lines, said):
    with pytest.raises(NanoVlmError, match=said):
        truths(LABELS, *lines)


def test_a_label_file_that_is_not_there_is_named(truths):
    with pytest.raises(NanoVlmError, match='missing.jsonl cannot be read'):
        truths({'labels': 'missing.jsonl', 'field': 'door'})


@pytest.mark.parametrize('truth, said', [
    ({'topic': '/window', 'field': 'data'}, 'its topics are: /camera/image'),
    ({'topic': '/door', 'field': 'state'}, 'the fields are: data'),
    ({'topic': TOPIC, 'field': 'header'}, 'name one of its fields')])
def test_a_topic_or_field_that_is_not_there_lists_those_that_are(truths, truth, said):
    door = {'/door': [(0, ROS2.types[STRING](data='open'))]}
    with pytest.raises(NanoVlmError, match=said):
        truths(truth, topics=door)
