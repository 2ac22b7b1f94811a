# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
"""The report is one file: whole, escaped, bounded, and loads nothing."""
import re

import numpy as np
import pytest
import synthetic
from page_checker import HOSTILE, Checker

from nanovlm_ros.bag import page_parts
from nanovlm_ros.bag.outputs import summarise
from nanovlm_ros.bag.report import report
from nanovlm_ros.bag.result_folder import read_results


def page_of(folder, rows, dropped=(), pictures=synthetic.picture, **changes):
    results = read_results(synthetic.write(
        folder, rows, dropped, {'rows': 9, 'wall_s': 9.0}, **changes))
    return report(results, summarise(results), pictures)


@pytest.fixture(scope='module')
def page(tmp_path_factory):
    return page_of(tmp_path_factory.mktemp('run'), *synthetic.as_replay(synthetic.rows(120)))


def test_it_is_whole_and_shows_every_part(page):
    text = Checker(page).text
    for part in ('demo on drive', 'Questions', 'person', 'What was said', 'Over time',
                 'Worst answers', 'By phrasing', 'Event: Yes.', 'Speed', 'tokens per second',
                 'What the live node would have missed', 'Configuration', 'busy', 'real-time'):
        assert part in text, part


def test_it_loads_nothing(page):
    found = Checker(page)
    assert found.references
    assert all(ref.startswith(('data:image/jpeg;base64,', '#')) for ref in found.references)
    assert not {'script', 'link', 'iframe', 'object'} & set(found.tags)
    assert 'url(' not in page and '@import' not in page
    assert "default-src 'none'" in page


def test_it_works_in_the_dark_on_paper_and_on_a_telephone(page):
    for rule in ('prefers-color-scheme: dark', '@media print', 'max-width: 600px',
                 'width=device-width'):
        assert rule in page


def test_links_lead_somewhere(page):
    for target in re.findall(r'href="#([^"]+)"', page):
        assert f'id="{target}"' in page


def test_the_scores_are_those_of_the_summary(page, tmp_path):
    rows, dropped = synthetic.as_replay(synthetic.rows(120))
    summary = summarise(read_results(synthetic.write(tmp_path, rows, dropped)))
    right = summary['questions']['door']['metrics']['accuracy']
    assert f'<td class="n">{100 * right["value"]:.1f} %</td>' in page
    assert f'{100 * right["low"]:.1f} to {100 * right["high"]:.1f} %' in page


def test_a_number_within_the_tolerance_is_not_drawn_as_wrong(tmp_path):
    asked = synthetic.question('boxes', 'number', tolerance=1)
    rows = [{**row, 'truth': [5, 2], 'text': '3',
             'score': synthetic.scoring.score(asked, '3', '', [5, 2])}
            for row in synthetic.rows(4) if row['question'] == 'boxes']
    page = page_of(tmp_path, rows, questions=[asked])
    assert '<circle' in page and not re.search(r'<circle[^>]*class="bad"', page)


def test_no_text_of_users_models_or_bags_becomes_markup(tmp_path):
    rows = [{**row, 'bag': HOSTILE, 'camera': HOSTILE, 'text': HOSTILE, 'prompt': HOSTILE}
            for row in synthetic.rows(6)]
    rows[0] = {**rows[0], 'error_code': 13, 'error_message': HOSTILE, 'score': None}
    asked = [{**q, 'id': q['id'], 'phrasings': [HOSTILE] * len(q['phrasings']),
              'event': HOSTILE if q['score'] == 'yes_no' else ''}
             for q in synthetic.questions()]
    page = page_of(tmp_path, rows, questions=asked, model=HOSTILE, config=HOSTILE)
    assert '<script' not in page
    assert Checker(page).text.count('<script>') > 20


def test_strange_ids_and_choices_become_no_markup_either(tmp_path):
    asked = synthetic.question(HOSTILE, 'choice')
    rows = [{**row, 'question': HOSTILE, 'truth': HOSTILE, 'score': {
        'correct': False, 'said': HOSTILE, 'expected': f'{HOSTILE}2'}}
        for row in synthetic.rows(4) if row['question'] == 'door']
    page = page_of(tmp_path, rows, questions=[asked])
    assert '<script' not in page
    Checker(page)


def test_pictures_stop_at_the_budget_and_the_page_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(page_parts, 'BUDGET', 20_000)
    noise = np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8)
    page = page_of(tmp_path, synthetic.rows(200), pictures=lambda row: [noise])
    assert 1 <= page.count('<img') < 5
    assert 'the page is full' in page


def test_a_window_shows_a_few_of_its_images_and_always_the_newest(tmp_path):
    sizes = []

    def pictures(row):
        sizes.append(row)
        return [np.full((48, 64, 3), 20 * i, np.uint8) for i in range(9)]

    rows = [{**row, 'text': 'x', 'score': {'correct': False}} for row in synthetic.rows(1)
            if row['question'] == 'scene']
    page = page_of(tmp_path, rows, pictures=pictures)
    uris = re.findall(r'src="(data:[^"]+)"', page)
    assert len(sizes) == 1 and len(uris) == 3
    assert uris[-1] == page_parts.data_uri(np.full((48, 64, 3), 160, np.uint8))


def test_a_large_run_gives_a_page_of_bounded_size(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    page = page_of(tmp_path, synthetic.rows(400, right=0.6), pictures=lambda row: [noise])
    assert len(page) < page_parts.BUDGET + 2_000_000


def test_many_labels_are_folded_in_the_confusion_table():
    names = [f'label {i:02}' for i in range(40)]
    counts = [[int(i == j) * (i + 1) for j in range(40)] for i in range(40)]
    folded, sums = page_parts._folded(names, counts)
    assert len(folded) == 13 and folded[-1] == 'the rest (28)'
    assert sum(map(sum, sums)) == sum(map(sum, counts))
