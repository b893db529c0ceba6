"""The parts of `auto` against their obvious slow versions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.detectors.auto import Auto
from agent.detectors.history import Lags, neighbour_sums, phase_median, rows_a_period, sliding_distances, write
from agent.detectors.records import BASE, BLOCKS, held, record_age, rested
from agent.detectors.views import distribution, quantile_bins
from tests.detectors.detector_tables import column, run, table


def ages(values, factors, blocks=None):
    """Feed one series in rounds of 16."""
    blocks = np.zeros((1, 1, BLOCKS), np.float32)
    current = np.zeros((1, 1))
    out = []
    for begin in range(0, len(values), BASE):
        part = np.array(values[begin : begin + BASE])[None, None, :]
        out.append(record_age(blocks, current, np.array([begin]), part, np.array([part.shape[2]]), factors)[0, 0])
    return np.concatenate(out)


def exact_share(values):
    shares = []
    for t, value in enumerate(values):
        larger = [s for s in range(t) if values[s] >= value]
        shares.append((t - larger[-1] - 1 if larger else t) / max(t, 1))
    return np.array(shares) ** 1.5


@pytest.mark.parametrize("n", [40, 500, 5000])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_age_of_a_record_is_known_to_a_block(n, seed):
    values = np.random.default_rng(seed).gamma(1.0, 1.0, n).astype(np.float32).astype(float)
    got, exact = ages(values, (1.0,)), exact_share(values)
    number = np.maximum(np.arange(n), 1)
    block = np.where(
        np.arange(n) < BASE * BLOCKS, BASE, BASE * 2 ** np.ceil(np.log2((np.arange(n) + 1) / BASE / BLOCKS))
    )
    assert (got <= exact + 1e-12).all()
    assert (got ** (2 / 3) >= exact ** (2 / 3) - (block + 1) / number - 1e-9).all()


def test_a_record_by_far_scores_more_than_a_record_by_a_hair():
    quiet = [1.0] * 2000
    hair, far = ages([*quiet, 1.01], (1.0, 0.5))[-1], ages([*quiet, 3.0], (1.0, 0.5))[-1]
    assert hair == pytest.approx(0.5)
    assert far == pytest.approx(1.0)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 999), count=st.integers(0, 300), period=st.sampled_from([20, 37, 96]))
def test_neighbours_and_medians_equal_the_obvious_version(seed, count, period):
    rng = np.random.default_rng(seed)
    memory, length, windows = 256, 5, (8, 24, 64)
    x = rng.normal(0, 1, count + length).astype(np.float32).astype(float)
    store = np.zeros((1, memory + 128), np.float32)
    lags = Lags.of(np.array([period]), 4, 2, memory)
    write(store, np.array([0]), x[None, :count], np.array([count]))
    sums = neighbour_sums(store, np.array([count]), lags, windows)
    write(store, np.array([count]), x[None, count:], np.array([length]))
    got = sliding_distances(store, sums, np.array([count]), length, np.array([length]), lags, windows)
    np.testing.assert_allclose(sums, neighbour_sums(store, np.array([count + length]), lags, windows), atol=1e-9)
    near = max(period // 48, 1)
    offsets = [o for o in range(-2, 3) if abs(o) <= near]
    allowed = [d * period + o for d in range(1, 5) for o in offsets if 1 <= d * period + o <= memory]
    for window, distance in zip(windows, got, strict=True):
        for j in range(length):
            t, best = count + j, np.inf
            for lag in allowed:
                if lag >= window // 2 and t - lag - window + 1 >= 0:
                    best = min(
                        best, np.mean((x[t - window + 1 : t + 1] - x[t - lag - window + 1 : t - lag + 1]) ** 2)
                    )
            expected = np.sqrt(best) if np.isfinite(best) else np.nan
            np.testing.assert_allclose(distance[0, j], expected, rtol=1e-9)
    middle = phase_median(store, np.array([count + np.arange(length)]), lags)
    for j in range(length):
        past = [x[count + j - lag] for lag in allowed if count + j - lag >= 0]
        np.testing.assert_allclose(middle[0, j], np.median(past) if past else np.nan, rtol=1e-12)


def test_the_distribution_view_is_the_divergence_of_the_last_64_from_the_history():
    rng = np.random.default_rng(0)
    history, recent = rng.normal(0, 1, (1, 512)), rng.normal(2, 1, (1, 64))
    edges, usual = quantile_bins(history)
    p = np.bincount((recent[0][:, None] > edges[0]).sum(1), minlength=16) / 64
    expected = sum(a * np.log(a / b) for a, b in zip(p, usual[0], strict=True) if a > 0)
    np.testing.assert_allclose(distribution(recent, edges, usual), [[expected]], rtol=1e-12)


def test_a_score_is_held_for_16_rows_and_rests_after_an_alarm():
    ring = np.zeros((1, 1, 15))
    spike = np.zeros((1, 1, 40))
    spike[0, 0, 3] = 2.0
    assert np.flatnonzero(held(ring, spike, np.array([40]))[0, 0]).tolist() == list(range(3, 19))
    last = np.array([-(1 << 40)])
    score = np.array([[0.5, 1.2, 3.0, 0.5, 1.5]])
    out = rested(last, score, np.array([[10, 11, 12, 13, 14]]), np.array([5]), 1.0, 20)
    assert out.tolist() == [[0.5, 1.2, 0.0, 0.0, 0.0]]
    assert last.tolist() == [11]


def test_the_period_is_a_day_where_two_days_fit_else_a_share_of_the_memory():
    minute = 60 * 10**9
    got = rows_a_period(np.array([5 * minute, 60 * minute, 1000, 0, 10**18]), 4096, 14)
    assert got.tolist() == [288, 24, 292, 292, 292]


def test_it_notices_a_quiet_day_that_no_range_shows():
    """A daily wave, of which one day is flat at its mean: inside the range, wrong for its time of day."""
    n, day = 3000, 96
    rng = np.random.default_rng(1)
    x = 20 + 5 * np.sin(2 * np.pi * np.arange(n) / day) + rng.normal(0, 0.3, n)
    x[2400:2496] = 20 + rng.normal(0, 0.3, 96)
    rows = table(np.zeros(n), {"x": x}, time=10**18 + 900 * 10**9 * np.arange(n))
    score = column(run(Auto("x"), rows))
    assert (score[2400:2520] >= 1).any()
    assert (score[1000:2400] >= 1).sum() <= 3


def test_an_impossible_configuration_is_refused():
    with pytest.raises(ValueError, match="memory must be at least 512"):
        Auto("x", memory=10)
