# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""results.parquet: the rows as a table, for pandas, Polars, DuckDB and the like."""
from typing import List

from nanovlm_ros.bag.extra import missing
from nanovlm_ros.bag.labels import canonical
from nanovlm_ros.bag.result_folder import Results
from nanovlm_ros.bag.system import TIMES

_TEXTS = ('bag', 'question', 'prompt', 'prompt_hash', 'camera', 'frame_id', 'text', 'json',
          'json_status', 'finish_reason', 'error_message', 'model', 'config')
_NUMBERS = ('phrasing', 'error_code', 'prompt_tokens', 'image_tokens', 'completion_tokens')
_ROWS = 50_000  # written at a time


def write_parquet(results: Results) -> None:
    """Write a row for each row; columns have the same names, what is nested is flattened.

    `stamp_ns`, `log_ns`, `answered_ns` are int64 as they are: timestamps of other tools
    lose nanoseconds or take them for a time zone. `truth` and `score` are JSON texts
    (null: none), `correct` is a column of its own. Raises NanoVlmError without pyarrow.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise missing('pyarrow', 'results.parquet') from error
    images = pyarrow.list_(pyarrow.struct([
        ('stamp_ns', pyarrow.int64()), ('log_ns', pyarrow.int64()),
        ('frame_id', pyarrow.string()),
        ('camera', pyarrow.string()), ('width', pyarrow.int32()), ('height', pyarrow.int32())]))
    schema = pyarrow.schema(
        [(name, pyarrow.string()) for name in _TEXTS]
        + [(name, pyarrow.int32()) for name in _NUMBERS]
        + [('stamp_ns', pyarrow.int64()), ('log_ns', pyarrow.int64()), ('images', images),
           ('truth', pyarrow.string()), ('score', pyarrow.string()),
           ('correct', pyarrow.bool_()), ('cached_tokens', pyarrow.int32()),
           ('answered_ns', pyarrow.int64())]
        + [(name, pyarrow.float64()) for name in TIMES])
    path = results.folder / 'results.parquet'
    part = path.with_name(path.name + '.part')
    with pyarrow.parquet.ParquetWriter(part, schema, compression='zstd') as writer:
        for begin in range(0, len(results.rows), _ROWS):
            writer.write_table(pyarrow.Table.from_pylist(
                _flat(results.rows[begin:begin + _ROWS]), schema=schema))
    part.replace(path)


def _flat(rows: List[dict]) -> List[dict]:
    return [{
        **{name: row[name] for name in (*_TEXTS, *_NUMBERS, 'stamp_ns', 'log_ns', 'images')},
        'truth': None if row['truth'] is None else canonical(row['truth']),
        'score': None if row['score'] is None else canonical(row['score']),
        'correct': None if row['score'] is None else row['score']['correct'],
        **{name: row['measured'].get(name) for name in
           ('cached_tokens', 'answered_ns', *TIMES)},
    } for row in rows]
