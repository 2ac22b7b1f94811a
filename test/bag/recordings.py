# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Small bags whose images are of one gray value, and an engine that says which it saw."""
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from rosbags.rosbag1 import Writer as Writer1
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from nanovlm_ros.bag.engine import EngineSpec

sys.path.insert(0, str(Path(__file__).parents[1]))  # fakes

from fakes import FakeModel, FakeTokenizer, describe  # noqa: E402

START_S = 1000          # of every bag
TOPIC = '/camera/image'
ROS2, ROS1 = get_typestore(Stores.ROS2_HUMBLE), get_typestore(Stores.ROS1_NOETIC)
RAW, COMPRESSED, STRING = (
    'sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage', 'std_msgs/msg/String')


def ns(seconds):
    """Seconds since the beginning of a bag -> ns of its clock."""
    return round((START_S + seconds) * 1e9)


def header(stamp_ns, store=ROS2, frame_id='optical'):
    time = store.types['builtin_interfaces/msg/Time'](
        sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)
    extra = {'seq': 0} if store is ROS1 else {}
    return store.types['std_msgs/msg/Header'](stamp=time, frame_id=frame_id, **extra)


def image(value, stamp_ns, store=ROS2):
    """A raw image of 8 x 8 pixels of one gray value."""
    return store.types[RAW](
        header=header(stamp_ns, store), height=8, width=8, encoding='rgb8', is_bigendian=0,
        step=24, data=np.full(192, value, np.uint8))


def jpeg(value, stamp_ns, store=ROS2):
    """The same as JPEG."""
    data = cv2.imencode('.jpg', np.full((8, 8, 3), value, np.uint8))[1].reshape(-1)
    return store.types[COMPRESSED](header=header(stamp_ns, store), format='jpeg', data=data)


def film(count, period=0.1, first=0.0):
    """Raw messages [(seconds, message)] of gray values 0, 1, 2, ..."""
    return [(first + n * period, image(n, ns(first + n * period))) for n in range(count)]


def write_bag(path, topics=None, kind='mcap'):
    """Write {topic: [(seconds of receipt, message)]}; kind mcap, sqlite3 or rosbag1."""
    topics = topics or {TOPIC: film(10)}
    store = ROS1 if kind == 'rosbag1' else ROS2
    plugin = {'mcap': StoragePlugin.MCAP, 'sqlite3': StoragePlugin.SQLITE3}.get(kind)
    writer = Writer1(path) if kind == 'rosbag1' else Writer(path, version=9, storage_plugin=plugin)
    with writer:
        connections = {name: writer.add_connection(
            name, messages[0][1].__msgtype__, typestore=store) for name, messages in topics.items()}
        pairs = [(at, name, message) for name, messages in topics.items()
                 for at, message in messages]
        for at, name, message in sorted(pairs, key=lambda pair: pair[0]):
            make = store.serialize_ros1 if store is ROS1 else store.serialize_cdr
            writer.write(connections[name], ns(at), make(message, message.__msgtype__))
    return path


def write_questions(folder, *questions, **defaults):
    """Write questions.yaml (JSON is YAML), each with an id and a prompt unless given."""
    entries = [{'id': f'q{n}', **({} if 'phrasings' in q else {'prompt': f'ask {n}'}), **q}
               for n, q in enumerate(questions)]
    path = folder / 'questions.yaml'
    path.write_text(json.dumps({'questions': entries, 'defaults': defaults}))
    return path


def write_lines(path, *entries):
    """Write JSONL."""
    path.write_text(''.join(json.dumps(entry) + '\n' for entry in entries))
    return path


def read_lines(path, measured=False):
    """Return the rows of a JSONL file, without what may differ between two runs."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for row in rows:
        measured or row.pop('measured', None)
    return rows


def cut_rows(folder, count, torn=b''):
    """Leave the first rows of a run, and the beginning of another."""
    path = folder / 'results.jsonl'
    path.write_bytes(b''.join(path.read_bytes().splitlines(keepends=True)[:count]) + torn)


@dataclass(frozen=True)
class FakeSpec(EngineSpec):
    """An engine whose answer is the question and the gray values it saw."""

    token_seconds: float = 0.0
    max_images: int = 8

    def identity(self):
        return {'model': 'fake', 'weights': '0', 'quantization': 'none', 'context_length': 0}

    def tokenizer(self):
        return FakeTokenizer()

    def load(self):
        return FakeModel(describe, token_seconds=self.token_seconds, max_images=self.max_images)
