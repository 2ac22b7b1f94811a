# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The ROS interfaces: what is generated, what is promised, what must equal `types.py`."""
import re
from dataclasses import fields
from pathlib import Path

import pytest

from nanovlm_ros import types
from nanovlm_ros.action import Generate
from nanovlm_ros.msg import Answer, GenerationConfig, ImageRef, Query, TextChunk, Timings
from nanovlm_ros.srv import Ask, SetPrompts

ROOT = Path(__file__).parents[1]
FILES = sorted(path for kind in ('msg', 'srv', 'action') for path in (ROOT / kind).iterdir())
CONSTANT = re.compile(r'^uint\d+ ([A-Z_]+)=(\d+)$', re.MULTILINE)
FIELD = re.compile(r'^[a-z][\w/]*(?:\[\])? [a-z_]+\b(?!=)', re.MULTILINE)


def constants(message, prefix=''):
    """Return {name without prefix: value} as generated, for the names in the .msg file."""
    text = (ROOT / 'msg' / f'{message.__name__}.msg').read_text()
    return {name.removeprefix(prefix): getattr(message, name)
            for name, _ in CONSTANT.findall(text) if name.startswith(prefix)}


def test_service_action_and_topics_share_their_messages():
    assert Ask.Request.get_fields_and_field_types() == {'query': 'nanovlm_ros/Query'}
    assert Ask.Response.get_fields_and_field_types() == {'answer': 'nanovlm_ros/Answer'}
    assert Generate.Goal.get_fields_and_field_types() == {'query': 'nanovlm_ros/Query'}
    assert Generate.Result.get_fields_and_field_types() == {'answer': 'nanovlm_ros/Answer'}
    assert Generate.Feedback.get_fields_and_field_types() == {'chunk': 'nanovlm_ros/TextChunk'}


def test_error_codes_are_those_of_the_engine():
    assert constants(Answer, 'ERROR_') == {code.name: code.value for code in types.ErrorCode}


def test_json_states_are_those_of_the_engine():
    ours = {state.name: state.value for state in types.JsonStatus}
    assert {name: value for name, value in constants(Answer).items()
            if not name.startswith('ERROR_')} == ours


def test_image_sources_are_those_of_the_engine():
    assert constants(Query) == {source.name: source.value for source in types.ImageSource}


@pytest.mark.parametrize('message, ours', [
    (Answer, types.Answer), (TextChunk, types.TextChunk), (Timings, types.Timings),
    (GenerationConfig, types.GenerationConfig), (ImageRef, types.ImageRef)])
def test_messages_mirror_the_engine_field_by_field(message, ours):
    # The header has the first two; the last is for the command line and Python.
    names = {field.name for field in fields(ours)} - {'stamp_ns', 'frame_id', 'min_new_tokens'}
    assert set(message.get_fields_and_field_types()) - {'header'} == names


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.name)
def test_every_field_has_a_comment(path):
    lines = path.read_text().splitlines()
    bare = [line for line in lines if FIELD.match(line) and '#' not in line
            and line not in ('Query query', 'Answer answer', 'TextChunk chunk')]
    assert not bare and lines[0].startswith('# ')


def test_an_empty_query_asks_about_the_newest_image_with_the_defaults_of_the_node():
    query = Query()
    assert query.image_source == Query.LATEST
    assert (query.request_id, query.prompt, query.json_schema, query.cameras) == ('', '', '', [])
    assert query.keep_history is False and query.window_frames == 0
    config = query.config
    assert (config.max_new_tokens, config.temperature, config.top_p, config.repetition_penalty,
            config.seed, config.stop) == (0, -1.0, -1.0, -1.0, -1, [])


def test_an_empty_answer_is_no_error_and_asks_for_no_json():
    answer = Answer()
    assert answer.error_code == Answer.ERROR_NONE
    assert answer.json_status == Answer.NOT_REQUESTED
    assert SetPrompts.Response().success is False


def test_cmake_generates_every_interface_file():
    listed = re.findall(r'^  ((?:msg|srv|action)/\w+\.\w+)$',
                        (ROOT / 'CMakeLists.txt').read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(str(path.relative_to(ROOT)) for path in FILES)
