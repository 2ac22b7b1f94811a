# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""results.mcap reopens with other libraries, types included, at the stamps of the images."""
import json
import sys
from pathlib import Path

import pytest
import synthetic
from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory
from rosbags.highlevel import AnyReader

from nanovlm_ros.bag import results_mcap
from nanovlm_ros.bag.result_folder import read_results
from nanovlm_ros.types import NanoVlmError

ROOT = Path(__file__).parents[2]
ANNOTATIONS = f'{synthetic.CAMERA}/annotations'
TYPES = {results_mcap.ANSWERS: 'nanovlm_ros/msg/Answer',
         ANNOTATIONS: 'foxglove_msgs/msg/ImageAnnotations'}


@pytest.fixture(scope='module')
def rows():
    return synthetic.rows(30)


@pytest.fixture(scope='module')
def path(rows, tmp_path_factory):
    folder = synthetic.write(tmp_path_factory.mktemp('run'), rows[::-1])
    results_mcap.write_mcap(read_results(folder))
    assert sorted(p.name for p in folder.iterdir()) == [
        'results.jsonl', 'results.mcap', 'run.json']
    return folder / 'results.mcap'


def ns(stamp):
    return stamp.sec * synthetic.SECOND + stamp.nanosec


def with_rosbags(path):
    """Yield (topic, type, log time, message)."""
    with AnyReader([path]) as reader:
        for connection, log_ns, raw in reader.messages():
            yield (connection.topic, connection.msgtype, log_ns,
                   reader.deserialize(raw, connection.msgtype))


def with_mcap(path):
    """Yield the same, by the libraries of MCAP's own project."""
    with path.open('rb') as file:
        reader = make_reader(file, decoder_factories=[DecoderFactory()])
        for schema, channel, message, decoded in reader.iter_decoded_messages():
            assert (schema.encoding, channel.message_encoding) == ('ros2msg', 'cdr')
            yield channel.topic, schema.name, message.log_time, decoded


@pytest.mark.parametrize('read', [with_rosbags, with_mcap])
def test_both_libraries_read_types_and_stamps(read, path, rows):
    found = list(read(path))
    assert {(topic, kind) for topic, kind, *_ in found} == set(TYPES.items())
    stamps = sorted({row['stamp_ns'] for row in rows})
    logged = [log_ns for _, _, log_ns, _ in found]
    assert logged == sorted(logged) and sorted(set(logged)) == stamps
    for topic, _, log_ns, message in found:
        if topic == ANNOTATIONS:
            assert {ns(text.timestamp) for text in message.texts} == {log_ns}
        else:
            assert ns(message.header.stamp) == log_ns
            assert message.header.frame_id == 'camera_optical_frame'


@pytest.mark.parametrize('read', [with_rosbags, with_mcap])
def test_answers_say_what_the_rows_say(read, path, rows):
    found = {(ns(m.header.stamp), m.request_id): m for topic, _, _, m in read(path)
             if topic == results_mcap.ANSWERS}
    assert len(found) == len(rows)
    for row in rows:
        message = found[row['stamp_ns'], f'{row["question"]}/{row["phrasing"]}']
        assert (message.prompt, message.text, message.json, message.model) == (
            row['prompt'], row['text'], row['json'], row['model'])
        assert (message.prompt_tokens, message.image_tokens, message.completion_tokens,
                message.cached_tokens) == (106, 64, 4, 90)
        assert message.json_status == {'NOT_REQUESTED': 0, 'VALID': 1, 'TRUNCATED': 2}[
            row['json_status']]
        assert message.timings.total == pytest.approx(row['measured']['total_s'])
        (image,) = message.images
        assert (ns(image.header.stamp), image.camera, image.width, image.height) == (
            row['stamp_ns'], synthetic.CAMERA, 64, 48)


@pytest.mark.parametrize('read', [with_rosbags, with_mcap])
def test_annotations_show_question_and_answer_inside_the_image(read, path, rows):
    found = [m for topic, _, _, m in read(path) if topic == ANNOTATIONS]
    assert len(found) == 30  # one an image
    for message in found:
        texts = {text.text for text in message.texts}
        stamp = ns(message.texts[0].timestamp)
        assert texts == {f'{row["prompt"]} {row["json"] or row["text"]}' for row in rows
                         if row['stamp_ns'] == stamp}
        lines = [text.position.y for text in message.texts]
        assert lines == sorted(lines) and len(set(lines)) == len(lines) and lines[0] > 0
        assert list(message.circles) == [] and list(message.points) == []


def test_the_types_have_the_hashes_that_ros_gives_them():
    built = Path(sys.prefix) / 'share' / 'nanovlm_ros' / 'msg' / 'Answer.json'
    if not built.is_file():
        pytest.skip('the interfaces are not built in this environment')
    hashes = {entry['type_name']: entry['hash_string']
              for entry in json.loads(built.read_text())['type_hashes']}
    store = results_mcap.typestore()
    for name in ('Answer', 'ImageRef', 'Timings'):
        assert store.hash_rihs01(f'nanovlm_ros/msg/{name}') == hashes[f'nanovlm_ros/msg/{name}']


def test_the_definitions_are_the_files_of_the_package():
    for name in ('Answer', 'ImageRef', 'Timings'):
        assert results_mcap._definition(name) == (ROOT / 'msg' / f'{name}.msg').read_text()


@pytest.mark.parametrize('packages', ['lib/python3.11/site-packages',
                                      'local/lib/python3.10/dist-packages'])
def test_an_installation_has_the_definitions_in_share(packages, tmp_path, monkeypatch):
    share = tmp_path / 'share' / 'nanovlm_ros' / 'msg'
    share.mkdir(parents=True)
    (share / 'Answer.msg').write_text('string installed')
    monkeypatch.setattr(results_mcap, '__file__', str(
        tmp_path / packages / 'nanovlm_ros' / 'bag' / 'results_mcap.py'))
    assert results_mcap._definition('Answer') == 'string installed'
    with pytest.raises(NanoVlmError, match='msg/Timings.msg is neither beside'):
        results_mcap._definition('Timings')


def test_the_index_lets_a_player_seek(path, rows):
    with path.open('rb') as file:
        summary = make_reader(file).get_summary()
    stamps = [row['stamp_ns'] for row in rows]
    assert summary.statistics.message_start_time == min(stamps)
    assert summary.statistics.message_end_time == max(stamps)
    assert summary.statistics.message_count == len(rows) + 30
    assert summary.chunk_indexes


def test_a_stamp_of_another_clock_is_logged_when_it_came(tmp_path, rows):
    other = [{**row, 'stamp_ns': 5, 'images': [{**row['images'][0], 'stamp_ns': 5}]}
             for row in rows[:8]]
    results_mcap.write_mcap(read_results(synthetic.write(tmp_path, other)))
    for topic, _, log_ns, message in with_rosbags(tmp_path / 'results.mcap'):
        assert log_ns == other[0]['log_ns']
        if topic == results_mcap.ANSWERS:
            assert ns(message.header.stamp) == 5


def test_an_image_without_a_stamp_is_logged_when_it_came_and_has_none_here_either(tmp_path, rows):
    row = {**rows[0], 'stamp_ns': rows[0]['log_ns'],
           'images': [{**rows[0]['images'][0], 'stamp_ns': 0}]}
    results_mcap.write_mcap(read_results(synthetic.write(tmp_path, [row])))
    for topic, _, log_ns, message in with_rosbags(tmp_path / 'results.mcap'):
        assert log_ns == row['log_ns']
        if topic == results_mcap.ANSWERS:
            assert ns(message.header.stamp) == ns(message.images[0].header.stamp) == 0
            assert message.images[0].age == 0


def test_errors_are_drawn_as_errors():
    row = {**synthetic.rows(1)[0], 'error_code': 6, 'error_message': 'The time\n is up.',
           'text': ''}
    assert results_mcap.caption(row) == 'Is there a person? The time is up.'


def test_a_window_has_all_its_images(tmp_path):
    row = synthetic.rows(1)[0]
    older = {**row['images'][0], 'stamp_ns': row['stamp_ns'] - synthetic.SECOND}
    row['images'].insert(0, older)
    results_mcap.write_mcap(read_results(synthetic.write(tmp_path, [row])))
    (answer,) = [m for topic, _, _, m in with_rosbags(tmp_path / 'results.mcap')
                 if topic == results_mcap.ANSWERS]
    assert [ns(i.header.stamp) for i in answer.images] == [older['stamp_ns'], row['stamp_ns']]
    assert [i.age for i in answer.images] == [1.0, 0.0]


def test_without_rosbags_the_error_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'rosbags.rosbag2', None)
    with pytest.raises(NanoVlmError, match=r'needs rosbags; .*nanovlm_ros\[eval\]'):
        results_mcap.write_mcap(read_results(synthetic.write(tmp_path, synthetic.rows(1))))
