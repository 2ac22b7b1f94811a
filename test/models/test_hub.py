# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Models come whole and verified from a hub, once, and only the files needed.

The hub is a server in this process, given to `fetch_model` with a cache folder of the
test: huggingface_hub reads HF_ENDPOINT and HF_HOME once, when it is imported, so setting
them here would reach only the first test. `test/cli/test_pull.py` sets them, for processes
of its own.
"""
import errno
import json
import logging
import os
import resource
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import huggingface_hub
import pytest

from nanovlm_ros.models import hub, hub_cache, hub_transfer
from nanovlm_ros.models.hub import fetch_model
from nanovlm_ros.models.hub_files import is_hub_name, outside_tower
from nanovlm_ros.types import ErrorCode, NanoVlmError

sys.path.insert(0, str(Path(__file__).parent))  # hub_layouts, hub_server

import hub_layouts as layouts  # noqa: E402
from hub_server import Fault, HubServer, digest_of  # noqa: E402

NAME = 'someone/a-model'
SHARD = 'model-00002-of-00002.safetensors'  # of llava_16, large enough to be cut
LAYOUTS = {layout.__name__: layout for layout in (
    layouts.llava_15, layouts.llava_16, layouts.vila_15, layouts.obsidian)}


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """No token, proxy or setting of this machine; and no waiting."""
    for name in ('HF_TOKEN', 'HUGGING_FACE_HUB_TOKEN', 'HTTP_PROXY', 'http_proxy', 'ALL_PROXY'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(huggingface_hub.constants, 'HF_TOKEN_PATH', '/nonexistent/token')
    monkeypatch.setattr(huggingface_hub.constants, 'HF_HUB_OFFLINE', False)
    monkeypatch.setattr(hub, 'WAITS', (0.0,) * 3)
    monkeypatch.setattr(hub_transfer, 'WAITS', (0.0,) * 3)
    monkeypatch.setattr(hub_cache, 'RESERVE', 0)


@pytest.fixture
def server():
    with HubServer() as running:
        yield running


@pytest.fixture
def fetch(server, tmp_path):
    """Call `fetch_model` with the server and an empty cache."""
    def call(name=NAME, revision='', **options):
        return fetch_model(name, revision, endpoint=server.endpoint, cache=tmp_path / 'hub',
                           **options)
    call.cache = tmp_path / 'hub'
    return call


def refused(call, *arguments, code=ErrorCode.MODEL_ERROR, **options) -> str:
    with pytest.raises(NanoVlmError) as caught:
        call(*arguments, **options)
    assert caught.value.code == code
    assert caught.value.message.endswith('.')
    return caught.value.message


def contents(folder: Path) -> dict:
    return {path.relative_to(folder).as_posix(): path.read_bytes()
            for path in folder.rglob('*') if path.is_file()}


def parts(fetch) -> list:
    return list(fetch.cache.rglob('*.incomplete'))


# What comes


@pytest.mark.parametrize('layout', LAYOUTS.values(), ids=LAYOUTS)
def test_all_of_a_model_comes_and_nothing_else(server, fetch, layout):
    files = layout()
    server.add(NAME, files)
    assert contents(fetch()) == {
        name: content for name, content in files.items() if name not in layouts.DECOYS}


def test_the_folder_is_named_by_the_commit(server, fetch):
    repo = server.add(NAME, layouts.llava_16())
    assert fetch().name == repo.refs['main']


def test_pickles_stay_where_there_are_safetensors(server, fetch):
    server.add(NAME, {**layouts.llava_15(), **layouts.llava_16()})
    assert not [name for name in contents(fetch()) if name.endswith('.bin')]
    assert not [path for path, _ in server.requests if path.endswith('.bin')]


def test_weights_under_another_name_come_when_there_are_no_usual_ones(server, fetch):
    files = layouts.vila_15()
    files['mm_projector/projector.safetensors'] = files.pop('mm_projector/model.safetensors')
    server.add(NAME, files)
    assert 'mm_projector/projector.safetensors' in contents(fetch())


def test_of_a_vision_tower_come_configuration_and_weights(server, fetch):
    server.add(layouts.CLIP, layouts.clip_tower())
    folder = fetch(layouts.CLIP, vision_tower=True)
    assert set(contents(folder)) == {'config.json', 'preprocessor_config.json',
                                     'pytorch_model.bin'}


@pytest.mark.parametrize('layout, tower', [
    ('llava_15', layouts.CLIP), ('llava_16', ''), ('vila_15', ''), ('obsidian', '')])
def test_only_a_checkpoint_without_a_tower_asks_for_one(server, fetch, layout, tower):
    server.add(NAME, LAYOUTS[layout]())
    assert outside_tower(fetch()) == tower


def test_a_tower_inside_one_safetensors_file_is_seen(server, fetch):
    files = {name: content for name, content in layouts.llava_16().items()
             if not name.startswith('model')}
    server.add(NAME, {**files, 'model.safetensors': layouts.llava_16()[SHARD]})
    assert outside_tower(fetch()) == ''


# When the network is asked


def test_a_complete_copy_is_used_without_a_request(server, fetch):
    server.add(NAME, layouts.llava_16())
    folder = fetch()
    server.requests.clear()
    assert fetch() == folder
    assert not server.requests


def test_a_branch_that_moved_is_followed_only_by_an_update(server, fetch):
    repo = server.add(NAME, layouts.llava_16())
    first = fetch()
    second = repo.commit({**layouts.llava_16(), 'config.json': layouts.text(new=True)})
    assert fetch() == first
    assert fetch(update=True).name == second
    assert fetch().name == second
    assert (first / 'config.json').read_bytes() == layouts.llava_16()['config.json']
    assert len(server.asked_for(SHARD)) == 1  # the same content is not brought twice


def test_a_tag_and_a_commit_stay_what_they_are(server, fetch):
    repo = server.add(NAME, layouts.llava_16())
    tagged = repo.commit({**layouts.llava_16(), 'config.json': b'{"tagged": 1}'}, 'v1/first')
    assert fetch(revision='v1/first').name == tagged
    assert fetch(revision=repo.refs['main']).name == repo.refs['main']
    server.requests.clear()
    assert fetch(revision=tagged, update=True).name == tagged  # a commit cannot move
    assert not server.requests


def test_every_file_is_of_the_commit_that_the_branch_was(server, fetch):
    repo = server.add(NAME, layouts.vila_15())
    commit = fetch().name
    assert commit == repo.refs['main']
    revisions = {path.split('/')[4] for path, _ in server.requests if '/resolve/' in path}
    assert revisions == {commit}


def test_without_a_network_a_complete_copy_is_used(server, fetch, caplog):
    server.add(NAME, layouts.vila_15())
    folder = fetch()
    server.stop()
    assert fetch() == folder
    with caplog.at_level(logging.WARNING):
        assert fetch(update=True) == folder
    assert server.endpoint in caplog.text and str(folder) in caplog.text


def test_offline_means_no_request(server, fetch, monkeypatch):
    server.add(NAME, layouts.vila_15())
    folder = fetch()
    server.requests.clear()
    monkeypatch.setattr(huggingface_hub.constants, 'HF_HUB_OFFLINE', True)
    assert fetch() == fetch(update=True) == folder
    said = refused(fetch, 'someone/other')
    assert 'HF_HUB_OFFLINE' in said and 'someone/other' in said and str(fetch.cache) in said
    assert not server.requests


@pytest.mark.parametrize('lost, named', [
    ('llm/config.json', 'llm/config.json'), ('llm/tokenizer.model', 'llm/tokenizer.model'),
    ('llm/model.safetensors', 'llm/model*.safetensors'),
    ('mm_projector/model.safetensors', 'mm_projector/model*.safetensors')])
def test_an_incomplete_copy_is_completed_and_refused_offline(
        server, fetch, monkeypatch, lost, named):
    server.add(NAME, layouts.vila_15())
    (fetch() / lost).resolve().unlink()
    monkeypatch.setattr(huggingface_hub.constants, 'HF_HUB_OFFLINE', True)
    assert named in refused(fetch)
    monkeypatch.setattr(huggingface_hub.constants, 'HF_HUB_OFFLINE', False)
    server.requests.clear()
    assert (fetch() / lost).read_bytes() == layouts.vila_15()[lost]
    assert len([path for path, _ in server.requests if '/resolve/' in path]) == 1


def test_a_copy_that_lacks_a_shard_of_its_index_is_incomplete(server, fetch, monkeypatch):
    files = layouts.llava_16()
    files['model.safetensors.index.json'] = layouts.text(weight_map={'a': 'model-x.safetensors'})
    files['model-x.safetensors'] = files[SHARD]
    server.add(NAME, files)
    (fetch() / 'model-x.safetensors').unlink()
    monkeypatch.setattr(huggingface_hub.constants, 'HF_HUB_OFFLINE', True)
    assert 'model-x.safetensors' in refused(fetch)


# Interrupted and damaged downloads


def test_a_file_cut_in_the_middle_goes_on_from_there(server, fetch):
    files = layouts.llava_16()
    server.add(NAME, files).fault(SHARD, Fault(cut=70_000), Fault(cut=30_000))
    assert contents(fetch())[SHARD] == files[SHARD]
    ranges = [headers.get('Range') for headers in server.asked_for(SHARD)]
    assert ranges == [None, 'bytes=70000-', 'bytes=100000-']


def test_a_stopped_download_goes_on_in_the_next_run(server, fetch):
    files = layouts.llava_16()
    server.add(NAME, files)
    whole = sum(len(content) for name, content in files.items() if name not in layouts.DECOYS)

    def stop(stage, done, total):
        assert total == whole
        if done > total - 40_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(progress=stop)
    part, = parts(fetch)
    size = part.stat().st_size
    assert 0 < size < len(files[SHARD])
    assert not (part.parents[1] / 'refs').exists()  # nothing counts as downloaded
    server.requests.clear()
    told = []
    assert contents(fetch(progress=lambda *step: told.append(step)))[SHARD] == files[SHARD]
    assert [h['Range'] for h in server.asked_for(SHARD)] == [f'bytes={size}-']
    assert len([path for path, _ in server.requests if '/resolve/' in path]) == 1
    assert told[0] == (f'download {NAME}', whole - len(files[SHARD]) + size, whole)
    assert told[-1] == (f'download {NAME}', whole, whole)
    assert not parts(fetch)


def test_a_server_without_ranges_starts_over(server, fetch):
    files = layouts.llava_16()
    server.add(NAME, files).fault(SHARD, Fault(cut=70_000), Fault(no_range=True))
    assert contents(fetch())[SHARD] == files[SHARD]


def test_a_server_that_starts_over_and_cuts_forever_is_given_up(server, fetch):
    server.add(NAME, layouts.llava_16()).fault(
        SHARD, *(Fault(cut=50_000, no_range=True) for _ in range(20)))
    assert NAME in refused(fetch)
    assert len(server.asked_for(SHARD)) < 10


@pytest.mark.parametrize('file', ['', 'config.json', SHARD])
def test_a_busy_hub_is_asked_again(server, fetch, file):
    server.add(NAME, layouts.llava_16()).fault(file, Fault(status=503), Fault(status=429))
    assert SHARD in contents(fetch())


@pytest.mark.parametrize('file', ['', 'config.json', SHARD])
def test_a_hub_that_stays_busy_is_named(server, fetch, file):
    server.add(NAME, layouts.llava_16()).fault(file, *(Fault(status=503) for _ in range(9)))
    said = refused(fetch)
    assert '503' in said and NAME in said and server.endpoint in said


def test_damaged_bytes_never_get_a_name(server, fetch):
    files = layouts.llava_16()
    damaged = bytes([files[SHARD][0] ^ 1]) + files[SHARD][1:]
    server.add(NAME, files).fault(SHARD, Fault(content=damaged))
    said = refused(fetch)
    assert SHARD in said and digest_of(files[SHARD]) in said
    assert not parts(fetch) and not list(fetch.cache.rglob(SHARD))
    assert contents(fetch())[SHARD] == files[SHARD]  # and nothing has to be cleaned up


def test_a_damaged_small_file_is_seen_too(server, fetch):
    server.add(NAME, layouts.llava_16()).fault('config.json', Fault(
        content=layouts.llava_16()['config.json'].replace(b'llava', b'lava!')))
    assert 'config.json' in refused(fetch)


def test_a_file_that_is_too_long_is_refused(server, fetch):
    files = layouts.llava_16()
    server.add(NAME, files).fault(SHARD, Fault(content=files[SHARD] + b'x'))
    said = refused(fetch)
    assert SHARD in said and str(len(files[SHARD])) in said
    assert not parts(fetch)


def test_a_file_that_stays_too_short_is_refused(server, fetch):
    files = layouts.llava_16()
    short = files[SHARD][:-10]
    server.add(NAME, files).fault(SHARD, *(Fault(content=short) for _ in range(9)))
    said = refused(fetch)
    assert f'{SHARD} ends at {len(short)} of {len(files[SHARD])} bytes' in said
    assert not list(fetch.cache.rglob(SHARD))


def test_a_part_that_is_longer_than_its_file_is_thrown_away(server, fetch):
    files = layouts.llava_16()
    server.add(NAME, files)
    blobs = fetch.cache / f'models--{NAME.replace("/", "--")}' / 'blobs'
    blobs.mkdir(parents=True)
    (blobs / f'{digest_of(files[SHARD])}.nanovlm.incomplete').write_bytes(b'x' * 200_000)
    assert contents(fetch())[SHARD] == files[SHARD]


def test_two_at_once_bring_each_file_once(server, fetch):
    files = layouts.llava_16()
    server.add(NAME, files)
    with ThreadPoolExecutor(2) as pool:
        one, two = pool.map(lambda _: fetch(), range(2))
    assert one == two and contents(one)[SHARD] == files[SHARD]
    assert len(server.asked_for(SHARD)) == 1


# What is refused


def test_an_unknown_name_says_how_to_go_on(server, fetch):
    said = refused(fetch, 'someone/unknown')
    assert "'someone/unknown'" in said and server.endpoint in said and 'hf auth login' in said


def test_a_gated_model_says_where_to_ask(server, fetch):
    server.add(NAME, layouts.llava_16()).gated = True
    server.repos[NAME].token = 'right'
    said = refused(fetch)
    assert 'gated' in said and f'{server.endpoint}/{NAME}' in said and 'HF_TOKEN' in said


def test_a_private_model_comes_with_a_token_that_stays_on_the_hub(server, fetch, monkeypatch):
    server.add(NAME, layouts.llava_16()).token = 'hf_secret'
    assert 'HF_TOKEN' in refused(fetch)
    monkeypatch.setenv('HF_TOKEN', 'hf_secret')
    assert SHARD in contents(fetch())
    assert server.store_requests
    assert not [1 for _, headers in server.store_requests if 'hf_secret' in str(headers)]


@pytest.mark.parametrize('status', [401, 403])
def test_a_refused_file_says_how_to_log_in(server, fetch, status):
    server.add(NAME, layouts.llava_16()).fault(SHARD, Fault(status=status))
    said = refused(fetch)
    assert str(status) in said and NAME in said and 'HF_TOKEN' in said


@pytest.mark.parametrize('revision', ['v9', '0' * 40])
def test_a_revision_that_is_not_there_is_named(server, fetch, revision):
    server.add(NAME, layouts.llava_16())
    said = refused(fetch, NAME, revision)
    assert repr(revision) in said and NAME in said


@pytest.mark.parametrize('layout, lost, named', [
    ('llava_16', 'config.json', 'config.json'),
    ('llava_16', SHARD, SHARD),
    ('llava_16', 'tokenizer.model', 'tokenizer.model'),
    ('llava_15', 'pytorch_model-00001-of-00002.bin', 'pytorch_model-00001-of-00002.bin'),
    ('vila_15', 'llm/config.json', 'llm/config.json'),
    ('vila_15', 'llm/tokenizer.model', 'llm/tokenizer.model'),
    ('vila_15', 'vision_tower/model.safetensors', 'vision_tower/model*.safetensors'),
    ('vila_15', 'mm_projector/config.json', 'mm_projector/config.json'),
    ('obsidian', 'pytorch_model.bin', 'pytorch_model*.bin')])
def test_a_repository_without_a_needed_file_is_refused_before_weights_come(
        server, fetch, layout, lost, named):
    files = LAYOUTS[layout]()
    files.pop(lost)
    server.add(NAME, files)
    said = refused(fetch)
    assert named in said and NAME in said
    assert not [path for path, _ in server.requests if '/resolve/' in path]


def test_an_index_that_names_a_file_that_is_not_there_stops_before_weights(server, fetch):
    server.add(NAME, {**layouts.llava_16(), 'model.safetensors.index.json': layouts.text(
        weight_map={'a': 'model-extra.safetensors'})})
    assert 'model-extra.safetensors' in refused(fetch)
    assert not server.asked_for(SHARD)


@pytest.mark.parametrize('index', [b'<html>', b'[]', b'{}', b'{"weight_map": {"a": 1}}'])
def test_a_broken_index_is_named(server, fetch, index):
    server.add(NAME, {**layouts.llava_16(), 'model.safetensors.index.json': index})
    assert 'model.safetensors.index.json' in refused(fetch)


def test_a_hub_that_is_not_there_is_one_sentence(server, fetch):
    server.stop()
    said = refused(fetch)
    assert server.endpoint in said and NAME in said and 'cannot be reached' in said


@pytest.mark.parametrize('answer', [
    b'<html>Welcome to the hotel</html>', b'[]', b'{}', b'{"id": "a/b", "sha": "../../x"}'])
def test_an_answer_that_is_not_a_hubs_is_refused(server, fetch, answer):
    server.add(NAME, layouts.llava_16()).fault('', Fault(content=answer))
    said = refused(fetch)
    assert server.endpoint in said and 'HF_ENDPOINT' in said


def test_a_list_without_sizes_is_refused(server, fetch):
    names = [{'rfilename': name} for name in layouts.llava_16()]
    server.add(NAME, layouts.llava_16()).fault('', Fault(content=json.dumps(
        {'id': NAME, 'sha': 'a' * 40, 'siblings': names}).encode()))
    assert 'size' in refused(fetch)


@pytest.mark.parametrize('name', [
    '', 'demo', '/etc/passwd', './models/x', '../x/y', '~/model', 'a/b/c', 'a/../b', 'a/b..c',
    'a--b/c', 'a/b.git', 'a/', '/b', 'a b/c', 'a/b\n', 'http://a/b', 'a\\b/c', 'é/b',
    'a/' + 'b' * 96])
def test_what_is_no_name_is_never_asked_for(server, fetch, name):
    assert not is_hub_name(name)
    assert repr(name) in refused(fetch, name, code=ErrorCode.INVALID_REQUEST)
    assert not server.requests and not fetch.cache.exists()


@pytest.mark.parametrize('revision', ['../x', '/etc', 'a/../b', 'a b', 'a\n', '.git', 'a//b', '-'])
def test_what_is_no_revision_is_never_asked_for(server, fetch, revision):
    said = refused(fetch, NAME, revision, code=ErrorCode.INVALID_REQUEST)
    assert repr(revision) in said
    assert not server.requests and not fetch.cache.exists()


# The disk


def test_a_full_disk_is_refused_with_both_figures_before_anything_comes(
        server, fetch, monkeypatch):
    server.add(NAME, layouts.llava_16())
    usage = shutil.disk_usage('/')
    monkeypatch.setattr(shutil, 'disk_usage', lambda _: usage._replace(free=2_300_000_000))
    monkeypatch.setattr(hub_cache, 'RESERVE', 2_300_000_000)
    said = refused(fetch)
    assert '2.3 GB free' in said and ' kB more' in said and 'HF_HOME' in said
    assert not [path for path, _ in server.requests if '/resolve/' in path]


def test_what_is_here_needs_no_room(server, fetch, monkeypatch):
    repo = server.add(NAME, layouts.llava_16())
    fetch()
    repo.commit({**layouts.llava_16(), 'README.md': b'new'})
    usage = shutil.disk_usage('/')
    monkeypatch.setattr(shutil, 'disk_usage', lambda _: usage._replace(free=0))
    monkeypatch.setattr(hub_cache, 'RESERVE', 1)
    assert fetch(update=True).name == repo.refs['main']


def test_a_disk_that_fills_up_on_the_way_is_one_sentence(server, fetch):
    files = layouts.llava_16()
    server.add(NAME, files)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (120_000, hard))  # a write past it fails
    try:
        said = refused(fetch)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert os.strerror(errno.EFBIG) in said and str(fetch.cache) in said and 'HF_HOME' in said
    assert contents(fetch())[SHARD] == files[SHARD]
    assert server.asked_for(SHARD)[-1]['Range'] == 'bytes=120000-'


def test_a_cache_that_cannot_be_made_is_one_sentence(server):
    server.add(NAME, layouts.llava_16())
    said = refused(fetch_model, NAME, endpoint=server.endpoint, cache=Path('/dev/null/hub'))
    assert '/dev/null/hub' in said and 'HF_HOME' in said


def test_an_update_without_news_writes_nothing(server, fetch):
    def states():
        return {path: (path.lstat().st_ino, path.lstat().st_mtime_ns)
                for path in fetch.cache.rglob('*')}

    server.add(NAME, layouts.llava_16())
    fetch()
    before = states()
    fetch(update=True)
    assert states() == before


def test_a_file_system_without_links_holds_the_files_themselves(server, fetch, monkeypatch):
    def no_links(*_):
        raise OSError(errno.EPERM, 'Operation not permitted')

    files = layouts.vila_15()
    server.add(NAME, files)
    monkeypatch.setattr(Path, 'symlink_to', no_links)
    folder = fetch()
    assert not [path for path in folder.rglob('*') if path.is_symlink()]
    assert contents(folder)['llm/model.safetensors'] == files['llm/model.safetensors']
    server.requests.clear()
    assert fetch(update=True) == folder
    assert not [path for path, _ in server.requests if '/resolve/' in path]


# The cache is the hub's own


def test_the_tools_of_the_hub_find_what_came(server, fetch):
    server.add(NAME, layouts.vila_15())
    folder = fetch()
    found = huggingface_hub.hf_hub_download(
        NAME, 'config.json', subfolder='llm', cache_dir=fetch.cache, local_files_only=True)
    assert Path(found) == folder / 'llm' / 'config.json'
    report = huggingface_hub.scan_cache_dir(fetch.cache)
    assert not report.warnings
    assert {revision.commit_hash for repo in report.repos for revision in repo.revisions
            } == {folder.name}


def test_what_the_tools_of_the_hub_brought_is_used(server, fetch):
    server.add(NAME, layouts.vila_15())
    folder = huggingface_hub.snapshot_download(
        NAME, cache_dir=fetch.cache, endpoint=server.endpoint, allow_patterns=[
            '*.json', '*.model', '*.safetensors'])
    server.requests.clear()
    assert fetch() == Path(folder)
    assert not server.requests
