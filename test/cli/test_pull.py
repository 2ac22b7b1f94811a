# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""`nanovlm pull`, in processes of its own that read HF_ENDPOINT and HF_HOME as users set them."""
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / 'models'))  # hub_layouts, hub_server

import hub_layouts as layouts  # noqa: E402
from hub_server import Fault, HubServer, digest_of  # noqa: E402

NAME = 'someone/a-model'
SHARD = 'model-00002-of-00002.safetensors'


@pytest.fixture
def server():
    with HubServer() as running:
        yield running


@pytest.fixture
def start(server, tmp_path):
    """Start `nanovlm pull` with the environment of a user whose hub is the server."""
    root = str(Path(__file__).parents[2])

    def call(*arguments, **environment):
        kept = {k: v for k, v in os.environ.items()
                if not k.upper().startswith(('HF_', 'HUGGING')) and 'PROXY' not in k.upper()}
        return subprocess.Popen(
            [sys.executable, '-m', 'nanovlm_ros.cli.main', 'pull', *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**kept, 'HF_HOME': str(tmp_path / 'home'), 'HF_ENDPOINT': server.endpoint,
                 'PYTHONPATH': os.pathsep.join([root, *filter(None, sys.path)]), **environment})
    return call


@pytest.fixture
def pull(start):
    """Run it to its end; return (exit code, stdout, stderr)."""
    def call(*arguments, **environment):
        process = start(*arguments, **environment)
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err
    return call


def test_pull_says_where_the_model_is_and_which_commit(server, pull, tmp_path):
    repo = server.add(NAME, layouts.llava_16())
    commit = repo.commit(layouts.llava_16(), 'v1')
    code, out, err = pull(NAME, '--revision', 'v1')
    assert code == 0
    folder = Path(re.match(rf'{NAME} is in (\S+) \(commit {commit}\)\n$', out).group(1))
    assert folder.is_relative_to(tmp_path / 'home') and (folder / SHARD).is_file()
    assert re.search(r'download someone/a-model: 100%.*kB?.*\[.*B/s\]', err)


def test_pull_brings_the_tower_and_both_work_offline(server, pull):
    server.add(NAME, layouts.llava_15())
    server.add(layouts.CLIP, layouts.clip_tower())
    code, first, _ = pull(NAME)
    assert code == 0
    assert layouts.CLIP in first and 'trust_pickle' in first
    server.requests.clear()
    assert pull(NAME, HF_HUB_OFFLINE='1')[:2] == (0, first)
    assert not server.requests
    server.stop()
    code, again, err = pull(NAME)  # a network that is gone is a warning when all is here
    assert (code, again) == (0, first) and server.endpoint in err


@pytest.mark.parametrize('arguments, said', [
    (['someone/unknown'], 'hf auth login'), (['no-owner'], "'owner/name'"),
    ([NAME, '--revision', 'v9'], "'v9'"), ([NAME, '--revision', '../../x'], 'revision')])
def test_what_cannot_be_pulled_is_one_sentence_and_1(server, pull, arguments, said):
    server.add(NAME, layouts.llava_16())
    code, out, err = pull(*arguments)
    assert (code, out) == (1, '')
    assert err.startswith('nanovlm: ') and err.count('\n') == 1 and said in err


def test_a_pull_that_was_killed_goes_on_where_it_was(server, start, pull, tmp_path):
    files = layouts.llava_16()
    server.add(NAME, files).fault(SHARD, Fault(cut=90_000, hold=30))
    process = start(NAME)
    part = (tmp_path / 'home' / 'hub' / f'models--{NAME.replace("/", "--")}' / 'blobs'
            / f'{digest_of(files[SHARD])}.nanovlm.incomplete')
    try:
        deadline = time.monotonic() + 30
        while not part.exists() or not part.stat().st_size:
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.02)
    finally:
        process.kill()
        process.communicate()
    size = part.stat().st_size
    code, out, _ = pull(NAME)
    assert code == 0
    folder = Path(out.split(' is in ')[1].split(' (commit')[0])
    assert (folder / SHARD).read_bytes() == files[SHARD]
    assert server.asked_for(SHARD)[-1]['Range'] == f'bytes={size}-'
