# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Flips and onsets, counted by hand."""
import numpy as np
import pytest
from synthetic import SECOND, START, question, row

from nanovlm_ros.bag import timeline
from nanovlm_ros.bag.metrics import summarise_question

PERSON = question('person', 'yes_no', event='Yes.')


def rows(said, truth, period=10, **changes):
    """One row a letter: y yes, n no, ? something else, - no truth; 10 stamps apart is 1 s."""
    words = {'y': 'Yes.', 'n': 'No.', '?': 'Maybe.', '-': None}
    random = np.random.default_rng(0)
    return [{**row(PERSON, i * period, words[s], words[t], 0, random, 'drive'), **changes}
            for i, (s, t) in enumerate(zip(said, truth))]


def onsets(said, truth, **changes):
    (moments,) = timeline.series(PERSON, rows(said, truth, **changes))
    return timeline.onsets(PERSON, moments), timeline.false_onsets(PERSON, moments)


def test_flips_are_counted_between_neighbours():
    found = summarise_question(PERSON, rows('nyyyn', 'nnyyn'))['metrics']
    assert found['flip_rate']['value'] == 2 / 4
    assert found['truth_flip_rate']['value'] == 2 / 4
    assert found['spurious_flip_rate']['value'] == 1 / 2  # of the pairs n n and y y
    assert [found[name]['n'] for name in (
        'flip_rate', 'truth_flip_rate', 'spurious_flip_rate')] == [4, 4, 2]


def test_an_answer_in_other_words_is_no_flip():
    some = rows('yy', 'yy')
    some[1]['text'] = 'Yes, one.'
    assert summarise_question(PERSON, some)['metrics']['flip_rate']['value'] == 0


def test_series_of_bags_cameras_and_phrasings_do_not_mix():
    some = [*rows('yy', 'yy'), *rows('nn', 'yy', bag='other'), *rows('nn', 'yy', camera='/rear'),
            *rows('nn', 'yy', phrasing=1)]
    assert len(timeline.series(PERSON, some)) == 4
    found = summarise_question(PERSON, some)['metrics']['flip_rate']
    assert (found['value'], found['n']) == (0, 4)


def test_rows_in_any_order_give_the_same_series():
    some = rows('nyynn', 'nnyyn')
    assert timeline.series(PERSON, some[::-1]) == timeline.series(PERSON, some)


def test_the_delay_of_an_onset_is_from_the_truth_to_the_first_answer():
    (onset,), false = onsets('nnnyy', 'nyyyy')
    assert (onset.stamp_ns, onset.delay_s, onset.reaction_s, false) == (
        START + SECOND, 2.0, None, 0)


def test_in_a_replay_the_answer_itself_takes_time_too():
    measured = {**rows('y', 'y')[0]['measured'], 'age_s': 0.25}
    (onset,), _ = onsets('nny', 'nyy', measured=measured)
    assert (onset.delay_s, onset.reaction_s) == (1.0, 1.25)


def test_an_answer_that_was_there_already_has_no_delay():
    (onset,), _ = onsets('yyy', 'nyy')
    assert onset.delay_s == 0


def test_an_event_that_nobody_noticed_before_it_ended_is_missed():
    found, false = onsets('nnnny', 'nyynn')
    assert [onset.delay_s for onset in found] == [None]
    assert false == 1  # the answer at the end


def test_what_had_begun_before_the_recording_is_no_onset():
    assert onsets('yyyy', 'yyyn')[0] == []
    assert onsets('yyyy', '-yyn')[0] == []


def test_an_answer_without_a_truth_is_no_false_onset():
    assert onsets('nyn', 'n-n') == ([], 0)
    assert onsets('nynyyn', 'nnnnnn') == ([], 2)


def test_events_are_summed_up():
    found = summarise_question(PERSON, rows('nnynnnnyn', 'nyynnyynn'))['events']
    assert {name: found[name] for name in ('event', 'onsets', 'missed', 'false_onsets')} == {
        'event': 'Yes.', 'onsets': 2, 'missed': 1, 'false_onsets': 1}
    assert found['metrics']['onsets_noticed']['value'] == 0.5
    assert found['metrics']['onset_delay_s']['value'] == 1.0


@pytest.mark.parametrize('document, shown', [
    ('{"door": "open", "boxes": 2}', True), ('{"door": "closed"}', False), ('{}', False),
    ('[]', False), ('', False)])
def test_the_event_of_a_json_question_is_a_document_with_those_fields(document, shown):
    asked = question('report', 'json', event='{"door": "open"}')
    said = timeline.labels.answer_label(
        asked, {'error_code': 0, 'json': document, 'text': document})
    assert timeline.labels.shows(asked, said, asked['event']) == shown
