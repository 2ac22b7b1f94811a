# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The chat on a terminal: what a person sees, and what Ctrl-C does when."""
import os
import signal
import subprocess
import sys
import time

import pytest
from PIL import Image
from terminal import CTRL_C, CTRL_D, PATIENCE, ROOT, UP, Terminal

SLOW = str(ROOT / 'test' / 'chat' / 'slow_chat.py')
PROMPT = '>> PROMPT: '


@pytest.fixture
def chat(tmp_path):
    """Return a function that starts a chat with a slow model on a terminal."""
    started = []

    def start(*arguments, **options):
        options = {'XDG_STATE_HOME': str(tmp_path), 'PYTHONPATH': str(ROOT), **options}
        started.append(Terminal(SLOW, 'chat', *arguments, **options))
        return started[-1]

    yield start
    for terminal in started:
        terminal.__exit__()


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / 'a picture.png'
    Image.new('RGB', (32, 24), 'red').save(path)
    return str(path)


def test_a_chat_with_pictures_and_follow_ups_until_ctrl_d(chat, picture):
    seen = chat()
    seen.expect(PROMPT)
    seen.enter(picture)
    seen.expect('32 x 24 pixels')
    seen.enter('hello')
    seen.expect('<hello|1>')
    seen.expect('first token')
    seen.expect(PROMPT)
    seen.enter('again')
    seen.expect('<again|2>')
    seen.enter('/help')
    seen.expect('Ctrl-C stops an answer')
    seen.enter('clear')
    seen.expect('The chat is empty')
    seen.enter('new')
    seen.expect('<new|1>')
    seen.expect(PROMPT)
    seen.type(CTRL_D)
    assert seen.wait() == 0


def test_ctrl_c_stops_an_answer_and_the_chat_goes_on(chat):
    seen = chat()
    seen.expect(PROMPT)
    seen.enter('please count')
    seen.expect('5 6 7')
    seen.type(CTRL_C)
    seen.expect('Stopped')
    seen.expect(PROMPT)
    assert ' 100 ' not in seen.seen
    seen.enter('hello')
    seen.expect('<hello|1>')
    seen.expect(PROMPT)
    seen.enter('/exit')
    assert seen.wait() == 0


def test_ctrl_c_twice_ends_the_chat_in_an_answer_and_at_an_empty_prompt(chat):
    seen = chat()
    seen.expect(PROMPT)
    seen.enter('please count')
    seen.expect('5 6 7')
    seen.type(CTRL_C)
    seen.expect('Stopped')
    seen.interrupt_prompt()
    assert seen.wait() == 130
    assert 'Traceback' not in seen.seen
    seen = chat()
    seen.expect(PROMPT)
    seen.interrupt_prompt()
    assert seen.wait() == 130
    assert 'Traceback' not in seen.seen


def test_ctrl_c_empties_a_line_that_was_begun(chat):
    seen = chat()
    seen.expect(PROMPT)
    seen.type('half a line')
    seen.expect('half a line')
    seen.interrupt_prompt()
    seen.expect(PROMPT)
    seen.enter('whole')
    seen.expect('<whole|1>')
    seen.expect(PROMPT)
    seen.interrupt_prompt()
    assert seen.wait() == 130


def test_in_a_list_ctrl_c_stops_one_answer_and_twice_all(chat):
    seen = chat('-p', 'count 1', '-p', 'hello')
    seen.expect('5 6 7')
    seen.type(CTRL_C)
    seen.expect('<hello|1>')
    assert seen.wait() == 1  # an answer is missing
    seen = chat('-p', 'count 1', '-p', 'count 2', '-p', 'hello')
    seen.expect('5 6 7')
    seen.type(CTRL_C)
    seen.expect('Stopped')
    seen.type(CTRL_C)  # the next answer has begun
    assert seen.wait() == 130
    assert 'hello|' not in seen.seen


def test_what_was_typed_is_there_the_next_time_and_for_nobody_else(chat, tmp_path):
    for typed in ('first', UP):
        seen = chat()
        seen.expect(PROMPT)
        seen.enter(typed)
        seen.expect('<first|1>')
        seen.expect(PROMPT)
        seen.type(CTRL_D)
        assert seen.wait() == 0
    history = tmp_path / 'nanovlm_ros' / 'chat_history'
    assert history.read_text() == 'first\n'  # readline keeps one of two that are alike
    assert history.stat().st_mode & 0o77 == 0


def test_a_history_that_cannot_be_kept_is_told_of_and_no_end(chat, tmp_path):
    (tmp_path / 'file').touch()
    seen = chat(XDG_STATE_HOME=str(tmp_path / 'file'))
    seen.expect('The history cannot be kept')
    seen.expect(PROMPT)
    seen.enter('hello')
    seen.expect('<hello|1>')


def test_names_of_files_are_completed(chat, picture):
    seen = chat(columns=500)
    seen.expect(PROMPT)
    seen.type(picture[:-6] + '\t')
    seen.expect('picture.png')
    seen.type('\n')
    seen.expect('32 x 24 pixels')


def test_answers_are_wrapped_to_the_terminal_by_whole_words(chat):
    seen = chat('-p', 'please count', '--max-new-tokens', '60', '--no-stats', columns=20)
    assert seen.wait() == 0
    lines = seen.seen.replace('\r', '').split('\n')
    first = lines.index(next(line for line in lines if line.startswith('0 1 2')))
    answer = lines[first:first + 3]
    assert [len(line) for line in answer] == [19, 20, 17]
    assert ' '.join(answer) == ' '.join(map(str, range(23)))


def test_a_thumbnail_is_drawn_where_the_terminal_can_and_colours_are_put_back(chat, picture):
    for options, drawn in (({'COLORTERM': 'truecolor'}, True), ({}, False),
                           ({'COLORTERM': 'truecolor', 'NO_COLOR': '1'}, False)):
        seen = chat('-p', picture, '-p', 'hello', **options)
        assert seen.wait() == 0
        assert ('▀' in seen.seen) is drawn
        assert ('\x1b[' in seen.seen) is ('NO_COLOR' not in options)
        assert seen.seen.rindex('\x1b[0m') > seen.seen.rindex('\x1b[2m') if not drawn and (
            '\x1b[' in seen.seen) else True
    seen = chat('-p', picture, '-p', 'hello', '--no-thumbnails', COLORTERM='truecolor')
    assert seen.wait() == 0 and '▀' not in seen.seen


def test_a_pipe_that_is_closed_is_no_traceback():
    done = subprocess.run(
        f'"{sys.executable}" "{SLOW}" chat -p "please count" | head -c 5', shell=True,
        cwd=ROOT, env={**os.environ, 'PYTHONPATH': str(ROOT)}, capture_output=True, text=True,
        check=False, timeout=PATIENCE)
    assert done.stdout == '0 1 2' and 'Traceback' not in done.stderr
    assert 'BrokenPipe' not in done.stderr


def test_an_interrupt_from_outside_stops_an_answer_that_nobody_watches():
    process = subprocess.Popen(
        [sys.executable, SLOW, 'chat', '-p', 'please count'], cwd=ROOT, text=True,
        env={**os.environ, 'PYTHONPATH': str(ROOT)}, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE)
    begun = process.stdout.read(5)
    process.send_signal(signal.SIGINT)
    began = time.monotonic()
    out, err = process.communicate(timeout=PATIENCE)
    assert begun == '0 1 2' and process.returncode == 1 and ' 150 ' not in out
    assert out.endswith('\n') and 'Stopped' in err and time.monotonic() - began < 3
