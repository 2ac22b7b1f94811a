# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Bags of every kind are read in order; what cannot be read is a sentence with the fix."""
import shutil

import pytest
from recordings import ROS2, STRING, TOPIC, film, image, jpeg, ns, write_bag

from nanovlm_ros.bag.frames import frame_of
from nanovlm_ros.bag.reader import Bag, named
from nanovlm_ros.types import NanoVlmError


def values(bag, topics=(TOPIC,), *bounds):
    """The gray values of a bag's images."""
    with bag:
        return [round(float(frame_of(bag, record).rgb.mean()))
                for record in bag.messages(topics, *bounds)]


@pytest.mark.parametrize('kind', ['mcap', 'sqlite3'])
def test_a_folder_and_the_bare_file_in_it_read_the_same(tmp_path, kind):
    folder = write_bag(tmp_path / 'night', kind=kind)
    file, = (path for path in folder.iterdir() if path.suffix in ('.mcap', '.db3'))
    assert values(Bag(folder)) == values(Bag(file)) == list(range(10))


def test_a_rosbag1_file_reads_the_same(tmp_path):
    from recordings import ROS1
    messages = [(n / 10, image(n, ns(n / 10), ROS1)) for n in range(10)]
    path = write_bag(tmp_path / 'old.bag', {TOPIC: messages}, 'rosbag1')
    assert values(Bag(path)) == list(range(10))


def test_split_bags_are_read_one_after_another(tmp_path):
    folder = tmp_path / 'split'
    folder.mkdir()
    for part in range(3):
        made = write_bag(tmp_path / f'part_{part}', {TOPIC: film(4, first=part)})
        shutil.move(made / f'part_{part}.mcap', folder / f'split_{part}.mcap')
    assert values(Bag(folder)) == [0, 1, 2, 3] * 3  # without metadata.yaml, too


def test_a_range_of_time_is_half_open(tmp_path):
    bag = Bag(write_bag(tmp_path / 'night'))
    assert values(bag, (TOPIC,), ns(0.2), ns(0.5)) == [2, 3, 4]


def test_compressed_images_are_decoded(tmp_path):
    path = write_bag(tmp_path / 'night', {TOPIC: [(0, jpeg(40, ns(0)))]})
    assert values(Bag(path)) == [40]


def test_a_frame_has_the_header_of_its_image(tmp_path):
    with Bag(write_bag(tmp_path / 'night', {TOPIC: [(5, image(1, ns(4.5)))]})) as bag:
        record, = bag.messages([TOPIC])
        frame = frame_of(bag, record)
    assert (frame.stamp_ns, record.log_ns) == (ns(4.5), ns(5))
    assert (frame.frame_id, frame.camera, frame.width) == ('optical', TOPIC, 8)


def test_a_bad_image_is_a_frame_that_says_so_when_it_is_used(tmp_path):
    short = image(1, ns(0))
    short.data = short.data[:50]
    with Bag(write_bag(tmp_path / 'night', {TOPIC: [(0, short)]})) as bag:
        frame = frame_of(bag, next(bag.messages([TOPIC])))
    with pytest.raises(NanoVlmError, match='cut short'):
        frame.rgb


def test_bags_of_one_name_are_told_apart(tmp_path):
    paths = [tmp_path / part / 'night.mcap' for part in 'ab']
    assert [bag.name for bag in named(paths)] == ['night', 'night-2']


def refused(path, topic=TOPIC):
    with pytest.raises(NanoVlmError) as caught:
        with Bag(path) as bag:
            bag.require(topic)
            list(bag.messages([topic]))
    return caught.value.message


def test_a_topic_that_is_not_there_lists_those_that_are(tmp_path):
    said = refused(write_bag(tmp_path / 'night'), '/lidar')
    assert "'/lidar'" in said and f'{TOPIC} (sensor_msgs/msg/Image)' in said


def test_a_topic_of_another_type_is_refused_with_its_type(tmp_path):
    text = ROS2.types[STRING](data='hello')
    said = refused(write_bag(tmp_path / 'night', {'/chat': [(0, text)]}), '/chat')
    assert STRING in said and 'Republish' in said


def test_a_truncated_bag_says_how_to_mend_it(tmp_path):
    path = write_bag(tmp_path / 'night') / 'night.mcap'
    path.write_bytes(path.read_bytes()[:-200])
    assert f'mcap recover {path}' in refused(path)


@pytest.mark.parametrize('encoding', ['jsonschema', 'protobuf'])
def test_a_channel_of_another_world_says_how_to_leave_it_out(tmp_path, encoding):
    from mcap.writer import Writer
    path = tmp_path / 'night.mcap'
    with path.open('wb') as file:
        writer = Writer(file)
        writer.start('ros2')
        schema = writer.register_schema('foxglove.Log', encoding, b'{}')
        channel = writer.register_channel('/log', encoding, schema)
        writer.add_message(channel, ns(0), b'{}', ns(0))
        writer.finish()
    said = refused(path)
    assert repr(encoding) in said and f'mcap filter {path} -o' in said and 'cut short' not in said


def test_a_damaged_database_says_how_to_mend_it(tmp_path):
    path = write_bag(tmp_path / 'night', kind='sqlite3') / 'night.db3'
    path.write_bytes(path.read_bytes()[:5000])
    assert '.recover' in refused(path)


def test_an_index_that_is_broken_says_how_to_make_a_new_one(tmp_path):
    folder = write_bag(tmp_path / 'night')
    (folder / 'metadata.yaml').write_text('nothing')
    assert f'ros2 bag reindex {folder}' in refused(folder)


@pytest.mark.parametrize('name, said', [
    ('missing.mcap', 'There is no bag'), ('notes.txt', 'is not a bag'), ('empty', 'neither')])
def test_what_is_no_bag_is_named(tmp_path, name, said):
    (tmp_path / 'notes.txt').write_text('x')
    (tmp_path / 'empty').mkdir()
    message = refused(tmp_path / name)
    assert said in message and name in message


def test_a_recorders_clock_that_goes_back_says_where(tmp_path):
    folder = tmp_path / 'split'
    for part, first in (('a', 5), ('b', 0)):
        write_bag(tmp_path / part, {TOPIC: film(3, first=first)})
    write_bag(folder, {TOPIC: film(3)})
    for part, number in (('a', 0), ('b', 1)):
        shutil.copy(tmp_path / part / f'{part}.mcap', folder / f'split_{number}.mcap')
    text = (folder / 'metadata.yaml').read_text()
    text = text.replace('- split.mcap', '- split_0.mcap\n  - split_1.mcap')
    (folder / 'metadata.yaml').write_text(text)
    said = refused(folder)
    assert 'went back by 5.2' in said and '--start' in said
