"""NAB's rules on cases small enough to work out by hand."""

import numpy as np
import pytest

from benchmarks.nab_score import Judged, best_threshold, hits, normalised, raw_at, worth

TIME = np.arange(1000)


def total(score, windows, profile="standard", threshold=0.5):
    return raw_at([Judged.of(TIME, windows)], [score], profile, threshold)


def one(*rows):
    score = np.zeros(1000)
    score[list(rows)] = 1.0
    return score


def test_a_detection_at_the_left_edge_is_worth_one():
    assert total(one(400), [(400, 499)])[0] == pytest.approx(1.0)


def test_only_the_earliest_detection_of_a_window_counts():
    assert total(one(400, 450, 499), [(400, 499)])[0] == pytest.approx(1.0)


def test_a_detection_in_the_middle_follows_the_sigmoid():
    expected = worth(np.array(-0.5)) / worth(np.array(-1.0))
    assert total(one(450), [(400, 499)])[0] == pytest.approx(float(expected))


def test_a_false_row_before_any_window_costs_in_full_and_a_missed_window_one():
    assert total(one(300), [(400, 499)])[0] == pytest.approx(-0.11 - 1.0)
    assert total(one(300), [(400, 499)], "low_fp")[0] == pytest.approx(-0.22 - 1.0)
    assert total(one(300), [(400, 499)], "low_fn")[0] == pytest.approx(-0.11 - 2.0)


def test_a_row_just_behind_a_window_costs_less():
    behind = total(one(400, 500), [(400, 499)])[0]
    assert 1.0 - 0.11 < behind < 1.0


def test_the_first_fifteen_percent_are_not_judged():
    assert total(one(100), [(400, 499)])[0] == pytest.approx(-1.0)


def test_silence_is_0_and_perfection_100():
    files = [Judged.of(TIME, [(400, 499)])]
    assert normalised(*raw_at(files, [np.zeros(1000)], "standard", 0.5)) == 0.0
    assert normalised(*raw_at(files, [one(400)], "standard", 0.5)) == pytest.approx(100.0)


def test_the_best_threshold_drops_the_false_rows():
    files, score = [Judged.of(TIME, [(400, 499)])], one(400)
    score[[200, 300, 700]] = 0.4
    threshold = best_threshold(files, [score], "standard")
    assert 0.4 < threshold <= 1.0
    assert hits(files, [score], threshold) == (1, 0)
