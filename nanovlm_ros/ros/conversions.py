# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Between messages and the engine's types; no rclpy node is needed here."""
from dataclasses import asdict, fields
from typing import Optional

from builtin_interfaces.msg import Time
from std_msgs.msg import Header

from nanovlm_ros import msg, types
from nanovlm_ros.imaging import SECOND
from nanovlm_ros.types import GenerationConfig


def seconds(duration) -> float:
    """builtin_interfaces/Duration -> s."""
    return duration.sec + duration.nanosec / SECOND


def header(ns: int, frame_id: str) -> Header:
    """Return a header with a stamp in ns."""
    return Header(stamp=Time(sec=ns // SECOND, nanosec=ns % SECOND), frame_id=frame_id)


def generation_config(message: msg.GenerationConfig, defaults: GenerationConfig
                      ) -> GenerationConfig:
    """Fill in the node's defaults where the message leaves a field at 0, -1 or empty."""
    def given(value, unset, default):
        return default if value == unset else value

    return GenerationConfig(
        max_new_tokens=given(message.max_new_tokens, 0, defaults.max_new_tokens),
        temperature=given(message.temperature, -1, defaults.temperature),
        top_p=given(message.top_p, -1, defaults.top_p),
        repetition_penalty=given(message.repetition_penalty, -1, defaults.repetition_penalty),
        seed=given(message.seed, -1, defaults.seed),
        stop=tuple(message.stop) or defaults.stop)


def newest(frames) -> Optional[Header]:
    """Header of the newest of some Frames or ImageRefs; an empty one if there is none."""
    if not frames:
        return Header()
    frame = max(frames, key=lambda f: f.stamp_ns)
    return header(frame.stamp_ns, frame.frame_id)


def chunk_message(chunk: types.TextChunk, source: Header) -> msg.TextChunk:
    """types.TextChunk -> message with the header of the source image."""
    return msg.TextChunk(header=source, **asdict(chunk))


def answer_message(answer: types.Answer) -> msg.Answer:
    """types.Answer -> message."""
    plain = {f.name: getattr(answer, f.name) for f in fields(answer)
             if f.name not in ('images', 'timings', 'json_status', 'error_code')}
    images = [msg.ImageRef(header=header(i.stamp_ns, i.frame_id), camera=i.camera, width=i.width,
                           height=i.height, age=i.age) for i in answer.images]
    return msg.Answer(
        header=newest(answer.images), images=images, timings=msg.Timings(**asdict(answer.timings)),
        json_status=int(answer.json_status), error_code=int(answer.error_code), **plain)
