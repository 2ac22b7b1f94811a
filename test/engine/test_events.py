# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A rule says what is wrong with it; an event begins, is seen last, and ends as it says."""
import json

import numpy as np
import pytest

from nanovlm_ros.engine.events import Event, Rule

SECOND = 1_000_000_000


def rule(**fields):
    """A rule; `text` unless there is a field."""
    if 'field' not in fields:
        fields.setdefault('text', '^yes')
    return Rule.parse(json.dumps({'name': 'person', **fields}))


def field(name, value):
    return rule(field=name, value=value)


def states(made, *observed):
    """Observe (seconds, met) pairs; return what is news as (active, begin, last, end) in s."""
    news = []
    for seconds, met in observed:
        if made.observe(round(seconds * SECOND), 'Is it?', 'Yes.' if met else 'No.', ''):
            news.append((made.active, *(ns / SECOND for ns in (
                made.begin_ns, made.last_ns, made.end_ns))))
    return news


# -- rules --------------------------------------------------------------------------------------

def test_a_rule_keeps_what_it_was_given():
    made = Rule.parse('{"name": "Open_door2", "prompt": "Is it?", "field": "a.b", "value": null, '
                      '"hold": 1.5}')
    assert (made.name, made.prompt, made.text, made.field, made.value, made.hold) == (
        'Open_door2', 'Is it?', None, 'a.b', None, 1.5)
    plain = rule()
    assert (plain.prompt, plain.field, plain.value, plain.hold) == ('', '', None, 0.0)


@pytest.mark.parametrize('document, said', [
    ('person', 'is not JSON'),
    ('', 'is not JSON'),
    ('[' * 100_000, 'is not JSON'),
    ('[]', 'is not an object of the keys field, hold, name, prompt, text, value'),
    ('"person"', 'is not an object'),
    ('{"name": "a", "text": "b", "colour": 1}', 'is not an object of the keys'),
    ('{"text": "b"}', 'The name of a rule is None'),
    ('{"name": 7, "text": "b"}', 'The name of a rule is 7'),
    ('{"name": "", "text": "b"}', "The name of a rule is ''"),
    ('{"name": "a b", "text": "b"}', 'use letters, digits and underscores'),
    ('{"name": "a/b", "text": "b"}', 'use letters, digits and underscores'),
    ('{"name": "2a", "text": "b"}', 'use letters, digits and underscores'),
    ('{"name": "_a", "text": "b"}', 'use letters, digits and underscores'),
    ('{"name": "tür", "text": "b"}', 'use letters, digits and underscores'),
    ('{"name": "a\\n", "text": "b"}', 'use letters, digits and underscores'),
    (json.dumps({'name': 'a' * 101, 'text': 'b'}), 'at most 100'),
    ('{"name": "a"}', 'needs either "text", or "field" and "value"'),
    ('{"name": "a", "text": "b", "field": "c", "value": 1}', 'needs either "text"'),
    ('{"name": "a", "text": "b", "value": 1}', 'needs either "text"'),
    ('{"name": "a", "field": "c"}', 'needs either "text"'),
    ('{"name": "a", "value": 1}', 'needs either "text"'),
    ('{"name": "a", "text": 1}', '"text" of the rule \'a\' is 1; it must be a string'),
    ('{"name": "a", "text": null}', '"text" of the rule \'a\' is None; it must be a string'),
    ('{"name": "a", "field": 1, "value": 1}', '"field" of the rule \'a\' is 1'),
    ('{"name": "a", "text": "b", "prompt": ["c"]}', '"prompt" of the rule \'a\' is [\'c\']'),
    ('{"name": "a", "text": "(b"}', '"text" of the rule \'a\' is not a regular expression'),
    ('{"name": "a", "text": "b{99999999999999999999}"}', 'is not a regular expression'),
    ('{"name": "a", "text": "b", "hold": -1}', '"hold" of the rule \'a\' is -1'),
    ('{"name": "a", "text": "b", "hold": "1"}', '"hold" of the rule \'a\' is \'1\''),
    ('{"name": "a", "text": "b", "hold": true}', '"hold" of the rule \'a\' is True'),
    ('{"name": "a", "text": "b", "hold": null}', '"hold" of the rule \'a\' is None'),
    ('{"name": "a", "text": "b", "hold": NaN}', '"hold" of the rule \'a\' is nan'),
    ('{"name": "a", "text": "b", "hold": 1e999}', '"hold" of the rule \'a\' is inf'),
    ('{"name": "a", "text": "b", "hold": 1%s}' % ('0' * 400), '"hold" of the rule \'a\'')])
def test_a_rule_that_cannot_be_is_a_sentence(document, said):
    with pytest.raises(ValueError) as caught:
        Rule.parse(document)
    assert said in str(caught.value)
    assert str(caught.value).endswith('.')


def test_a_rule_is_about_its_prompt_and_without_one_about_every_prompt():
    assert rule(prompt='Is it?').verdict('Is it?', 'yes', '') is True
    assert rule(prompt='Is it?').verdict('Is it', 'yes', '') is None
    assert rule().verdict('Is it?', 'yes', '') and rule().verdict('Who?', 'yes', '{}')


@pytest.mark.parametrize('document', ['', '{}', '{"window": "open"}', '["open"]', 'null'])
def test_an_answer_without_the_field_says_nothing_about_it(document):
    assert field('door', 'open').verdict('Who?', '{"door": "open', document) is None


@pytest.mark.parametrize('text, met', [
    ('Yes.', True), ('yes', True), ('No, yes', False), ('', False)])
def test_text_is_searched_without_regard_to_case(text, met):
    assert rule(text='^yes').verdict('', text, '') is met
    assert rule(text='YES$').verdict('', 'oh yes', '')


def test_text_is_that_of_the_answer_also_where_there_is_json():
    assert rule(text='"door": *"open"').verdict('', '{"door":"open"}', '{"door":"open"}')


@pytest.mark.parametrize('value, document, met', [
    ('open', '{"door": "open"}', True), ('open', '{"door": "Open"}', False),
    ('open', '{"window": "open"}', None), ('open', '{}', None), ('open', '["open"]', None),
    ('open', '"open"', None), ('open', 'null', None),
    (2, '{"door": 2}', True), (2, '{"door": 2.0}', True), (2, '{"door": "2"}', False),
    (1, '{"door": true}', False), (True, '{"door": 1}', False), (True, '{"door": true}', True),
    (0, '{"door": false}', False), (False, '{"door": 0}', False), (False, '{"door": false}', True),
    ([1], '{"door": [true]}', False), ([1, 2], '{"door": [1, 2]}', True),
    ([1], '{"door": [1, 2]}', False), ({'a': 1}, '{"door": {"a": true}}', False),
    ({'a': [0]}, '{"door": {"a": [0]}}', True), ({'a': 1}, '{"door": {"b": 1}}', False),
    (None, '{"door": null}', True), (None, '{}', None), (None, '{"door": 0}', False)])
def test_a_field_has_its_value_and_no_other(value, document, met):
    assert field('door', value).verdict('', 'text', document) is met


@pytest.mark.parametrize('document, met', [
    ('{"a": {"b": {"c": 7}}}', True), ('{"a": {"b": {"c": 8}}}', False), ('{"a": {"b": 7}}', None),
    ('{"a": 7}', None), ('{"a": [{"b": {"c": 7}}]}', None), ('{"a.b.c": 7}', None)])
def test_dots_lead_into_objects(document, met):
    assert field('a.b.c', 7).verdict('', '', document) is met


# -- events -------------------------------------------------------------------------------------

def test_an_event_begins_is_seen_and_ends_once():
    made = Event(rule())
    assert states(made, (1, False), (2, True), (3, True), (4, False), (5, False)) == [
        (True, 2, 2, 0), (True, 2, 3, 0), (False, 2, 3, 4)]


def test_a_second_event_forgets_the_end_of_the_first():
    made = Event(rule())
    assert states(made, (1, True), (2, False), (7, True), (8, False)) == [
        (True, 1, 1, 0), (False, 1, 1, 2), (True, 7, 7, 0), (False, 7, 7, 8)]


def test_it_goes_on_for_its_hold_and_ends_with_the_first_image_that_did_not_show_it():
    made = Event(rule(hold=2))
    assert states(made, (1, True), (2, False), (3, False), (3.1, False)) == [
        (True, 1, 1, 0), (False, 1, 1, 2)]
    made = Event(rule(hold=2))
    assert states(made, (1, True), (2.9, False), (3, True), (5, False), (5.5, True)) == [
        (True, 1, 1, 0), (True, 1, 3, 0), (True, 1, 5.5, 0)]


def test_answers_of_one_stamp_count_as_they_come():
    made = Event(rule())
    assert states(made, (1, True), (1, True)) == [(True, 1, 1, 0)] * 2
    assert states(made, (1, False)) == []  # no time has passed since it was seen


def test_a_stamp_before_the_newest_makes_all_before_it_undone():
    made = Event(rule(hold=5))
    assert states(made, (100, True), (3, False)) == [(True, 100, 100, 0), (False, 0, 0, 0)]
    made = Event(rule(hold=5))
    assert states(made, (100, True), (3, True), (9, False)) == [
        (True, 100, 100, 0), (True, 3, 3, 0), (False, 3, 3, 9)]
    made = Event(rule())
    assert states(made, (1, True), (90, False), (2, False), (3, True)) == [
        (True, 1, 1, 0), (False, 1, 1, 90), (True, 3, 3, 0)]


def test_any_sequence_is_told_as_its_definition_says():
    r = np.random.default_rng(3)
    for hold in (0, 0.5, 3):
        for _ in range(50):
            made, seen, begun, unseen = Event(rule(hold=hold)), None, None, None
            times = np.cumsum(r.integers(1, 20, 40)) / 10
            for at, met in zip(times, r.random(40) < 0.4):
                was = made.active
                news = made.observe(round(at * SECOND), '', 'yes' if met else 'no', '')
                if met:
                    seen, begun, unseen = at, begun if was else at, None
                unseen = at if unseen is None and not met else unseen
                over = was and not met and round((at - seen) * 10) > hold * 10
                assert made.active == (met or (was and not over))
                assert news == (met or over)
                if news:
                    assert made.begin_ns == round(begun * SECOND)
                    assert made.last_ns == round(seen * SECOND)
                    assert made.end_ns == (round(unseen * SECOND) if over else 0)


@pytest.mark.parametrize('order', [('A', 'B'), ('B', 'A')])
def test_it_goes_on_while_one_of_several_prompts_shows_it_whatever_their_order(order):
    made, news = Event(rule()), []
    says = {1: 'AB', 2: 'A', 3: 'A', 4: '', 5: ''}  # second: the prompts that show it
    for second, shown in says.items():
        for prompt in order:
            text = 'yes' if prompt in shown else 'no'
            if made.observe(second * SECOND, prompt, text, ''):
                news.append((made.active, made.begin_ns // SECOND, made.end_ns // SECOND))
    assert set(news[:-1]) == {(True, 1, 0)} and news[-1] == (False, 1, 4)


def test_answers_of_another_schema_do_not_end_it():
    made = Event(field('door', 'open'))
    for second in (1, 2, 3):
        made.observe(second * SECOND, 'A', '', '{"door": "open"}')
        assert not made.observe(second * SECOND, 'B', '', '{"people": 2}')
        assert made.active and made.begin_ns == SECOND
