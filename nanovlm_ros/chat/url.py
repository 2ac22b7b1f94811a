# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Pictures from the web, for a person at a terminal; no robot's message ever comes here."""
import threading
import time
import urllib.error
import urllib.request
from concurrent import futures
from http.client import HTTPException
from urllib.parse import quote, urlsplit

from nanovlm_ros.chat.entries import shown
from nanovlm_ros.pictures import picture
from nanovlm_ros.types import ErrorCode, Frame, NanoVlmError

MAX_BYTES = 20 << 20
TIMEOUT = 30.0       # s, for all of it
SILENCE = 10.0       # s, without a byte
SCHEMES = ('http', 'https')
SAFE = "%!#$&'()*+,/:;=?@[]~"  # stay as they are in an address; other letters are encoded


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows a few redirects, none of them to another scheme."""

    max_redirections = 5

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        _check_scheme(newurl, 'it redirects to')
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def fetch_picture(url: str) -> Frame:
    """Return the picture at an http(s) address, its pixels checked.

    Raises INVALID_REQUEST when it cannot be had: another scheme, no such host or page, more
    than MAX_BYTES, too slow; and BAD_IMAGE when it is no picture.
    """
    name = shown(url)
    try:
        _check_scheme(url, 'it is')
        if '@' in urlsplit(url).netloc:
            raise _invalid('no user or password is sent; download the picture.')
        data = _in_time(url)
    except NanoVlmError as error:
        raise NanoVlmError(error.code, f'{name} cannot be fetched: {error.message}') from error
    frame = picture(data, name)
    frame.rgb  # now, for a page that is no picture is an answer of the server
    return frame


def _in_time(url: str) -> bytes:
    """Fetch on a thread of its own: a server that drips its headers must not hold the chat."""
    done: 'futures.Future[bytes]' = futures.Future()

    def work() -> None:
        try:
            done.set_result(_fetch(url))
        except BaseException as error:
            done.set_exception(error)

    threading.Thread(target=work, name='fetch', daemon=True).start()
    try:
        return done.result(TIMEOUT)
    except futures.TimeoutError:
        raise _invalid(f'it has not come in {TIMEOUT:g} s.') from None


def _fetch(url: str) -> bytes:
    end = time.monotonic() + TIMEOUT
    opener = urllib.request.OpenerDirector()
    for handler in (
            urllib.request.ProxyHandler(), urllib.request.HTTPHandler(),
            urllib.request.HTTPSHandler(), _Redirects(), urllib.request.HTTPErrorProcessor(),
            urllib.request.HTTPDefaultErrorHandler()):
        opener.add_handler(handler)
    request = urllib.request.Request(
        quote(url, safe=SAFE), headers={'User-Agent': 'nanovlm', 'Accept': 'image/*'})
    try:
        with opener.open(request, timeout=SILENCE) as response:
            _check_size(int(response.headers.get('Content-Length') or 0))
            return _read(response, end)
    except urllib.error.HTTPError as error:
        raise _invalid(f'the server says {error.code} {error.reason}.') from error
    except urllib.error.URLError as error:
        raise _invalid(f'{getattr(error.reason, "strerror", None) or error.reason}.') from error
    except (OSError, HTTPException, ValueError) as error:
        raise _invalid(f'{error or type(error).__name__}.') from error


def _read(response, end: float) -> bytes:
    data = bytearray()
    while piece := response.read1(1 << 16):
        data += piece
        _check_size(len(data))
        if time.monotonic() > end:
            raise _invalid(f'it has not come in {TIMEOUT:g} s.')
    return bytes(data)


def _check_size(size: int) -> None:
    if size > MAX_BYTES:
        raise _invalid(f'it has more than the {MAX_BYTES >> 20} MiB that are taken; download it '
                       'and make it smaller.')


def _check_scheme(url: str, how: str) -> None:
    try:
        scheme = urlsplit(url).scheme.lower()
    except ValueError as error:
        raise _invalid(f'it is no address: {error}.') from error
    if scheme not in SCHEMES:
        raise _invalid(f'{how} {scheme or "no"}://, and only http:// and https:// are fetched.')


def _invalid(message: str) -> NanoVlmError:
    return NanoVlmError(ErrorCode.INVALID_REQUEST, message)
