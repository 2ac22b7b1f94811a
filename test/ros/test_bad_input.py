# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Every bad input gets its code and a sentence, and the next good question is answered."""
import array
import struct
import zlib

import pytest
from harness import compressed, image, query, wait_until
from sensor_msgs.msg import CompressedImage

from nanovlm_ros.msg import Answer, Query


def changed(message, **fields):
    for name, value in fields.items():
        setattr(message, name, value)
    return message


def cut(message, size):
    message.data = message.data[:size]
    return message


def bomb():
    """A PNG of a few bytes that says it is 60000 x 60000."""
    def part(kind, body):
        return struct.pack('>I', len(body)) + kind + body + struct.pack(
            '>I', zlib.crc32(kind + body))

    data = b'\x89PNG\r\n\x1a\n' + part(b'IHDR', struct.pack('>IIBBBBB', 60000, 60000, 8, 2, 0, 0, 0)
                                       ) + part(b'IDAT', zlib.compress(b'\0' * 100))
    return CompressedImage(format='png', data=array.array('B', data))


def spoiled():
    """A JPEG with a sound header and no data after it."""
    message = compressed(kind='.jpg', width=64, height=64)
    data = message.data.tobytes()
    message.data = array.array('B', data[:data.index(b'\xff\xda')])
    return message


def inline(*images):
    return {'image_source': Query.INLINE, 'images': list(images)}


def packed(*images):
    return {'image_source': Query.INLINE, 'compressed_images': list(images)}


DEEP = '{"properties": {"a": ' * 40 + '{}' + '}}' * 40
BAD = {
    'empty prompt': ({'prompt': '  '}, 'INVALID_REQUEST', 'prompt'),
    'over-long prompt': ({'prompt': 'x' * 200_000}, 'INVALID_REQUEST', 'shorten'),
    'prompt beyond the context': ({'prompt': 'x' * 5000}, 'CONTEXT_OVERFLOW', 'tokens'),
    'schema that is not JSON': ({'json_schema': '{"type":'}, 'BAD_SCHEMA', 'not JSON'),
    'schema that is no object': ({'json_schema': '[1]'}, 'BAD_SCHEMA', 'object'),
    'remote reference': ({'json_schema': '{"$ref": "https://x.example/s.json"}'},
                         'BAD_SCHEMA', 'fetched'),
    'schema too large': ({'json_schema': '{"description": "' + 'x' * 70_000 + '"}'},
                         'BAD_SCHEMA', 'at most'),
    'schema too deep': ({'json_schema': DEEP}, 'BAD_SCHEMA', 'deeper'),
    'unknown camera': ({'image_source': Query.LATEST, 'cameras': ['moon']},
                       'INVALID_REQUEST', 'moon'),
    'unknown source': ({'image_source': 77}, 'INVALID_REQUEST', '77'),
    'window': ({'image_source': Query.WINDOW}, 'INVALID_REQUEST', 'WINDOW'),
    'no image yet': ({'image_source': Query.LATEST}, 'NO_IMAGE', '/image'),
    'no next image': ({'image_source': Query.NEXT, 'timeout': 0.3}, 'NO_IMAGE', '/image'),
    'inline without an image': ({'image_source': Query.INLINE}, 'NO_IMAGE', 'INLINE'),
    'both kinds of image': ({**inline(image()), 'compressed_images': [compressed()]},
                            'INVALID_REQUEST', 'both'),
    'images that are not asked for': ({'image_source': Query.NONE, 'images': [image()]},
                                      'INVALID_REQUEST', 'INLINE'),
    'too many images': (inline(*[image()] * 9), 'INVALID_REQUEST', '8'),
    'unknown encoding': (inline(changed(image(), encoding='rgb99')), 'BAD_IMAGE', 'rgb99'),
    'step too short': (inline(changed(image(), step=3)), 'BAD_IMAGE', 'step'),
    'data too short': (inline(cut(image(), 20)), 'BAD_IMAGE', '20'),
    'no data': (inline(cut(image(), 0)), 'BAD_IMAGE', 'bytes'),
    'no size': (inline(changed(image(), width=0)), 'BAD_IMAGE', 'pixels'),
    'huge size': (inline(changed(image(), width=2**32 - 1, height=2**32 - 1, step=2**32 - 1)),
                  'BAD_IMAGE', 'max_image_pixels'),
    'one bad image of two': (inline(image(), changed(image(), encoding='?')), 'BAD_IMAGE', '?'),
    'png bomb': (packed(bomb()), 'BAD_IMAGE', 'max_image_pixels'),
    'corrupt jpeg': (packed(spoiled()), 'BAD_IMAGE', 'corrupt'),
    'neither jpeg nor png': (packed(CompressedImage(data=array.array('B', b'GIF89a...'))),
                             'BAD_IMAGE', 'JPEG'),
    'empty compressed image': (packed(CompressedImage()), 'BAD_IMAGE', 'JPEG'),
    'negative temperature': ({'config': {'temperature': -0.5}}, 'INVALID_REQUEST', 'temperature'),
    'temperature that is no number': ({'config': {'temperature': float('nan')}},
                                      'INVALID_REQUEST', 'temperature'),
    'top_p above 1': ({'config': {'top_p': 1.5}}, 'INVALID_REQUEST', 'top_p'),
    'negative length': ({'config': {'max_new_tokens': -3}}, 'INVALID_REQUEST', 'max_new_tokens'),
    'penalty of zero': ({'config': {'repetition_penalty': 0.0}}, 'INVALID_REQUEST', 'penalty'),
    'seed below -1': ({'config': {'seed': -7}}, 'INVALID_REQUEST', 'seed'),
    'empty stop string': ({'config': {'stop': ['']}}, 'INVALID_REQUEST', 'stop'),
    'negative timeout': ({'timeout': -1.0}, 'INVALID_REQUEST', 'timeout'),
    'negative image age': ({'image_source': Query.LATEST, 'max_image_age': -1.0},
                           'INVALID_REQUEST', 'max_image_age'),
}


@pytest.fixture(scope='module')
def pair():
    """One node for all bad inputs: it has to live through every one."""
    from harness import Client, Robot

    robot, client = Robot(), Client()
    yield robot, client
    client.close()
    robot.close()


@pytest.mark.parametrize('name', BAD)
def test_bad_input_gets_its_code_and_a_sentence(pair, name):
    _, client = pair
    fields, code, part = BAD[name]
    answer = client.ask(**fields)
    assert answer.error_code == getattr(Answer, f'ERROR_{code}'), answer.error_message
    assert part in answer.error_message and answer.error_message.endswith('.')
    assert answer.finish_reason == 'error'
    good = client.ask('still there?')
    assert (good.error_code, good.text) == (Answer.ERROR_NONE, 'still there?||1')


@pytest.mark.parametrize('name', ['empty prompt', 'unknown encoding', 'both kinds of image',
                                  'schema that is not JSON'])
def test_a_bad_goal_is_aborted_with_the_same_code(pair, name):
    _, client = pair
    fields, code, _ = BAD[name]
    _, answer = client.generate(**fields).end()
    assert answer.error_code == getattr(Answer, f'ERROR_{code}')


def test_a_refused_request_is_on_the_answers_topic_too(pair):
    robot, client = pair
    client.heard(robot)
    client.ask(' ', request_id='refused')
    found = wait_until(lambda: [a for a in client.answers if a.request_id == 'refused'])
    assert [a.error_code for a in found] == [Answer.ERROR_INVALID_REQUEST]


def test_messages_carry_no_path_or_address():
    fields = query().get_fields_and_field_types()
    assert not [name for name in fields if any(
        word in name for word in ('path', 'url', 'file', 'model', 'uri'))]
