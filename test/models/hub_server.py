# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A model hub on 127.0.0.1 that speaks as much of the hub's HTTP API as a download needs.

`/api/models/NAME/revision/REVISION` lists files with sizes and digests,
`/NAME/resolve/COMMIT/FILE` gives small files and redirects large ones to a second server,
as the hub does to its content network. huggingface_hub's own downloads work with it, too
(`tree`, HEAD). Faults make it misbehave, once each.
"""
import hashlib
import json
import socket
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

LARGE = 10_000  # bytes from which a file is kept as the hub keeps weights: by sha256, elsewhere


def digest_of(content: bytes) -> str:
    """Return the name that the hub gives to a content."""
    if len(content) >= LARGE:
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b'blob %d\0' % len(content) + content).hexdigest()


class Fault:
    """What goes wrong with the next answer about a file ('' is the list of files)."""

    def __init__(self, *, status=0, cut=None, content=None, no_range=False, length=None,
                 hold=0.0):
        self.status = status      # answer with this instead
        self.cut = cut            # close the connection after so many bytes of the body,
        self.hold = hold          # and after so many seconds
        self.content = content    # send these bytes instead
        self.length = length      # say and send so many bytes only
        self.no_range = no_range  # send all of it, whatever was asked


class Repo:
    """One repository: commits with their files, and the branches and tags that name them."""

    def __init__(self):
        self.commits, self.refs = {}, {}
        self.token = ''      # needed to read it
        self.gated = False   # the token needs access besides
        self.faults = {}     # file name -> list of Fault, used up one by one

    def commit(self, files: dict, *refs: str) -> str:
        """Add a commit and move refs to it."""
        parts = sorted((name, digest_of(content)) for name, content in files.items())
        commit = hashlib.sha1(repr((parts, len(self.commits))).encode()).hexdigest()
        self.commits[commit] = dict(files)
        self.refs.update({ref: commit for ref in refs or ('main',)})
        return commit

    def fault(self, name: str, *faults: Fault) -> None:
        """Let the next answers about a file go wrong, in this order."""
        self.faults.setdefault(name, []).extend(faults)


class _Server(ThreadingHTTPServer):
    """A server whose end is the end of its connections, too."""

    daemon_threads = True

    def __init__(self, handler, hub):
        super().__init__(('127.0.0.1', 0), handler)
        self.hub, self._open = hub, set()
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def process_request(self, request, client_address):
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request):
        self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, *_):
        """Say nothing of clients that went away: tests kill them."""

    def stop(self):
        self.shutdown()
        self.server_close()
        for connection in list(self._open):
            with suppress(OSError):  # its thread may have closed it meanwhile
                connection.shutdown(socket.SHUT_RDWR)


class HubServer:
    """The hub; a context manager. `requests` holds (path, headers) of each request."""

    def __init__(self):
        self.repos, self.requests, self.store_requests = {}, [], []
        self.stored = {}  # digest -> (content, fault of the next answer, commit)
        self._hub, self._store = _Server(_HubHandler, self), _Server(_StoreHandler, self)

    @property
    def endpoint(self) -> str:
        return f'http://127.0.0.1:{self._hub.server_port}'

    @property
    def store(self) -> str:
        return f'http://127.0.0.1:{self._store.server_port}'

    def add(self, name: str, files: dict) -> Repo:
        """Add a repository with one commit on main."""
        self.repos[name] = Repo()
        self.repos[name].commit(files)
        return self.repos[name]

    def asked_for(self, name: str) -> list:
        """Return the headers of every request for the content of a file."""
        return [headers for path, headers in self.requests if path.endswith('/' + name)
                and '/resolve/' in path]

    def stop(self) -> None:
        """Listen no more; the ports stay closed."""
        for server in (self._hub, self._store):
            server.stop()

    def __enter__(self) -> 'HubServer':
        return self

    def __exit__(self, *_) -> None:
        self.stop()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    disable_nagle_algorithm = True  # else a body waits 40 ms behind its headers

    def log_message(self, *_):
        """Stay silent."""

    def refuse(self, status: int, code: str = '') -> None:
        body = b'{"error": "no"}'
        self.send_response(status)
        if code:
            self.send_header('X-Error-Code', code)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def send(self, content: bytes, fault: Fault, **headers: str) -> None:
        """Send a body, or the range of it that was asked for, and go wrong as told."""
        content = content if fault.content is None else fault.content
        body, asked = content, self.headers.get('Range', '')
        begin = int(asked.removeprefix('bytes=').removesuffix('-') or 0)
        if asked and not fault.no_range:
            if begin >= len(content):
                return self.refuse(416)
            body = content[begin:]
            self.send_response(206)
            self.send_header('Content-Range', f'bytes {begin}-{len(content) - 1}/{len(content)}')
        else:
            self.send_response(200)
        body = body[:fault.length]
        self.send_header('Content-Length', str(len(body)))
        for key, value in headers.items():
            self.send_header(key.replace('_', '-'), value)
        self.end_headers()
        if self.command == 'HEAD':
            return
        self.wfile.write(body[:fault.cut])
        if fault.cut is not None:
            self.wfile.flush()
            time.sleep(fault.hold)
            self.close_connection = True


class _HubHandler(_Handler):

    def do_GET(self):
        hub, path = self.server.hub, unquote(urlsplit(self.path).path)
        hub.requests.append((path, dict(self.headers)))
        parts = path.strip('/').split('/')
        listing = parts[:2] == ['api', 'models']
        name = '/'.join(parts[2:4] if listing else parts[:2])
        repo = hub.repos.get(name)
        told = self.headers.get('Authorization', '').removeprefix('Bearer ')
        if repo is None or (repo.token and not repo.gated and told != repo.token):
            return self.refuse(404 if told else 401, 'RepoNotFound')
        if repo.gated and told != repo.token:
            return self.refuse(403 if told else 401, 'GatedRepo')
        revision = '/'.join(parts[5:]) if listing else parts[3]
        commit = repo.refs.get(revision, revision)
        if commit not in repo.commits:
            return self.refuse(404, 'RevisionNotFound')
        file = '' if listing else '/'.join(parts[4:])
        faults = repo.faults.get(file, [])
        fault = faults.pop(0) if faults else Fault()
        if fault.status:
            return self.refuse(fault.status)
        files = repo.commits[commit]
        if listing:
            body = _tree(files) if parts[4] == 'tree' else _listing(name, commit, files)
            return self.send(body, fault)
        if file not in files:
            return self.refuse(404, 'EntryNotFound')
        self.give(files[file], fault, commit)

    do_HEAD = do_GET

    def give(self, content: bytes, fault: Fault, commit: str) -> None:
        digest = digest_of(content)
        if len(content) < LARGE:
            self.send(content, fault, ETag=f'"{digest}"', X_Repo_Commit=commit)
            return
        hub = self.server.hub
        hub.stored[digest] = (content, fault, commit)
        self.send_response(302)
        for key, value in (('Location', f'{hub.store}/{digest}'), ('Content-Length', '0'),
                           ('X-Linked-Etag', f'"{digest}"'), ('X-Repo-Commit', commit),
                           ('X-Linked-Size', str(len(content)))):
            self.send_header(key, value)
        self.end_headers()


class _StoreHandler(_Handler):

    def do_GET(self):
        hub = self.server.hub
        hub.store_requests.append((self.path, dict(self.headers)))
        content, fault, commit = hub.stored[self.path.strip('/')]
        self.send(content, fault, ETag=f'"{self.path.strip("/")}"', X_Repo_Commit=commit)

    do_HEAD = do_GET


def _tree(files: dict) -> bytes:
    entries = []
    for file, content in files.items():
        entries.append({'type': 'file', 'path': file, 'size': len(content), 'oid': '0' * 40})
        if len(content) >= LARGE:
            entries[-1]['lfs'] = {'oid': digest_of(content), 'size': len(content),
                                  'pointerSize': 130}
    return json.dumps(entries).encode()


def _listing(name: str, commit: str, files: dict) -> bytes:
    siblings = []
    for file, content in files.items():
        entry = {'rfilename': file, 'size': len(content), 'blobId': '0' * 40}
        if len(content) >= LARGE:
            entry['lfs'] = {'sha256': digest_of(content), 'size': len(content),
                            'pointerSize': 130}
        else:
            entry['blobId'] = digest_of(content)
        siblings.append(entry)
    return json.dumps({'id': name, 'modelId': name, 'sha': commit, 'private': False,
                       'tags': [], 'downloads': 0, 'siblings': siblings}).encode()
