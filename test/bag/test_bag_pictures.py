# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Pictures of rows come out of the bag that was evaluated, and are small in a page."""
import base64

import cv2
import numpy as np
import pytest
import synthetic
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from nanovlm_ros.bag import pictures
from nanovlm_ros.types import NanoVlmError

STORE = get_typestore(Stores.ROS2_JAZZY)


@pytest.fixture(scope='module')
def bag(tmp_path_factory):
    """Write a bag of the synthetic pictures at the stamps of the synthetic rows."""
    path = tmp_path_factory.mktemp('bag') / 'drive'
    of = STORE.types
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connection = writer.add_connection(
            synthetic.CAMERA, 'sensor_msgs/msg/Image', typestore=STORE)
        for number in range(30):
            stamp = synthetic.START + number * synthetic.SECOND // 10
            row = {'images': [{'stamp_ns': stamp, 'width': 64, 'height': 48}]}
            (rgb,) = synthetic.picture(row)
            message = of['sensor_msgs/msg/Image'](
                header=of['std_msgs/msg/Header'](
                    stamp=of['builtin_interfaces/msg/Time'](
                        sec=stamp // synthetic.SECOND, nanosec=stamp % synthetic.SECOND),
                    frame_id='camera_optical_frame'),
                height=48, width=64, encoding='rgb8', is_bigendian=0, step=192,
                data=rgb.reshape(-1))
            writer.write(connection, stamp + 3_000_000,
                         STORE.serialize_cdr(message, 'sensor_msgs/msg/Image'))
    return path


def rows():
    return [row for row in synthetic.rows(30) if row['question'] == 'door']


def test_a_row_gets_the_image_that_it_is_about(bag):
    source = pictures.from_bags(synthetic.run(rows(), bag_path=str(bag)))
    for row in rows()[::9]:
        (found,) = source(row)
        assert (found == synthetic.picture(row)[0]).all()


def test_a_window_gets_its_images_in_order(bag):
    row = rows()[25]
    row['images'] = [rows()[number]['images'][0] for number in (5, 15, 25)]
    found = pictures.from_bags(synthetic.run(rows(), bag_path=str(bag)))(row)
    expected = synthetic.picture(row)
    assert len(found) == 3 and all((a == b).all() for a, b in zip(found, expected))


def test_a_bag_that_is_another_one_is_noticed(bag):
    row = rows()[3]
    row['images'][0]['stamp_ns'] += 1
    with pytest.raises(NanoVlmError, match='not the bag that was evaluated'):
        pictures.from_bags(synthetic.run(rows(), bag_path=str(bag)))(row)


def test_a_bag_that_is_gone_is_an_error(tmp_path):
    with pytest.raises(NanoVlmError, match='nowhere'):
        pictures.from_bags(synthetic.run(rows(), bag_path=str(tmp_path / 'nowhere')))(rows()[0])


@pytest.mark.parametrize('width, expected', [(640, 320), (100, 100)])
def test_pictures_in_pages_are_small_jpegs(width, expected):
    rgb = np.zeros((width * 3 // 4, width, 3), np.uint8)
    rgb[..., 0] = 200  # red stays red
    uri = pictures.data_uri(rgb)
    assert uri.startswith('data:image/jpeg;base64,') and len(uri) < 30_000
    decoded = cv2.imdecode(np.frombuffer(base64.b64decode(uri.split(',')[1]), np.uint8), 1)
    assert decoded.shape == (expected * 3 // 4, expected, 3)
    assert decoded[..., 2].mean() > 190 and decoded[..., 0].mean() < 10
