# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A web server on this machine that says what a test tells it to."""
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@contextmanager
def server(pages):
    """Serve {path: bytes, a redirect's target, a status, or a function of the handler}.

    Gives its address and the list of the paths that were asked for.
    """
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            page = pages.get(self.path, 404)
            if callable(page):
                page(self)
            elif isinstance(page, int):
                self.send_error(page)
            elif isinstance(page, str):
                self.send_response(302)
                self.send_header('Location', page)
                self.end_headers()
            else:
                self.send_response(200)
                self.send_header('Content-Length', str(len(page)))
                self.end_headers()
                self.wfile.write(page)

        def log_message(self, *_):
            pass

    web = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    web.daemon_threads = True
    threading.Thread(target=web.serve_forever, daemon=True).start()
    try:
        yield f'http://127.0.0.1:{web.server_port}', asked
    finally:
        web.shutdown()
        web.server_close()


def endless(handler):
    """Send zeros for ever, without telling how many."""
    handler.send_response(200)
    handler.end_headers()
    send(handler, bytes(1 << 16), 0)


def trickle(handler):
    """Send a byte now and then."""
    handler.send_response(200)
    handler.end_headers()
    send(handler, b'x', 0.05)


def send(handler, data, pause):
    try:
        while True:
            handler.wfile.write(data)
            handler.wfile.flush()
            time.sleep(pause)
    except OSError:
        return  # who asked has gone, as it should


def liar(handler):
    """Tell of more than is taken."""
    handler.send_response(200)
    handler.send_header('Content-Length', str(1 << 40))
    handler.end_headers()


def silent(handler):
    """Say nothing."""
    time.sleep(3)


def drip(handler):
    """Send a header, letter by letter, for ever."""
    handler.wfile.write(b'HTTP/1.0 200 OK\r\nX-Slow: ')
    send(handler, b'x', 0.05)
