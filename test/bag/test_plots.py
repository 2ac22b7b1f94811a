# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""Plots are sound SVG, bounded in size, and draw what they are given."""
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from nanovlm_ros.bag import plots


def parsed(html):
    return ElementTree.fromstring(html)


def of_class(html, name):
    return [e for e in parsed(html).iter() if e.get('class') == name]


@pytest.mark.parametrize('low, high, expected', [
    (0, 10, [0, 2, 4, 6, 8, 10]), (0, 1, [0, .2, .4, .6, .8, 1]), (3, 3, [3]),
    (-1, 7, [-1, 0, 1, 2, 3, 4, 5, 6, 7])])
def test_ticks_are_round(low, high, expected):
    assert plots.ticks(low, high, 8 if high == 7 else 5) == pytest.approx(expected)


def test_a_lane_has_a_rectangle_for_each_run():
    html = plots.strips([0, 1, 2, 3, 4, 5], {'said': ['a', 'a', 'b', None, 'a', 'a']},
                        {'a': 'c0', 'b': 'c1'}, {}, 'title')
    assert (len(of_class(html, 'c0')), len(of_class(html, 'c1'))) == (2, 1)
    first, second = of_class(html, 'c0')
    assert float(first.get('width')) == pytest.approx(float(second.get('width')), abs=0.2)


def test_bars_are_as_high_as_the_share():
    html = plots.strips([0, 0, 1, 1], {}, {}, {'wrong': ([1, 1, 0, 1], 'bad')}, 'title')
    assert [float(bar.get('height')) for bar in of_class(html, 'bad')] == [18, 9]


def test_an_hour_of_answers_stays_small():
    random = np.random.default_rng(0)
    seconds = np.arange(36_000) / 10
    html = plots.strips(seconds, {'said': random.choice(['a', 'b'], 36_000).tolist()},
                        {'a': 'c0', 'b': 'c1'}, {'wrong': (random.random(36_000) < .1, 'bad')},
                        'title')
    assert len(html) < 300_000
    dots = plots.points(seconds, random.integers(0, 5, 36_000).tolist(),
                        random.integers(0, 5, 36_000).tolist(), random.random(36_000) < .9,
                        'title')
    assert len(dots) < 1_000_000


def test_points_tell_right_from_wrong():
    html = plots.points([0, 1, 2, 3, 4], [1.0, 3.0, None, 2.0, 9.0], [1.0, 2.0, 2.0, 1.0, None],
                        [True, False, False, True, False], 'title')
    # One off may be right; without a truth nothing is wrong.
    assert len(of_class(html, 'c0')) == 3 and len(of_class(html, 'bad')) == 1
    assert len(of_class(html, 'truth')) == 1


def test_a_histogram_counts_everything_and_names_its_marks():
    html = plots.histogram([1.0] * 99 + [50.0], {'p50': 1.0, 'p99': 50.0}, 'ms', 'title')
    counts = [int(tip.text.split()[0]) for tip in parsed(html).iter('title')]
    assert sum(counts) == 100 and 'p99 50 ms' in html


def test_stacks_count_everything():
    html = plots.stacked([0, 0.1, 9.9, 10], ['kept', 'busy', 'busy', 'kept'], ['kept', 'busy'],
                         {'kept': 'c0', 'busy': 'bad'}, 'title')
    counts = [int(tip.text.split()[0]) for tip in parsed(html).iter('title')]
    assert sum(counts) == 4


def test_a_gauge_draws_value_and_interval():
    html = plots.gauge({'value': 0.5, 'low': 0.25, 'high': 0.75, 'n': 4})
    assert re.findall(r'x1="([\d.]+)"', html) == ['30.0', '30.0', '90.0']
    assert plots.gauge({'value': None, 'low': None, 'high': None, 'n': 0}) == ''


@pytest.mark.parametrize('draw', [
    lambda: plots.strips([5.0], {'said': ['<x> & "y"']}, {}, {'w': ([1], 'bad')}, '<t>'),
    lambda: plots.points([5.0], [3.0], [3.0], [True], '<t>'),
    lambda: plots.points([0, 1], [-2.5, None], [None, None], [False, False], 't'),
    lambda: plots.histogram([0.0], {}, 'ms', '<t>'),
    lambda: plots.stacked([1.0], ['a'], ['a', 'b'], {'a': 'c0', 'b': 'c1'}, 't')])
def test_little_data_and_strange_text_are_drawn_all_the_same(draw):
    assert parsed(draw()).tag == 'div'


def test_nothing_is_drawn_of_nothing():
    assert plots.strips([], {}, {}, {}, 't') == ''
    assert plots.points([0.0], [None], [None], [False], 't') == ''
