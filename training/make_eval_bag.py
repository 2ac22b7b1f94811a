# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Writes a held-out bag for `nanovlm eval`: rooms in which things happen, with labels.

    python -m training.make_eval_bag --out FOLDER [--minutes 10] [--rate 10] [--raw]

FOLDER gets `bag` (rosbag2, MCAP; sensor_msgs/msg/CompressedImage, or with --raw Image),
`labels.jsonl` (what is true, by ranges of stamps) and `questions.yaml`. The rooms come from seeds
that training never draws; half of the phrasings are those kept for the test. Between two events
a scene is drawn once; each picture of it has a tremble and grain of its own.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import yaml
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from training.make_demo_bag import FRAME_ID, schema
from training.questions.asking import phrases
from training.questions.structured import value
from training.world import facts as F
from training.world.draw import draw_scene
from training.world.lettering import pick
from training.world.scene import Scene, random_scene
from training.world.video import HEIGHT, WIDTH
from training.world.watch import Watch, random_watch

SEED = 90210
START_NS = 1_700_100_000 * 10**9
QUIET_S = 4.0        # between two events, at least; longer than a window
ROOM_S = 60.0        # in one room, at most
FEWEST_ROOMS = 3
WINDOW, WINDOW_S = 4, 0.5   # frames, and seconds between two
REPORT = ('door', 'boxes', 'people', 'wet_floor')
QUALITY = 88


@dataclass
class Room:
    """A room from frame `begin` on."""

    begin: int
    watch: Watch


def rooms(seed: int, frames: int, rate: float) -> list[Room]:
    """The rooms of a bag with so many frames."""
    each = min(round(ROOM_S * rate), -(-frames // FEWEST_ROOMS))
    quiet = round(QUIET_S * rate)
    return [Room(begin, random_watch(_seeded(seed, begin), min(each, frames - begin), quiet, False))
            for begin in range(0, frames, each)]


def _seeded(seed: int, room: int) -> np.random.Generator:
    """A generator whose first scene is unambiguous: 4:3, a door, one sign that can be read."""
    for attempt in range(10000):
        key = [seed, room, attempt, 11]
        scene = random_scene(np.random.default_rng(key), False, most=5)
        if (abs(scene.camera.aspect - 4 / 3) < .01 and scene.door and len(scene.signs) == 1
                and F.legible(scene)):
            return np.random.default_rng(key)
    raise RuntimeError(f'No scene for seed {seed} is unambiguous.')


def pictures(room: Room, seed: int) -> Iterator[np.ndarray]:
    """Yields the RGB pictures [480, 640, 3] of a room."""
    r = np.random.default_rng([seed, room.begin, 12])
    events = {event.frame for event in room.watch.events}
    light = r.uniform(.86, 1.06) * r.uniform(.97, 1.03, 3)
    grain = r.normal(0, 2.2, (HEIGHT + 64, WIDTH + 64, 3)).astype(np.int8)
    drawn = None
    for number, scene in enumerate(room.watch.scenes):
        if drawn is None or number in events:
            still = draw_scene(scene, WIDTH, HEIGHT)[0]
            drawn = np.clip(still * light, 0, 255).astype(np.uint8)
        tremble = np.float32([[1, 0, r.uniform(-1.5, 1.5)], [0, 1, r.uniform(-1.5, 1.5)]])
        moved = cv2.warpAffine(drawn, tremble, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REPLICATE)
        x, y = (int(i) for i in r.integers(0, 64, 2))
        yield cv2.add(moved, grain[y:y + HEIGHT, x:x + WIDTH], dtype=cv2.CV_8U)


def labels(room: Room, rate: float) -> Iterator[dict]:
    """Yields what is true of each frame, and of the window that ends with it."""
    step = round(WINDOW_S * rate)
    for last, scene in enumerate(room.watch.scenes):
        truth = _facts(scene)
        first = last - (WINDOW - 1) * step
        if first >= 0:  # else the window still shows the room before
            shown = room.watch.scenes[first:last + 1:step]
            truth['change'] = room.watch.window(first, last).text
            truth['person_frames'] = sum(bool(F.things(s, 'person')) for s in shown)
        yield truth


def _facts(scene: Scene) -> dict:
    return {
        'person': F.yes_no(bool(F.things(scene, 'person'))),
        'boxes': len(F.things(scene, 'box')),
        'door': 'Open.' if scene.door.open else 'Closed.',
        'sign': F.sign_text(scene),
        'report': {key: value(scene, key) for key in REPORT}}


def ranges(truths: Iterator[dict], stamps: list[int], end: int) -> Iterator[dict]:
    """Joins equal neighbours to lines of a label file."""
    held, begin = None, 0
    for truth, stamp in zip(truths, stamps, strict=True):
        if truth != held:
            if held is not None:
                yield {'start_ns': begin, 'end_ns': stamp, **held}
            held, begin = truth, stamp
    yield {'start_ns': begin, 'end_ns': end, **held}


def questions(seed: int) -> dict:
    """The questions file: one question for each kind of score."""
    r = np.random.default_rng([seed, 13])

    def ask(section: str, **words: str) -> list[str]:
        both = section, f'{section}, test only'
        return [pick(r, phrases(name)).format(**words) for name in both]

    def labelled(name: str) -> dict:
        return {'labels': 'labels.jsonl', 'field': name}

    # The truths are of the newest frames, which a rolling window does not always hold.
    window = {'frames': WINDOW, 'period': WINDOW_S, 'mode': 'exact'}
    person = {'x': 'person', 'xs': 'people'}
    return {'defaults': {'period': 1.0, 'max_new_tokens': 64}, 'questions': [
        {'id': 'person', 'phrasings': ask('exist', **person), 'score': 'yes_no', 'event': 'Yes.',
         'truth': labelled('person')},
        {'id': 'boxes', 'phrasings': ask('count', xs='boxes'), 'score': 'number',
         'truth': labelled('boxes')},
        {'id': 'door', 'phrasings': ask('door'), 'score': 'choice', 'event': 'Open.',
         'choices': ['Open.', 'Closed.', 'There is no door.'], 'truth': labelled('door')},
        {'id': 'sign', 'phrasings': ask('read'), 'score': 'text_distance',
         'truth': labelled('sign')},
        {'id': 'report', 'prompt': ask('json lead')[1], 'json_schema': schema(*REPORT),
         'truth': labelled('report')},
        {'id': 'change', 'phrasings': ask('change'), 'window': window,
         'truth': labelled('change')},
        {'id': 'person_frames', 'phrasings': ask('frames that show', **person), 'window': window,
         'score': 'number', 'truth': labelled('person_frames')}]}


class BagWriter:
    """Writes pictures as messages of one topic."""

    def __init__(self, folder: Path, raw: bool):
        self._store = get_typestore(Stores.ROS2_HUMBLE)
        self._type = f"sensor_msgs/msg/{'Image' if raw else 'CompressedImage'}"
        self._raw = raw
        self._writer = Writer(folder, version=9, storage_plugin=StoragePlugin.MCAP)

    def __enter__(self) -> BagWriter:
        self._writer.open()
        topic = '/camera/image' + ('' if self._raw else '/compressed')
        self._connection = self._writer.add_connection(topic, self._type, typestore=self._store)
        return self

    def __exit__(self, *_) -> None:
        self._writer.close()

    def write(self, picture: np.ndarray, stamp: int) -> None:
        """Adds a picture, received at its stamp in ns."""
        types = self._store.types
        time = types['builtin_interfaces/msg/Time'](sec=stamp // 10**9, nanosec=stamp % 10**9)
        header = types['std_msgs/msg/Header'](stamp=time, frame_id=FRAME_ID)
        if self._raw:
            message = types[self._type](
                header=header, height=HEIGHT, width=WIDTH, encoding='rgb8', is_bigendian=0,
                step=3 * WIDTH, data=picture.reshape(-1))
        else:
            ok, jpeg = cv2.imencode('.jpg', picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
            if not ok:
                raise RuntimeError(f'The picture at {stamp} ns could not be encoded as JPEG.')
            message = types[self._type](header=header, format='jpeg', data=jpeg.reshape(-1))
        self._writer.write(self._connection, stamp, self._store.serialize_cdr(message, self._type))


def write(out: Path, minutes: float, rate: float, seed: int = SEED, raw: bool = False) -> int:
    """Writes out/bag, out/labels.jsonl and out/questions.yaml; returns the number of frames."""
    frames = round(minutes * 60 * rate)
    stamps = [START_NS + round(n / rate * 10**9) for n in range(frames + 1)]
    out.mkdir(parents=True, exist_ok=True)
    if (out / 'bag').exists():
        shutil.rmtree(out / 'bag')
    with BagWriter(out / 'bag', raw) as bag, (out / 'labels.jsonl').open('w') as file:
        for room in rooms(seed, frames, rate):
            end = room.begin + len(room.watch.scenes)
            for picture, stamp in zip(pictures(room, seed), stamps[room.begin:end], strict=True):
                bag.write(picture, stamp)
            for line in ranges(labels(room, rate), stamps[room.begin:end], stamps[end]):
                file.write(json.dumps(line) + '\n')
    (out / 'questions.yaml').write_text(yaml.safe_dump(questions(seed), sort_keys=False))
    return frames


def main(argv: list[str] | None = None) -> None:
    """Writes the bag and prints its size."""
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--out', type=Path, required=True)
    p.add_argument('--minutes', type=float, default=10.0)
    p.add_argument('--rate', type=float, default=10.0, help='pictures a second')
    p.add_argument('--seed', type=int, default=SEED)
    p.add_argument('--raw', action='store_true', help='sensor_msgs/msg/Image, for large bags')
    args = p.parse_args(argv)
    frames = write(args.out, args.minutes, args.rate, args.seed, args.raw)
    size = sum(f.stat().st_size for f in (args.out / 'bag').iterdir())
    print(f'{frames} frames, {size / 1e6:.1f} MB')


if __name__ == '__main__':
    main()
