# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""results.parquet holds every row, with types that lose nothing."""
import json
import sys

import pyarrow
import pyarrow.parquet
import pytest
import synthetic

from nanovlm_ros.bag import results_parquet
from nanovlm_ros.bag.result_folder import read_results
from nanovlm_ros.types import NanoVlmError


def table_of(folder, rows):
    results_parquet.write_parquet(read_results(synthetic.write(folder, rows)))
    return pyarrow.parquet.read_table(folder / 'results.parquet')


def test_every_row_is_there(tmp_path):
    rows, _ = synthetic.as_replay(synthetic.rows(30))
    found = table_of(tmp_path, rows).to_pylist()
    assert len(found) == len(rows)
    for row, got in zip(rows, found):
        for name in ('bag', 'question', 'prompt', 'text', 'json', 'stamp_ns', 'log_ns',
                     'completion_tokens', 'json_status', 'images'):
            assert got[name] == row[name], name
        assert (got['truth'] and json.loads(got['truth'])) == row['truth']
        assert got['correct'] == (row['score'] and row['score']['correct'])
        assert got['total_s'] == row['measured']['total_s']
        assert got['answered_ns'] == row['measured']['answered_ns']


def test_nanoseconds_are_whole_numbers(tmp_path):
    schema = table_of(tmp_path, synthetic.rows(2)).schema
    assert schema.field('stamp_ns').type == pyarrow.int64()
    assert schema.field('correct').type == pyarrow.bool_()
    assert schema.field('total_s').type == pyarrow.float64()


def test_rows_are_written_in_groups(tmp_path, monkeypatch):
    monkeypatch.setattr(results_parquet, '_ROWS', 10)
    assert table_of(tmp_path, synthetic.rows(5)).num_rows == 40
    assert pyarrow.parquet.ParquetFile(tmp_path / 'results.parquet').num_row_groups == 4


def test_no_rows_give_an_empty_table(tmp_path):
    synthetic.write(tmp_path, synthetic.rows(1))
    (tmp_path / 'results.jsonl').write_text('')
    results_parquet.write_parquet(read_results(tmp_path))
    assert pyarrow.parquet.read_table(tmp_path / 'results.parquet').num_rows == 0


def test_without_pyarrow_the_error_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'pyarrow', None)
    with pytest.raises(NanoVlmError, match=r'pip install nanovlm_ros\[eval\]'):
        results_parquet.write_parquet(read_results(synthetic.write(tmp_path, synthetic.rows(1))))
