# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Pictures from the web: http(s) only, of bounded size and time, and pictures indeed."""
import io
import time

import numpy as np
import pytest
from PIL import Image
from web import drip, endless, liar, server, silent, trickle

from nanovlm_ros.chat import url as module
from nanovlm_ros.chat.url import fetch_picture
from nanovlm_ros.types import ErrorCode, NanoVlmError


def png():
    data = io.BytesIO()
    Image.new('RGB', (6, 4), (1, 2, 3)).save(data, 'PNG')
    return data.getvalue()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    for name in ('http_proxy', 'https_proxy', 'HTTP_PROXY', 'HTTPS_PROXY', 'all_proxy'):
        monkeypatch.delenv(name, raising=False)


def refused(url):
    with pytest.raises(NanoVlmError) as caught:
        fetch_picture(url)
    return caught.value


def test_a_picture_is_fetched_whatever_its_address_ends_in():
    with server({'/a?size=1': png()}) as (host, _):
        frame = fetch_picture(f'{host}/a?size=1')
    assert frame.frame_id == f'{host}/a'
    np.testing.assert_array_equal(frame.rgb, np.full((4, 6, 3), (1, 2, 3)))


def test_letters_of_all_languages_may_be_in_an_address():
    with server({'/stra%C3%9Fe%20a.png': png()}) as (host, _):
        assert fetch_picture(f'{host}/straße%20a.png').width == 6


def test_redirects_are_followed_to_other_pages_but_not_for_ever():
    with server({'/a': '/b', '/b': '/c', '/c': png(), '/round': '/round'}) as (host, asked):
        assert fetch_picture(f'{host}/a').width == 6
        assert asked == ['/a', '/b', '/c']
        assert 'cannot be fetched' in refused(f'{host}/round').message
        assert len(asked) < 20


@pytest.mark.parametrize('target', ['file:///etc/passwd', 'ftp://127.0.0.1/a.png', 'data:,x'])
def test_no_redirect_leads_to_another_scheme(target):
    with server({'/a': target}) as (host, _):
        error = refused(f'{host}/a')
    assert error.code == ErrorCode.INVALID_REQUEST
    assert 'it redirects to ftp://' in error.message or 'is not allowed' in error.message


@pytest.mark.parametrize('url', ['file:///etc/passwd', 'ftp://host/a.png', 'gopher://host/a'])
def test_other_schemes_are_refused(url):
    assert 'only http:// and https:// are fetched' in refused(url).message


def test_more_than_is_taken_is_refused_be_it_told_or_not(monkeypatch):
    monkeypatch.setattr(module, 'MAX_BYTES', 1 << 20)
    with server({'/liar': liar, '/endless': endless}) as (host, _):
        for path in ('/liar', '/endless'):
            assert 'more than the 1 MiB' in refused(host + path).message


def test_what_is_slow_or_silent_is_given_up(monkeypatch):
    monkeypatch.setattr(module, 'TIMEOUT', 0.3)
    monkeypatch.setattr(module, 'SILENCE', 0.2)
    with server({'/trickle': trickle, '/silent': silent, '/drip': drip}) as (host, _):
        began = time.monotonic()
        for path in ('/trickle', '/drip'):
            assert 'not come in 0.3 s' in refused(host + path).message
        assert 'timed out' in refused(f'{host}/silent').message
        assert time.monotonic() - began < 2.5


def test_what_is_no_picture_is_told():
    with server({'/page': b'<html>Log in</html>', '/half': png()[:40]}) as (host, _):
        for path in ('/page', '/half'):
            error = refused(host + path)
            assert error.code == ErrorCode.BAD_IMAGE and f'{host}{path}: ' in error.message


def test_what_is_not_there_is_a_sentence_without_secrets():
    with server({}) as (host, asked):
        message = refused(host.replace('//', '//user:secret@') + '/a.png').message
        assert 'no user or password is sent' in message and 'secret' not in message
        assert not asked
        message = refused(host + '/a.png?key=hidden').message
        assert message == f'{host}/a.png cannot be fetched: the server says 404 Not Found.'
    assert 'refused' in refused(f'{host}/a.png').message  # nobody listens any more
    assert 'cannot be fetched' in refused('http://nowhere.invalid/a.png').message
    assert 'cannot be fetched' in refused('http://[::1/a.png').message
    assert 'cannot be fetched' in refused('http://host:port/a.png').message
