# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Numbers are written as a reader expects them; every metric is defined in docs/metrics.md."""
import re
from pathlib import Path

import pytest
import synthetic

from nanovlm_ros.bag import catalog
from nanovlm_ros.bag.outputs import summarise
from nanovlm_ros.bag.result_folder import read_results

PAGE = (Path(__file__).parents[2] / 'docs' / 'metrics.md').read_text()


@pytest.mark.parametrize('value, unit, text', [
    (0.9876, 'share', '98.8 %'), (0.0421, 's', '42 ms'), (0.0012, 's', '1.2 ms'),
    (0.0, 's', '0 ms'), (12.34, 's', '12.3 s'), (1234.5, '1/s', '1,234 1/s'),
    (0.123456, '', '0.123'), (None, 'share', '–')])
def test_values_have_their_unit(value, unit, text):
    assert catalog.number(value, unit) == text


def test_intervals_name_the_unit_once():
    assert catalog.interval({'low': 0.5, 'high': 0.75}, 'share') == '50.0 to 75.0 %'
    assert catalog.interval({'low': 0.5, 'high': 20.0}, 's') == '500 ms to 20.0 s'
    assert catalog.interval({'low': None, 'high': None}, 's') == ''


@pytest.mark.parametrize('value, unit, text', [
    (0.05, 'share', '+5.0 pp'), (-0.05, 'share', '-5.0 pp'), (0.0, 'share', '0.0 pp'),
    (-0.0001, 'share', '0.0 pp'), (0.5, '', '+0.5'), (None, '', '–')])
def test_differences_have_their_sign(value, unit, text):
    assert catalog.signed(value, unit) == text


def test_every_metric_that_is_made_has_a_title_and_a_definition(tmp_path):
    kept, dropped = synthetic.as_replay(synthetic.rows(40))
    summary = summarise(read_results(synthetic.write(tmp_path, kept, dropped, {
        'rows': 40, 'wall_s': 1.0, 'engine_idle_s': 0.1, 'peak_memory_mib': 1.0})))
    names = {*summary['overall']['metrics'], *summary['system']['metrics'],
             *summary['system']['dropped']['metrics']}
    for found in summary['questions'].values():
        names |= {*found['metrics'], *found.get('events', {}).get('metrics', {})}
    for name in names:
        assert catalog.entry(name).title
    assert set(catalog.METRICS) <= names  # none is named that is never made
    defined = set(re.findall(r'`(\w+)`', PAGE))
    assert {name for name in names if not name.startswith('field_')} <= defined
    assert set(summary['system']['times']) <= defined and 'field_NAME' in PAGE
