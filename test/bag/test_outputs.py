# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""A folder of rows becomes a summary, a report, a table and a bag; or a sentence."""
import errno
import json

import pytest
import synthetic

from nanovlm_ros.bag import outputs
from nanovlm_ros.bag.result_folder import read_results
from nanovlm_ros.types import NanoVlmError


@pytest.fixture
def folder(tmp_path):
    return synthetic.write(tmp_path / 'run', synthetic.rows(20),
                           measured={'rows': 160, 'wall_s': 3.0})


def test_everything_is_written_and_nothing_else(folder):
    summary = outputs.write_outputs(folder, synthetic.picture)
    assert sorted(path.name for path in folder.iterdir()) == [
        'measured.json', 'report.html', 'results.jsonl', 'results.mcap', 'results.parquet',
        'run.json', 'summary.json']
    assert json.loads((folder / 'summary.json').read_text()) == summary


def test_the_same_rows_give_the_same_files(folder):
    names = ('summary.json', 'report.html', 'results.mcap')
    outputs.write_outputs(folder, synthetic.picture)
    first = [(folder / name).read_bytes() for name in names]
    outputs.write_outputs(folder, synthetic.picture)
    assert [(folder / name).read_bytes() for name in names] == first


def test_the_summary_says_what_was_run(folder):
    summary = outputs.summarise(read_results(folder))
    assert {name: summary[name] for name in (
        'model', 'config', 'mode', 'bags', 'rows', 'quantization')} == {
        'model': 'demo', 'config': 'c0ffee', 'mode': 'throughput', 'bags': ['drive'],
        'rows': 160, 'quantization': 'q4f16_1'}
    assert summary['confidence']['level'] == 0.95
    assert summary['system']['metrics']['real_time_factor']['value'] > 0


def test_the_terminal_gets_a_line_for_each_question(folder):
    lines = outputs.terminal_summary(outputs.summarise(read_results(folder))).splitlines()
    assert [line.split()[0] for line in lines] == [
        'question', 'person', 'door', 'boxes', 'sign', 'report', 'scene', 'free', 'all']
    assert 'no truth' in lines[-2] and '%' in lines[-1]


def test_a_run_without_rows_is_summed_up_too(folder):
    (folder / 'results.jsonl').write_text('')
    summary = outputs.write_outputs(folder, synthetic.picture)
    assert summary['rows'] == 0 and summary['overall'] == {'scored': 0, 'metrics': {}}
    assert 'never asked' in (folder / 'report.html').read_text()


def test_a_bag_that_has_moved_leaves_a_report_without_pictures_that_says_so(folder):
    outputs.write_outputs(folder)
    page = (folder / 'report.html').read_text()
    assert 'Pictures are missing: There is no bag at drive.mcap' in page
    assert '<img' not in page


def test_a_folder_that_is_none_is_a_sentence(tmp_path):
    with pytest.raises(NanoVlmError, match='has no run.json: it is not a folder that'):
        outputs.write_outputs(tmp_path)


def test_a_row_that_is_cut_short_is_a_sentence_with_its_line(folder):
    text = (folder / 'results.jsonl').read_text()
    (folder / 'results.jsonl').write_text(text[:-100])
    with pytest.raises(NanoVlmError, match='line 160, is not JSON.*it resumes'):
        read_results(folder)


def test_rows_share_what_they_have_in_common(folder):
    one, other = read_results(folder).rows_of('person')[:2]  # of one image
    assert one['images'] is other['images'] and one['camera'] is other['camera']
    assert all(a is b for a, b in zip(one, other)) and all(
        a is b for a, b in zip(one['measured'], other['measured']))


def test_rows_of_another_run_are_a_sentence(folder):
    run = json.loads((folder / 'run.json').read_text())
    run['questions'] = run['questions'][:-1]
    (folder / 'run.json').write_text(json.dumps(run))
    with pytest.raises(NanoVlmError, match="rows of 'free', which run.json does not ask"):
        read_results(folder)


def test_a_full_disk_is_a_sentence_and_keeps_the_answers(folder, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, 'No space left on device')

    before = (folder / 'results.jsonl').read_bytes()
    monkeypatch.setattr('nanovlm_ros.bag.results_mcap.write_mcap', full)
    with pytest.raises(NanoVlmError, match='cannot be written: No space left.*Make room'):
        outputs.write_outputs(folder, synthetic.picture)
    assert (folder / 'results.jsonl').read_bytes() == before
