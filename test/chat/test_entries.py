# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""What is typed is taken for what it is: a question, a picture, a file of prompts, a command."""
import json

import pytest

from nanovlm_ros.chat.entries import Command, Picture, Text, read_entries, read_entry, shown
from nanovlm_ros.types import ErrorCode, NanoVlmError


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Work where a.jpg and my photo.png lie."""
    monkeypatch.chdir(tmp_path)
    for name in ('a.jpg', 'my photo.png'):
        (tmp_path / name).touch()
    return tmp_path


def one(text):
    """The only entry of a text, about which there is nothing to say."""
    notes = []
    entry, = read_entry(text, notes.append)
    assert not notes
    return entry


def refused(call, *arguments):
    with pytest.raises(NanoVlmError) as caught:
        call(*arguments, lambda note: None)
    assert caught.value.code == ErrorCode.INVALID_REQUEST
    return caught.value.message


def listed(folder, *items, name='prompts.json'):
    (folder / name).write_text(json.dumps(items))
    return str(folder / name)


@pytest.mark.parametrize('text', [
    'What is this?', 'reset the clock', 'Is it clear', 'What is in a.jpg', '1 / 2 is?', 'a',
    'See https://host/a.jpg please', 'It says "a.jpg"', '/home is a folder', "'quoted'", '"'])
def test_questions_stay_questions(text):
    assert one(f'  {text} ') == Text(text)


@pytest.mark.parametrize('text', [
    'a.jpg', './a.jpg', 'my photo.png', 'missing.webp', '/data/my photos/x.JPEG',
    'http://host/picture', 'https://user:secret@host/a.png?key=1', 'ftp://host/a.jpg'])
def test_pictures_are_paths_and_addresses(text):
    assert one(text) == Picture(text)


def test_a_file_that_was_dropped_on_the_terminal_in_quotes_is_one(folder):
    assert one("'my photo.png'") == one('"my photo.png"') == Picture('my photo.png')


@pytest.mark.parametrize('text, name', [
    ('reset', 'reset'), ('clear', 'reset'), ('/reset', 'reset'), ('/clear', 'reset'),
    (' Reset ', 'reset'), ('/help', 'help'), ('/exit', 'exit'), ('/quit', 'exit')])
def test_commands_are_known_with_and_without_a_slash(text, name):
    assert one(text) == Command(name)


def test_a_command_that_does_not_exist_is_no_question():
    assert 'no command /sing' in refused(read_entry, '/sing')


def test_nothing_is_nothing():
    assert read_entry('  ', None) == []


def test_a_text_file_is_one_question(folder):
    (folder / 'ask.txt').write_text('What is this?\nIn two words.\n')
    assert one('ask.txt') == Text('What is this?\nIn two words.')


def test_a_json_file_is_a_list_of_all_kinds_and_finds_pictures_beside_it(folder, monkeypatch):
    (folder / 'ask.txt').write_text('From a file?')
    path = listed(folder, 'a.jpg', 'What?', {'text': 'Where?'}, 'reset', {'image': 'a.jpg'},
                  {'image': 'my photo.png', 'text': 'Which?'}, {'text': 'clear'},
                  {'text': 'a.jpg'}, 'https://host/x', 'ask.txt')
    monkeypatch.chdir('/')
    beside = [Picture(str(folder / name)) for name in ('a.jpg', 'my photo.png')]
    assert read_entry(path, None) == [
        beside[0], Text('What?'), Text('Where?'), Command('reset'), beside[0], beside[1],
        Text('Which?'), Command('reset'), beside[0], Picture('https://host/x'),
        Text('From a file?')]


def test_a_picture_that_is_not_beside_the_json_file_is_looked_for_where_one_works(folder):
    (folder / 'lists').mkdir()
    path = listed(folder / 'lists', 'a.jpg', 'What?')
    assert read_entries([path], None) == [Picture('a.jpg'), Text('What?')]


def test_keys_that_are_not_read_are_told_of_once(folder):
    notes = []
    path = listed(folder, {'text': 'a', 'tokens': 16}, {'text': 'b', 'tokens': 16, 'id': 1})
    assert read_entry(path, notes.append) == [Text('a'), Text('b')]
    assert notes == [f'{path}: only "text" and "image" are read, not \'id\', \'tokens\'.']


@pytest.mark.parametrize('content, said', [
    ('{"text": "x"}', 'a JSON dict; it must be a flat list'), ('[1]', 'entry 1 is 1;'),
    ('["a", ["b"]]', "entry 2 is ['b'];"), ('[{"question": "x"}]', 'neither "text" nor "image"'),
    ('[{"text": 7}]', '"text" is 7; it must be a text'), ('[" "]', "entry 1 is ' ';"),
    ('["/sing"]', 'no command /sing'), ('[', 'is not JSON'), ('[' * 99999, 'is not JSON'),
    ('["\\ud800"]', 'not Unicode'), ('["no.txt"]', 'no.txt cannot be read')])
def test_a_json_file_that_is_no_such_list_is_a_sentence(folder, content, said):
    (folder / 'bad.json').write_text(content)
    assert said in refused(read_entry, 'bad.json')


def test_files_that_cannot_be_read_are_named(folder):
    (folder / 'latin.txt').write_bytes(b'\xe4')
    (folder / 'empty.txt').touch()
    (folder / 'large.txt').write_bytes(b'x' * ((1 << 20) + 1))
    for name, said in (('no.txt', 'No such file'), ('no.json', 'No such file'),
                       ('latin.txt', 'not UTF-8'), ('empty.txt', 'is empty'),
                       ('large.txt', 'more than 1048576 bytes')):
        message = refused(read_entry, name)
        assert name in message and said in message
    assert 'not Unicode' in refused(read_entry, b'\xff?'.decode(errors='surrogateescape'))


def test_a_list_that_cannot_be_run_to_its_end_is_refused_before_it_begins(folder):
    assert 'missing.png is not there' in refused(read_entries, ['a.jpg', 'x', 'missing.png', 'x'])
    assert 'Nothing is asked about a.jpg' in refused(read_entries, ['a.jpg'])
    assert 'Nothing is asked about a.jpg' in refused(read_entries, ['a.jpg', 'reset', 'a.jpg'])
    assert 'Nothing is asked' in refused(read_entries, ['https://host/x'])


def test_an_address_is_shown_without_its_secrets():
    assert shown('https://user:secret@host:80/a.png?key=1') == 'https://host:80/a.png'
    assert shown('a b.jpg') == 'a b.jpg'
