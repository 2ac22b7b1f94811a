# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""results.mcap: the answers as the node would have recorded them, and drawn on the images.

`/nanovlm/answers` holds nanovlm_ros/msg/Answer; `<camera>/annotations` holds
foxglove_msgs/msg/ImageAnnotations. Log times are the stamps of the images, so that Foxglove
plays the file over the recording. Types come from the .msg files: no ROS is needed.
"""
import tempfile
from itertools import groupby
from pathlib import Path
from typing import Dict, Iterator, List, Tuple

from nanovlm_ros.bag.extra import missing
from nanovlm_ros.bag.result_folder import Results
from nanovlm_ros.types import ErrorCode, JsonStatus, NanoVlmError

ANSWERS = '/nanovlm/answers'
SECOND = 1_000_000_000  # ns
FONT = 0.035            # of the image's height
_SAME_CLOCK = 10 * SECOND  # a stamp farther from the time of arrival is of another clock
_MESSAGES = ('Timings', 'ImageRef', 'Answer')

# Fields in the order of the public schemas: https://docs.foxglove.dev/docs/sdk/schemas
_FOXGLOVE = {
    'Point2': 'float64 x\nfloat64 y\n',
    'Color': 'float64 r\nfloat64 g\nfloat64 b\nfloat64 a\n',
    'CircleAnnotation': (
        'builtin_interfaces/Time timestamp\nfoxglove_msgs/Point2 position\nfloat64 diameter\n'
        'float64 thickness\nfoxglove_msgs/Color fill_color\nfoxglove_msgs/Color outline_color\n'),
    'PointsAnnotation': (
        'uint8 UNKNOWN=0\nuint8 POINTS=1\nuint8 LINE_LOOP=2\nuint8 LINE_STRIP=3\n'
        'uint8 LINE_LIST=4\nbuiltin_interfaces/Time timestamp\nuint8 type\n'
        'foxglove_msgs/Point2[] points\nfoxglove_msgs/Color outline_color\n'
        'foxglove_msgs/Color[] outline_colors\nfoxglove_msgs/Color fill_color\n'
        'float64 thickness\n'),
    'TextAnnotation': (
        'builtin_interfaces/Time timestamp\nfoxglove_msgs/Point2 position\nstring text\n'
        'float64 font_size\nfoxglove_msgs/Color text_color\n'
        'foxglove_msgs/Color background_color\n'),
    'ImageAnnotations': (
        'foxglove_msgs/CircleAnnotation[] circles\nfoxglove_msgs/PointsAnnotation[] points\n'
        'foxglove_msgs/TextAnnotation[] texts\n'),
}
ANNOTATIONS_TYPE = 'foxglove_msgs/msg/ImageAnnotations'
ANSWER_TYPE = 'nanovlm_ros/msg/Answer'


def write_mcap(results: Results) -> None:
    """Write results.mcap. Raises NanoVlmError where rosbags or the .msg files are missing."""
    Writer, StoragePlugin = _writer()
    store = typestore()
    path = results.folder / 'results.mcap'
    with tempfile.TemporaryDirectory(dir=results.folder, prefix='.mcap-') as folder:
        bag = Path(folder) / 'results'
        with Writer(bag, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
            connections = {ANSWERS: writer.add_connection(ANSWERS, ANSWER_TYPE, typestore=store)}
            for camera in sorted({row['camera'] for row in results.rows}):
                topic = annotations_topic(camera)
                connections[topic] = writer.add_connection(
                    topic, ANNOTATIONS_TYPE, typestore=store)
            for log_ns, topic, message in _messages(results.rows, Types(store)):
                writer.write(connections[topic], log_ns,
                             store.serialize_cdr(message, message.__msgtype__))
        (bag / 'results.mcap').replace(path)


def annotations_topic(camera: str) -> str:
    """Return the topic of a camera's annotations."""
    return f'{camera.rstrip("/")}/annotations'


def typestore():
    """Return a `rosbags` typestore that knows our messages and foxglove's."""
    try:
        from rosbags.typesys import Stores, get_types_from_msg, get_typestore
    except ImportError as error:
        raise missing('rosbags', 'results.mcap') from error
    store = get_typestore(Stores.ROS2_JAZZY)
    definitions = {f'nanovlm_ros/msg/{name}': _definition(name) for name in _MESSAGES}
    definitions.update({f'foxglove_msgs/msg/{name}': text for name, text in _FOXGLOVE.items()})
    types: Dict = {}
    for name, text in definitions.items():
        types.update(get_types_from_msg(text, name))
    store.register(types)
    return store


def _writer():
    try:
        from rosbags.rosbag2 import StoragePlugin, Writer
    except ImportError as error:
        raise missing('rosbags', 'results.mcap') from error
    return Writer, StoragePlugin


def _definition(name: str) -> str:
    """Return the text of one of our .msg files: of the sources, or as installed."""
    here = Path(__file__).resolve()
    for prefix in here.parents:
        for folder in (prefix / 'msg', prefix / 'share' / 'nanovlm_ros' / 'msg'):
            if (folder / f'{name}.msg').is_file():
                return (folder / f'{name}.msg').read_text(encoding='utf-8')
    raise NanoVlmError(
        ErrorCode.NOT_READY,
        f'msg/{name}.msg is neither beside the package nor under share/nanovlm_ros of an '
        f'installation above {here.parent}; install nanovlm_ros again.')


class Types:
    """Makes messages."""

    def __init__(self, store):
        self._of = store.types
        self.Time = self._of['builtin_interfaces/msg/Time']

    def ours(self, name: str, **fields):
        """Return one of our messages."""
        return self._of[f'nanovlm_ros/msg/{name}'](**fields)

    def foxglove(self, name: str, **fields):
        """Return one of foxglove's messages."""
        return self._of[f'foxglove_msgs/msg/{name}'](**fields)

    def time(self, ns: int):
        """Return a stamp."""
        return self.Time(sec=ns // SECOND, nanosec=ns % SECOND)

    def header(self, ns: int, frame_id: str):
        """Return a header."""
        return self._of['std_msgs/msg/Header'](stamp=self.time(ns), frame_id=frame_id)


def newest(row: dict) -> dict:
    """Return the image that a row is about, as it was recorded: without a stamp that is 0."""
    return next(image for image in row['images'] if (image['camera'], image['log_ns']) == (
        row['camera'], row['log_ns']))


def log_time(row: dict) -> int:
    """Return the time of a row on the bag's clock: its stamp, unless that is of another clock."""
    other = abs(row['stamp_ns'] - row['log_ns']) > _SAME_CLOCK
    return row['log_ns'] if other else row['stamp_ns']


def _messages(rows: List[dict], types: Types) -> Iterator[Tuple[int, str, object]]:
    """Yield (log time, topic, message), in the order of time."""
    def image(row):
        return log_time(row), row['camera'], row['stamp_ns'], row['log_ns'], row['bag']

    for (log_ns, camera, *_), group in groupby(sorted(rows, key=image), key=image):
        together = list(group)
        for row in together:
            yield log_ns, ANSWERS, answer(row, types)
        yield log_ns, annotations_topic(camera), annotations(together, types)


def answer(row: dict, types: Types):
    """Return a row as nanovlm_ros/msg/Answer."""
    measured = row['measured']
    # A replay knows how old the newest image was when the engine took the question.
    waited = max(0.0, (measured.get('age_s') or 0.0) - (measured.get('total_s') or 0.0))
    images = [types.ours(
        'ImageRef', header=types.header(i['stamp_ns'], i['frame_id']), camera=i['camera'],
        width=i['width'], height=i['height'],
        age=(row['stamp_ns'] - (i['stamp_ns'] or i['log_ns'])) / SECOND + waited)
        for i in row['images']]
    names = ('queued', 'preprocess', 'vision', 'prefill', 'decode', 'first_token', 'total')
    timings = types.ours('Timings', **{
        name: float(measured.get(f'{name}_s') or 0) for name in names})
    return types.ours(
        'Answer', header=types.header(newest(row)['stamp_ns'], row['frame_id']),
        request_id=f'{row["question"]}/{row["phrasing"]}', prompt=row['prompt'],
        text=row['text'], json=row['json'], json_status=int(JsonStatus[row['json_status']]),
        finish_reason=row['finish_reason'], images=images, prompt_tokens=row['prompt_tokens'],
        image_tokens=row['image_tokens'], cached_tokens=measured.get('cached_tokens') or 0,
        completion_tokens=row['completion_tokens'], timings=timings, model=row['model'],
        error_code=row['error_code'], error_message=row['error_message'])


def annotations(rows: List[dict], types: Types):
    """Return question and answer of an image's rows as lines of text in its top left corner."""
    size = max(8.0, FONT * newest(rows[0])['height'])

    def color(r, g, b, a):
        return types.foxglove('Color', r=r, g=g, b=b, a=a)

    texts = [types.foxglove(
        'TextAnnotation', timestamp=types.time(newest(row)['stamp_ns']),
        position=types.foxglove('Point2', x=0.25 * size, y=(1.4 * line + 1.3) * size),
        text=caption(row), font_size=size, text_color=color(*_ink(row), 1.0),
        background_color=color(0.0, 0.0, 0.0, 0.6)) for line, row in enumerate(rows)]
    return types.foxglove('ImageAnnotations', circles=[], points=[], texts=texts)


def caption(row: dict) -> str:
    """Return the line that is drawn for a row."""
    said = row['error_message'] if row['error_code'] else row['json'] or row['text']
    return ' '.join(f'{row["prompt"]} {said}'.split())


def _ink(row: dict) -> Tuple[float, float, float]:
    """White where there is no truth; else as in the report."""
    if row['score'] is None:
        return 1.0, 1.0, 1.0
    return (0.55, 0.95, 0.6) if row['score']['correct'] else (1.0, 0.6, 0.5)
