"""The period of a series, found in its last rows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.detectors.univariate.auto import Auto
from agent.detectors.univariate.history.period import autocorrelation, find_periods, sharpened
from tests.detectors.detector_tables import column, run, table
from tests.naive_detectors import autocorrelation as naive_autocorrelation

RNG = np.random.default_rng


def noisy(period, n, seed=0, noise=0.5):
    return np.sin(2 * np.pi * np.arange(n) / period) + RNG(seed).normal(0, noise, n)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 999), n=st.integers(1, 60), gaps=st.floats(0, 0.9))
def test_the_autocorrelation_is_that_of_its_definition(seed, n, gaps):
    rng = RNG(seed)
    x = np.where(rng.random((3, n)) < gaps, np.nan, rng.normal(0, 1, (3, n)))
    expected = [naive_autocorrelation(list(line)) for line in x]
    np.testing.assert_allclose(autocorrelation(x), expected, atol=1e-9)


@pytest.mark.parametrize("period", [5, 24, 96, 288, 700, 1300])
def test_a_period_is_found_under_noise(period):
    assert find_periods(noisy(period, 4096)[None])[0] == pytest.approx(period, rel=0.05)


@pytest.mark.parametrize("period", [12, 24])
def test_the_period_and_not_a_multiple_of_it(period):
    square = (np.arange(1024) % period < 4).astype(float)
    assert find_periods(square[None])[0] == period


def test_a_week_is_found_where_the_days_differ():
    day, t = 24, np.arange(1024)
    working = t // day % 7 < 5
    x = np.where(working, np.exp(-(((t % day - 12) / 2.0) ** 2)), 0.0) + 2.0 * (t // day % 7)
    assert find_periods(x[None])[0] == 7 * day


def test_few_rows_are_enough_and_what_is_missing_does_not_matter():
    memory = np.full(4096, np.nan)
    memory[-500:] = noisy(96, 500, noise=0.2)
    memory[-500::7] = np.nan
    assert find_periods(memory[None])[0] == pytest.approx(96, rel=0.05)


@pytest.mark.parametrize("kind", ["white", "heavy", "red", "walk", "trend", "step", "constant", "nothing", "spike"])
def test_what_has_no_period_is_given_none(kind):
    n, k = 4096, 30
    rng = RNG(1)
    white = rng.normal(0, 1, (k, n))
    red = np.zeros((k, n))
    for t in range(1, n):
        red[:, t] = 0.95 * red[:, t - 1] + white[:, t]
    x = {
        "white": white,
        "heavy": rng.standard_t(2, (k, n)),
        "red": red,
        "walk": white.cumsum(axis=1),
        "trend": np.arange(n) + 50 * white,
        "step": (np.arange(n) > 2000) * 9.0 + white,
        "constant": np.full((k, n), 7.0),
        "nothing": np.full((k, n), np.nan),
        "spike": (np.arange(n) == 3000) * np.ones((k, n)),
    }[kind]
    assert (find_periods(x) > 0).mean() <= 0.1


@pytest.mark.parametrize("rows", [0, 1, 2, 10, 15])
def test_too_few_rows_have_no_period(rows):
    assert find_periods(np.ones((2, rows))).tolist() == [0, 0]


def test_scale_and_offset_and_neighbours_do_not_matter():
    x = np.stack([noisy(288, 4096), noisy(24, 4096, 1), RNG(2).normal(0, 1, 4096)])
    found = find_periods(x)
    assert found.tolist() == find_periods(1024.0 * x).tolist()
    assert found.tolist() == find_periods(-3.0 * x + 40.0).tolist()
    assert found.tolist() == [find_periods(line[None])[0] for line in x]


def test_one_wild_value_does_not_hide_it():
    x = noisy(96, 2048)
    x[1700] = 1e9
    assert find_periods(x[None])[0] == pytest.approx(96, rel=0.05)


@pytest.mark.parametrize("period", [5.25, 23.6, 96.3, 200.0])
def test_multiples_tell_the_period_to_a_part_of_a_row(period):
    x = np.stack([noisy(period, 1024), RNG(3).normal(0, 1, 1024)])
    fine = sharpened(x, find_periods(x))
    assert fine[0] == pytest.approx(period, rel=0.02)
    assert fine[1] == 0.0


@pytest.mark.parametrize("period", range(4, 13))
@pytest.mark.parametrize("seed", range(5))
def test_a_multiple_is_never_taken_for_another(period, seed):
    x = noisy(period, 1024, seed)[None]
    assert sharpened(x, np.array([period]))[0] == pytest.approx(period, abs=0.5)


@pytest.mark.parametrize("rows", [8, 12, 16, 20])
def test_a_cycle_of_a_few_rows_is_scored(rows):
    x = 50 + 10 * np.sin(2 * np.pi * np.arange(4100) / rows) + RNG(1).normal(0, 1, 4100)
    score = column(run(Auto("x"), table(np.zeros(len(x)), {"x": x})), "score")
    assert np.isfinite(score[128:]).all()
