# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Writes the demo's camera bag (rosbag2, MCAP) and its ground truth.

    python -m training.make_demo_bag [--out demo] [--seed 4100]

The bag has sensor_msgs/msg/CompressedImage on /camera/image/compressed at 10 Hz. truth.json lists
segments, in seconds from the start of the bag, with the questions to ask in each.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from training.questions.structured import KEY_TYPES, value
from training.world import facts as F
from training.world.change import change_text
from training.world.scene import Scene, Thing
from training.world.video import Segment, acts, frames, segments

TOPIC = '/camera/image/compressed'
FRAME_ID = 'camera_optical_frame'
START = 1_700_000_000   # seconds since the epoch; any fixed time will do
QUALITY = 68
_TYPES = {
    'integer': {'type': 'integer'}, 'boolean': {'type': 'boolean'}, 'string': {'type': 'string'},
    'string or null': {'type': ['string', 'null']}, 'array of strings': {
        'type': 'array', 'items': {'type': 'string'}}}


def schema(*keys: str) -> dict:
    """A JSON schema for an object with exactly these keys."""
    return {
        'type': 'object', 'properties': {k: _TYPES[KEY_TYPES[k]]
                                         for k in keys}, 'required': list(keys),
        'additionalProperties': False}


def _ask(prompt: str, expected, kind: str, json_schema: dict | None = None) -> dict:
    out = {'prompt': prompt, 'expected': expected, 'kind': kind}
    return out if json_schema is None else {**out, 'json_schema': json_schema}


def _json(scene: Scene, prompt: str, *keys: str) -> dict:
    return _ask(prompt, {k: value(scene, k) for k in keys}, 'json', schema(*keys))


def _count(scene: Scene, kind: str, plural: str) -> dict:
    return _ask(f'How many {plural} are there?', str(len(F.things(scene, kind))), 'count')


def _yes_no(prompt: str, expected: bool) -> dict:
    return _ask(prompt, F.yes_no(expected), 'yes_no')


def _read(scene: Scene, prompt: str) -> dict:
    return _ask(prompt, F.sign_text(scene) or 'There is no sign.', 'read')


def _where(scene: Scene, kind: str) -> dict:
    thing, = F.things(scene, kind)
    return _ask(f'Where is the {kind}?', F.where(thing.column, thing.near), 'free')


def _changed(before: Segment, after: Segment, kind: str, thing: Thing | None = None,
             start: str = '') -> dict:
    """A question about the frames on both sides of what happened between two segments."""
    return {
        **_ask('What changed?', change_text(kind, thing, start)[1], 'window'),
        'first_before': round(before.end + .3, 2), 'last_after': round(after.start - .15, 2)}


def questions(parts: list[Segment]) -> list[list[dict]]:
    """What is asked in each of the eight segments; the answers come from the scenes.

    A question about a window has the latest time (seconds into the bag) of the first frame and
    the earliest of the last for which its answer is the truth.
    """
    a, b, c, d, e, f, g, h = (p.scene for p in parts)
    ball, = F.things(f, 'ball')
    gone, = (t for t in g.things if t not in h.things)
    came = _changed(*parts[0:2], 'appeared', F.things(b, 'person')[0])
    opened = _changed(*parts[2:4], 'opened')
    rolled = _changed(*parts[4:6], 'moved', ball, F.things(e, 'ball')[0].column)
    went = _changed(*parts[6:8], 'gone', gone)
    return [[
        _ask('Describe the scene.', F.description(a), 'free'),
        _yes_no('Is there a person?', False),
        _read(a, 'What does the sign say?')],
            [
                came,
                _yes_no('Is anyone there?', True),
                _ask("What color is the person's shirt?", 'Blue.', 'free'),
                _json(b, 'What do you see?', 'door', 'boxes', 'people')],
            [_yes_no('Is the door open?', False),
             _ask('List the hazards.', _hazards(c), 'free')],
            [
                opened,
                _yes_no('Is the door open?', True),
                _read(d, 'Read the sign.'),
                _json(d, 'Report the scene.', 'door', 'sign', 'wet_floor')],
            [_where(e, 'ball'), _count(e, 'person', 'people')],
            [rolled,
             _where(f, 'ball'),
             _json(f, 'Extract any text from the image.', 'sign_text')],
            [
                _count(g, 'box', 'boxes'),
                _yes_no('Is there a dog?', False),
                _ask('Describe what you see.', F.description(g), 'free')],
            [
                went,
                _count(h, 'box', 'boxes'),
                _ask('What is the temperature in the room?', F.UNKNOWN, 'free')], ]


def _hazards(scene: Scene) -> str:
    text = ', '.join(F.hazard_list(scene)) or 'none'
    return text[0].upper() + text[1:] + '.'


def write(out: Path, seed: int) -> dict:
    """Writes out/bag and out/truth.json; returns the truth."""
    script = acts(seed)
    parts = segments(script)
    asked = questions(parts)
    truth = {
        'topic': TOPIC, 'frame_id': FRAME_ID, 'start': START, 'segments': [{
            't0': round(p.start, 2), 't1': round(p.end, 2),
            'questions': q} for p, q in zip(parts, asked)]}
    bag = out / 'bag'
    if bag.exists():
        shutil.rmtree(bag)
    out.mkdir(parents=True, exist_ok=True)
    store = get_typestore(Stores.ROS2_HUMBLE)
    image_type, header_type, time_type = (store.types[n]
                                          for n in ('sensor_msgs/msg/CompressedImage',
                                                    'std_msgs/msg/Header',
                                                    'builtin_interfaces/msg/Time'))
    with Writer(bag, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connection = writer.add_connection(TOPIC, image_type.__msgtype__, typestore=store)
        for t, picture in frames(script, seed):
            ok, jpeg = cv2.imencode('.jpg', picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
            if not ok:
                raise RuntimeError(f'The picture at {t} s could not be encoded as JPEG.')
            stamp = START * 1_000_000_000 + int(round(t * 1e9))
            header = header_type(stamp=time_type(sec=stamp // 10**9, nanosec=stamp % 10**9),
                                 frame_id=FRAME_ID)
            message = image_type(header=header, format='jpeg', data=jpeg.reshape(-1).astype(
                np.uint8))
            writer.write(connection, stamp, store.serialize_cdr(message, image_type.__msgtype__))
    (out / 'truth.json').write_text(json.dumps(truth, indent=2) + '\n')
    return truth


def main(argv: list[str] | None = None) -> None:
    """Writes the bag and prints its size."""
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('--out', type=Path, default=Path(__file__).parent.parent / 'demo')
    p.add_argument('--seed', type=int, default=4100)
    args = p.parse_args(argv)
    truth = write(args.out, args.seed)
    size = sum(f.stat().st_size for f in (args.out / 'bag').iterdir())
    print(
        f"{len(truth['segments'])} segments, {sum(len(s['questions']) for s in truth['segments'])} "
        f'questions, {size / 1e6:.2f} MB')


if __name__ == '__main__':
    main()
