# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Bags of every kind through `rosbags`: what is in them, and their messages in order.

rosbag2 (MCAP, sqlite3) as a folder, as a folder without metadata.yaml, or as one file;
rosbag1 as a file. Whatever is wrong with a bag is a NanoVlmError with the fix.
"""
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple, Optional, Sequence

from nanovlm_ros.types import ErrorCode, NanoVlmError

SECOND = 1_000_000_000  # ns
RAW, COMPRESSED = 'sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage'
IMAGE_TYPES = (RAW, COMPRESSED)
SUFFIXES = ('.mcap', '.db3', '.bag')


class Topic(NamedTuple):
    """A topic of a bag."""

    name: str
    msgtype: str
    count: int  # of messages


class Record(NamedTuple):
    """One recorded message, not yet deserialised."""

    topic: str
    msgtype: str
    log_ns: int  # when it was received
    raw: bytes


class Bag:
    """A bag that is open for reading inside `with`; for one thread at a time."""

    def __init__(self, path: Path, name: str = ''):
        self.path = path
        self.name = name or path.stem
        self.topics: Dict[str, Topic] = {}
        self.start_ns = self.end_ns = 0  # of the first message, and after the last
        self._reader = None

    def __enter__(self) -> 'Bag':
        from rosbags.highlevel import AnyReader
        from rosbags.typesys import Stores, get_typestore

        paths = _files(self.path)
        try:
            # The definitions of old bags lie outside of them; those of images never changed.
            reader = AnyReader(paths, default_typestore=get_typestore(Stores.ROS2_HUMBLE))
            reader.open()
        except Exception as error:  # the bytes of a broken bag may raise anything
            foreign = isinstance(error, KeyError) and isinstance(error.args[0], str)
            raise (_foreign if foreign else _unreadable)(self.path, error) from error
        self._reader = reader
        if not reader.message_count:
            self.__exit__()
            raise bad(f'{self.path} holds no messages; record it again.')
        self.start_ns, self.end_ns = reader.start_time, reader.end_time
        self.topics = {
            name: Topic(name, info.msgtype or info.connections[0].msgtype, info.msgcount)
            for name, info in reader.topics.items()}
        return self

    def __exit__(self, *_) -> None:
        reader, self._reader = self._reader, None
        reader.close()

    def image_topics(self) -> List[Topic]:
        """Return the topics of images that hold any, by name."""
        return sorted(topic for topic in self.topics.values()
                      if topic.msgtype in IMAGE_TYPES and topic.count)

    def require(self, name: str, images: bool = True) -> Topic:
        """Return a topic by name; an error lists those there are."""
        topic = self.topics.get(name)
        if topic is None or not topic.count:
            there = ', '.join(f'{t.name} ({t.msgtype})' for t in sorted(
                self.image_topics() if images else self.topics.values()))
            what = 'topics of images' if images else 'topics'
            raise bad(f'{self.path} has no messages on the topic {name!r}; its {what} are: '
                      f'{there or "none"}.')
        if images and topic.msgtype not in IMAGE_TYPES:
            raise bad(f'The topic {name} in {self.path} is of type {topic.msgtype}; images are '
                      f'{RAW} or {COMPRESSED}. Republish it as one of them and record again.')
        return topic

    def messages(self, topics: Sequence[str], start_ns: Optional[int] = None,
                 stop_ns: Optional[int] = None) -> Iterator[Record]:
        """Yield the messages of some topics received in [start_ns, stop_ns), in order."""
        connections = [c for c in self._reader.connections if c.topic in topics]
        newest = 0
        records = self._reader.messages(connections, start=start_ns, stop=stop_ns)
        while True:
            try:
                connection, log_ns, raw = next(records)
            except StopIteration:
                return
            except Exception as error:  # as above
                raise _unreadable(self.path, error) from error
            if log_ns < newest:
                raise bad(f'The clock of the recorder of {self.path} went back by '
                          f'{(newest - log_ns) / SECOND:.3f} s, {self.seconds(newest):.3f} s after '
                          'its beginning. Evaluate the parts before and after on their own '
                          '(--start, --end, or the single files of the bag).')
            newest = log_ns
            yield Record(connection.topic, connection.msgtype, log_ns, raw)

    def deserialize(self, record: Record):
        """Return the message as an object with the fields of its type."""
        try:
            return self._reader.deserialize(record.raw, record.msgtype)
        except Exception as error:  # as above
            raise bad(f'A message on {record.topic} in {self.path} cannot be read as '
                      f'{record.msgtype}: {_say(error)}. Record it with a storage that keeps the '
                      'definitions of its types (MCAP).') from error

    def seconds(self, log_ns: int) -> float:
        """Return the seconds since the beginning of the bag."""
        return (log_ns - self.start_ns) / SECOND


def named(paths: Sequence[Path]) -> List[Bag]:
    """Return bags, not yet open, whose names differ; they are used in rows and labels."""
    bags: List[Bag] = []
    for path in paths:
        stem = path.resolve().name if path.is_dir() else path.stem
        taken = {bag.name for bag in bags}
        names = (f'{stem}-{number}' if number > 1 else stem for number in range(1, len(paths) + 1))
        bags.append(Bag(path, next(name for name in names if name not in taken)))
    return bags


def bad(message: str) -> NanoVlmError:
    """Return an error about what the user gave."""
    return NanoVlmError(ErrorCode.INVALID_REQUEST, message)


def _files(path: Path) -> List[Path]:
    """Return what `rosbags` is to open for a path."""
    if not path.exists():
        raise bad(f'There is no bag at {path}; check the path.')
    if path.is_dir() and not (path / 'metadata.yaml').exists():
        # A recorder that was killed leaves no index; the files may be whole all the same.
        for suffix in SUFFIXES:
            files = sorted(path.glob(f'*{suffix}'))
            if files:
                return files
        raise bad(f'{path} is not a bag: it has neither metadata.yaml nor files of the kinds '
                  f'{", ".join(SUFFIXES)}.')
    if path.is_file() and path.suffix not in SUFFIXES:
        raise bad(f'{path} is not a bag; bags are folders or files of the kinds '
                  f'{", ".join(SUFFIXES)}.')
    return [path]


def _unreadable(path: Path, error: Exception) -> NanoVlmError:
    fix = {'.mcap': f'`mcap recover {path} -o recovered.mcap`',
           '.bag': f'`rosbag reindex {path}`',
           '.db3': f'`sqlite3 {path} .recover | sqlite3 recovered.db3`',
           }.get(path.suffix, f'`ros2 bag reindex {path}` (for a file that is cut short, '
                              '`mcap recover FILE -o recovered.mcap`)')
    return bad(f'{path} cannot be read: {_say(error)}. It may be cut short or without its index, '
               f'as a recorder that was killed leaves it. Mend it with {fix} and evaluate that.')


def _foreign(path: Path, error: KeyError) -> NanoVlmError:
    return bad(f'{path} has a channel whose schema is in the encoding {error.args[0]!r}, which is '
               'none of ROS 2 (ros2msg, ros2idl), so that none of it can be read. Leave that '
               f'channel out: `mcap filter {path} -o only.mcap --include-topic-regex TOPICS`, and '
               'evaluate only.mcap.')


def _say(error: Exception) -> str:
    text = ' '.join(str(error).split()).rstrip('.')
    return text or type(error).__name__
