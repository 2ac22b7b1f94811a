# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Runs of the evaluation with a fake engine: rows, going on after a stop, and refusals."""
import json
import resource
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from recordings import (
    ROS2, STRING, TOPIC, FakeSpec, cut_rows, film, image, ns, read_lines, write_bag,
    write_questions)

from nanovlm_ros.bag.diff import compare
from nanovlm_ros.bag.engine import fingerprint
from nanovlm_ros.bag.outputs import summarise
from nanovlm_ros.bag.pictures import from_bags
from nanovlm_ros.bag.plan import Sampling
from nanovlm_ros.bag.result_folder import read_results
from nanovlm_ros.types import NanoVlmError

HERE = Path(__file__).parent
PATIENCE = 60  # s


def rows(folder):
    return read_lines(folder / 'results.jsonl')


def test_each_row_says_what_was_asked_seen_and_answered(options, evaluate):
    assert evaluate(options)[0] == 0
    row = next(r for r in rows(options.out) if r['question'] == 'w' and r['log_ns'] == ns(0.8))
    assert row['text'] == 'ask 1|4,6,8|1' and row['prompt'] == 'ask 1'
    assert [i['stamp_ns'] for i in row['images']] == [ns(0.4), ns(0.6), ns(0.8)]
    assert (row['stamp_ns'], row['camera'], row['frame_id']) == (ns(0.8), TOPIC, 'optical')
    assert (row['truth'], row['score'], row['finish_reason']) == (None, None, 'stop')


def test_rows_are_scored_against_their_truth(options, evaluate):
    evaluate(options)
    said = [(r['text'], r['score']['correct']) for r in rows(options.out) if r['question'] == 'q0']
    assert ('one|3|1', True) in said and sum(right for _, right in said) == 1
    labelled = [r for r in rows(options.out) if r['question'] == 'l']
    assert [r['truth'] for r in labelled] == list(range(40))


def test_rows_are_in_the_order_of_bag_time_question_phrasing(options, evaluate):
    evaluate(options)
    keys = [(r['log_ns'], r['question'] != 'q0', r['question'] != 'w', r['phrasing'])
            for r in rows(options.out)]
    assert keys == sorted(keys) and len(keys) == 40 * 3 + 10


def test_twice_the_same_command_gives_the_same_rows(options, evaluate, tmp_path):
    evaluate(options)
    evaluate(options, out=tmp_path / 'again')
    assert rows(options.out) == rows(tmp_path / 'again')
    before = (options.out / 'results.jsonl').read_bytes()
    evaluate(options)  # there is nothing left to do
    assert (options.out / 'results.jsonl').read_bytes() == before


def test_a_torn_row_is_made_again(options, evaluate):
    evaluate(options)
    path = options.out / 'results.jsonl'
    whole = rows(options.out)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b''.join(lines[:50]) + lines[50][:20])
    evaluate(options)
    assert rows(options.out) == whole


def start(options, *arguments):
    """Run in a process of its own, slowly."""
    return subprocess.Popen(
        [sys.executable, str(HERE / 'slow_run.py'), *map(str, (
            options.bags[0], options.questions, options.out)), *arguments],
        stderr=subprocess.PIPE, text=True)


def wait_for_rows(options, count):
    end, path = time.monotonic() + PATIENCE, options.out / 'results.jsonl'
    while time.monotonic() < end:
        if path.exists() and path.read_bytes().count(b'\n') >= count:
            return
        time.sleep(0.005)
    raise AssertionError(f'{count} rows did not come')


def test_a_run_killed_again_and_again_ends_with_the_same_rows(options, evaluate, tmp_path):
    evaluate(options, out=tmp_path / 'whole')
    for count in (1, 40, 90):
        process = start(options)
        wait_for_rows(options, count)
        process.kill()
        process.wait()
        process.stderr.close()
    evaluate(options)
    assert rows(options.out) == rows(tmp_path / 'whole')


@pytest.mark.parametrize('workers', ['1', '2'])
def test_ctrl_c_ends_with_130_and_says_how_to_go_on(options, workers):
    process = start(options, workers)
    wait_for_rows(options, 10)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=PATIENCE)[1]
    assert process.returncode == 130
    assert 'same command goes on' in said and 'Traceback' not in said


def test_two_runs_do_not_write_to_one_folder(options, evaluate):
    process = start(options)
    wait_for_rows(options, 1)
    try:
        with pytest.raises(NanoVlmError, match='Another run is writing'):
            evaluate(options)
    finally:
        process.kill()
        process.communicate()


def test_a_full_disk_keeps_whole_rows_and_the_run_goes_on_later(options, evaluate, tmp_path):
    evaluate(options, out=tmp_path / 'whole')

    def little_room():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))

    done = subprocess.run(
        [sys.executable, str(HERE / 'slow_run.py'), *map(str, (
            options.bags[0], options.questions, options.out))],
        stderr=subprocess.PIPE, text=True, preexec_fn=little_room, check=False)
    assert done.returncode == 1
    assert 'cannot be written: File too large. Make room' in done.stderr
    assert (options.out / 'results.jsonl').read_bytes().endswith(b'\n')
    assert len(rows(options.out)) > 10
    evaluate(options)
    assert rows(options.out) == rows(tmp_path / 'whole')


def test_a_disk_that_is_full_at_the_start_leaves_a_folder_that_a_later_run_takes(
        options, evaluate):
    def no_room():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))

    done = subprocess.run(
        [sys.executable, str(HERE / 'slow_run.py'), *map(str, (
            options.bags[0], options.questions, options.out))],
        stderr=subprocess.PIPE, text=True, preexec_fn=no_room, check=False)
    assert done.returncode == 1 and 'Make room' in done.stderr
    assert (options.out / 'results.jsonl').exists() and not (options.out / 'run.json').exists()
    assert evaluate(options)[0] == 0 and len(rows(options.out)) == 130


def test_a_folder_that_cannot_be_used_is_let_go_at_once(options, evaluate, monkeypatch):
    made = []

    def fail(self):
        made.append(self._file)
        raise OSError(28, 'No space left on device')

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('nanovlm_ros.bag.results.ResultsFolder._cut_torn_line', fail)
        with pytest.raises(NanoVlmError, match='No space left'):
            evaluate(options)
    assert made[0].closed
    assert evaluate(options)[0] == 0


def test_rows_without_a_plan_are_refused(options, evaluate):
    evaluate(options)
    (options.out / 'run.json').unlink()
    with pytest.raises(NanoVlmError, match='what it holds is unknown'):
        evaluate(options)


@pytest.mark.parametrize('question', [
    {'score': 'choice', 'choices': ['one', 'two'], 'truth': {'constant': 'three'}},
    {'score': 'choice', 'choices': ['0', '1'], 'truth': {'labels': 'labels.jsonl',
                                                         'field': 'gray'}},
    {'score': 'number', 'truth': {'constant': 'many'}},
    {'score': 'exact', 'truth': {'constant': []}},
    {'score': 'number', 'truth': {'topic': '/count', 'field': 'data'}},
    {'json_schema': {'type': 'object', 'properties': {'n': {}}}, 'fields': {'n': 'number'},
     'truth': {'constant': {'n': 'many'}}}])
def test_a_truth_that_cannot_be_used_is_said_before_anything_is_asked(
        options, evaluate, tmp_path, question):
    late = [(at, ROS2.types[STRING](data=text)) for at, text in ((0.0, '3'), (0.7, 'three boxes'),
                                                                 (0.9, 'many'))]
    bag = write_bag(tmp_path / 'day', {TOPIC: film(20), '/count': late})
    with pytest.raises(NanoVlmError, match="The truth .* of question 'q0' is not"):
        evaluate(options, bags=[bag], questions=write_questions(tmp_path, question))
    assert not options.out.exists()


def test_images_without_a_stamp_have_that_of_their_receipt(options, evaluate, tmp_path):
    bag = write_bag(tmp_path / 'day', {TOPIC: [(n / 10, image(n, 0)) for n in range(40)]})
    asked = write_questions(tmp_path, {'score': 'exact', 'truth': {'constant': 'ask 0|3|1'}}, {
        'window': {'frames': 2, 'period': 0}})
    evaluate(options, bags=[bag], questions=asked)
    found = read_results(options.out)
    assert [r['stamp_ns'] for r in found.rows_of('q0')] == [ns(n / 10) for n in range(40)]
    assert {i['stamp_ns'] for r in found.rows for i in r['images']} == {0}
    metrics = summarise(found)['questions']['q0']['metrics']
    assert metrics['accuracy']['low'] < metrics['accuracy']['high']
    assert len(compare(found, found).pairs['q0']) == 40
    shots = from_bags(found.run)(found.rows_of('q1')[5])
    assert [round(float(shot.mean())) for shot in shots] == [4, 5]


def test_stamps_that_come_again_are_told_apart(options, evaluate, tmp_path):
    again = film(10) + [(at + 2, message) for at, message in film(10)]
    bag = write_bag(tmp_path / 'day', {TOPIC: again})
    asked = write_questions(tmp_path, {'score': 'exact', 'truth': {'constant': 'ask 0|3|1'}})
    evaluate(options, bags=[bag], questions=asked)
    found = read_results(options.out)
    assert len(compare(found, found).pairs['q0']) == 20


@pytest.mark.parametrize('changes', [
    {'sampling': Sampling(every=2)}, {'mode': 'replay', 'cost_s': 1.0}])
def test_a_folder_of_another_configuration_is_refused(options, evaluate, changes):
    evaluate(options)
    with pytest.raises(NanoVlmError, match='another configuration'):
        evaluate(options, **changes)


def test_other_labels_are_another_configuration(options, evaluate, tmp_path):
    evaluate(options)
    path = tmp_path / 'labels.jsonl'
    path.write_text(path.read_text().replace('"gray": 7', '"gray": 8'))
    with pytest.raises(NanoVlmError, match='another configuration'):
        evaluate(options)


def test_lines_that_label_nothing_of_it_are_the_same_configuration(options, evaluate, tmp_path):
    evaluate(options)
    path = tmp_path / 'labels.jsonl'
    path.write_text('{"bag": "day", "start": 0, "end": 1, "gray": 3}\n' + path.read_text())
    assert evaluate(options)[0] == 0


@pytest.mark.parametrize('other', [
    {TOPIC: [(at, image(200 - n, ns(at))) for n, (at, _) in enumerate(film(20))],
     '/door': [(0, ROS2.types[STRING](data='open'))]},
    {TOPIC: film(20), '/door': [(0, ROS2.types[STRING](data='shut'))]}])
def test_other_images_or_truths_in_a_bag_of_the_same_stamps_are_another_configuration(
        options, evaluate, tmp_path, other):
    asked = write_questions(tmp_path, {'truth': {'topic': '/door', 'field': 'data'}})
    bag = write_bag(tmp_path / 'day', {TOPIC: film(20), '/door': [
        (0, ROS2.types[STRING](data='open'))]})
    evaluate(options, bags=[bag], questions=asked)
    cut_rows(options.out, 10)
    (tmp_path / 'x').mkdir()
    with pytest.raises(NanoVlmError, match='another configuration'):
        evaluate(options, bags=[write_bag(tmp_path / 'x' / 'day', other)], questions=asked)


def test_every_byte_of_the_weights_is_in_the_configuration(tmp_path):
    path = tmp_path / 'w.safetensors'
    path.write_bytes(bytes(3 << 20))
    before = fingerprint(tmp_path)
    with path.open('r+b') as file:
        file.seek(1_700_000)
        file.write(b'1')
    assert fingerprint(tmp_path) != before


def test_a_bag_that_moved_is_the_same_configuration(options, evaluate, tmp_path):
    evaluate(options, sampling=Sampling())
    (tmp_path / 'elsewhere').mkdir()
    moved = options.bags[0].rename(tmp_path / 'elsewhere' / 'night')
    assert evaluate(options, bags=[moved])[0] == 0
    run = json.loads((options.out / 'run.json').read_text())
    assert run['bags'][0]['path'] == str(moved)


def test_rows_that_were_changed_are_refused(options, evaluate):
    evaluate(options)
    path = options.out / 'results.jsonl'
    lines = path.read_text().splitlines(keepends=True)
    path.write_text(''.join([lines[1], lines[0], *lines[2:]]))
    with pytest.raises(NanoVlmError, match='the file was changed'):
        evaluate(options)


def test_several_bags_are_evaluated_one_after_another(options, evaluate, tmp_path):
    other = write_bag(tmp_path / 'day', {TOPIC: film(5)})
    path = write_questions(tmp_path, {})
    evaluate(options, bags=[options.bags[0], other], questions=path)
    assert [r['bag'] for r in rows(options.out)] == ['night'] * 40 + ['day'] * 5


def test_a_bag_without_labels_is_said_where_another_has_some(options, evaluate, tmp_path):
    path = tmp_path / 'labels.jsonl'
    path.write_text(path.read_text().replace('{', '{"bag": "night", '))
    other = write_bag(tmp_path / 'day', {TOPIC: film(5)})
    code, said = evaluate(options, bags=[options.bags[0], other])
    assert code == 0 and "for the bag 'day'" in said
    assert [r['truth'] for r in rows(options.out) if r['question'] == 'l'][-6:] == [
        39, *[None] * 5]


def test_a_schema_that_cannot_hold_names_its_question(options, evaluate, tmp_path):
    schema = {'type': 'object', 'properties': {'n': {'type': 'integer', 'minimum': 3,
                                                     'maximum': 2}}, 'required': ['n']}
    with pytest.raises(NanoVlmError, match="Question 'q0': The JSON schema cannot be used"):
        evaluate(options, questions=write_questions(tmp_path, {'json_schema': schema}))


def test_a_window_that_the_model_cannot_take_names_its_question(options, evaluate, tmp_path):
    path = write_questions(tmp_path, {'window': {'frames': 5, 'period': 0}})
    with pytest.raises(NanoVlmError, match="Question 'q0': .*at most 4"):
        evaluate(options, questions=path, engine=FakeSpec(max_images=4))


def test_an_image_that_cannot_be_decoded_is_a_row_and_not_part_of_a_window(
        options, evaluate, tmp_path):
    messages = film(6)
    messages[2][1].encoding, messages[2][1].data = 'rgb8', messages[2][1].data[:20]
    bag = write_bag(tmp_path / 'day', {TOPIC: messages})
    path = write_questions(tmp_path, {'truth': {'constant': 1}}, {
        'window': {'frames': 3, 'period': 0}})
    evaluate(options, bags=[bag], questions=path)
    bad = [r for r in rows(options.out) if r['error_code']]
    assert [(r['error_code'], r['score'], r['log_ns']) for r in bad] == [(4, None, ns(0.2))]
    assert 'cut short' in bad[0]['error_message']
    assert [r['text'] for r in rows(options.out) if r['question'] == 'q1'] == [
        f'ask 1|{seen}|1' for seen in ('0', '0,1', '0,1,3', '3,4', '3,4,5')]


def test_a_bag_that_breaks_off_keeps_what_was_answered(options, evaluate, tmp_path):
    from nanovlm_ros.bag.reader import Bag
    real, reads = Bag.messages, []

    def breaking(self, *arguments):
        reads.append(self)
        for number, record in enumerate(real(self, *arguments)):
            if len(reads) > 1 and number == 20:
                raise NanoVlmError(1, 'The bag is cut short. Mend it.')
            yield record

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Bag, 'messages', breaking)
        with pytest.raises(NanoVlmError, match='cut short'):
            evaluate(options)
    assert 0 < len(rows(options.out)) < 130
    evaluate(options)
    assert len(rows(options.out)) == 130


def test_without_any_question_to_ask_nothing_runs(options, evaluate, tmp_path):
    path = write_questions(tmp_path, {'stamps': [900]})
    with pytest.raises(NanoVlmError, match='No question is ever asked'):
        evaluate(replace(options, questions=path))
    assert not options.out.exists()
