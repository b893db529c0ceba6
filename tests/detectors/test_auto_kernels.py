"""`auto` and its parts against their obvious slow versions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.detectors.base.refractory import apply_refractory
from agent.detectors.univariate.auto import BURDEN, Auto
from agent.detectors.univariate.history.circular_buffer import Lags, phase_median, rows_a_period, write
from agent.detectors.univariate.history.features import RECENT, binned, divergence, outside, quantile_bins, rarity
from agent.detectors.univariate.history.phase_profile import CELL, cells_at, lags_of, shape_sums, slide
from agent.detectors.univariate.history.record_age import BLOCK, BLOCKS, learn_blocks, record_age
from tests.detectors.detector_tables import column, run, table
from tests.naive_auto import age
from tests.naive_auto import auto as naive_auto

HOUR = 3600 * 10**9


def ages(values):
    """Feed one series in rounds of 16."""
    since, current = np.full((1, 1, BLOCKS), np.inf, np.float32), np.zeros((1, 1))
    out = []
    for begin in range(0, len(values), 16):
        f = np.array(values[begin : begin + 16])[None, None, :]
        running = np.maximum.accumulate(np.concatenate([current[:, :, None], f], axis=2), axis=2)
        number = begin + np.arange(f.shape[2])[None]
        out.append(record_age(since, np.array([0]), 0, running[:, :, :-1], f, number)[0, 0])
        current[:] = running[:, :, -1]
        if (begin + 16) % BLOCK == 0:
            learn_blocks(since, current, np.array([0]))
    return np.concatenate(out)


@pytest.mark.parametrize("n", [40, 500, 6000])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_age_of_a_record_is_that_of_its_definition(n, seed):
    values = np.random.default_rng(seed).gamma(1.0, 1.0, n)
    got = ages(values)
    for t in [*range(BLOCK, min(n, 100)), *range(100, n, 37)]:
        within = [(i, values[i]) for i in range(max(0, (t // BLOCK - BLOCKS) * BLOCK), t)]
        if got[t] > 0:
            assert got[t] == pytest.approx(age(within, values[t], t), rel=1e-12)
        else:
            assert age(within, values[t], t) <= (2 * BLOCK / max(t, 1)) ** 1.5


def test_a_record_by_far_scores_more_than_a_record_by_a_hair():
    quiet = [1.0] * 2000
    hair, far = ages([*quiet, 1.01])[-1], ages([*quiet, 3.0])[-1]
    assert hair == pytest.approx(1 / 3)
    assert far == pytest.approx(1.0)


def test_what_comes_back_after_some_thousand_rows_is_news_again():
    fault = [9.0] + [1.0] * 4200 + [9.0] + [1.0] * 500 + [9.0]
    got = ages([*[1.0] * 100, *fault])
    assert got[4301] > 0.9
    assert got[4802] < 0.1


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 999), count=st.integers(1, 90), period=st.sampled_from([5.0, 9.25, 24.0]))
def test_shapes_among_cells_equal_the_obvious_version(seed, count, period):
    rng = np.random.default_rng(seed)
    windows, size = (2, 6, 16), 64
    x = rng.normal(0, 1, count + 1).astype(np.float32)
    memory = np.zeros((3, size + 64), np.float32)
    memory[1, np.arange(count)] = x[:-1]
    line, lags = np.array([1]), lags_of(np.array([period]), size)
    sums = shape_sums(memory, line, np.array([count - 1]), lags, windows)
    memory[1, count] = x[-1]
    near, phase = slide(memory, line, np.array([count]), lags, sums, windows)
    np.testing.assert_allclose(sums, shape_sums(memory, line, np.array([count]), lags, windows), atol=1e-9)
    wanted = sorted(
        {int(np.rint(k * period)) + o for k in range(1, 15) for o in (-1, 0, 1)} & set(range(1, size + 1))
    )
    assert sorted({int(lag) for lag in lags[0] if lag}) == wanted
    x = x.astype(float)
    for window, distance in zip(windows, near[0], strict=True):
        best = [
            np.mean((x[count - window + 1 : count + 1] - x[count - lag - window + 1 : count - lag + 1]) ** 2)
            for lag in wanted
            if lag >= max(window // 2, 1) and count - lag - window + 1 >= 0
        ]
        np.testing.assert_allclose(distance, np.sqrt(min(best)) if best else 0.0, rtol=1e-9)
    past = [x[count - lag] for lag in lags[0] if lag and count - lag >= 0]
    np.testing.assert_allclose(phase[0], abs(x[count] - np.median(past)) if past else 0.0, rtol=1e-12)


def test_cells_before_the_first_are_missing():
    memory = np.arange(10, dtype=np.float32).reshape(2, 5)
    got = cells_at(memory, np.array([1]), np.array([[-1, 0, 4, 6]]))
    np.testing.assert_array_equal(got, [[np.nan, 5, 9, 6]])


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 999), size=st.integers(0, 16))
def test_rarity_is_the_distance_from_the_fourth_nearest(seed, size):
    rng = np.random.default_rng(seed)
    sample = rng.normal(0, 1, size).astype(np.float32)
    ordered = np.full((2, 16), np.inf, np.float32)
    ordered[1, :size] = np.sort(sample)
    x = rng.normal(0, 2, (2, 3))
    got = rarity(ordered, x, np.full((2, 3), 5.0))
    assert not got[0].any()
    for value, rare in zip(x[1], got[1], strict=True):
        away = sorted(abs(value - float(s)) for s in sample)
        assert rare == pytest.approx(away[3] / 5.0 if size >= 4 else 0.0, rel=1e-12)


def test_outside_counts_from_the_range_before():
    low, high = np.array([np.inf]), np.array([-np.inf])
    beyond, extent = outside(low, high, np.array([[5.0, 7.0, 6.0, 9.0, 4.0]]))
    np.testing.assert_allclose(beyond, [[0.0, 20.0, 0.0, 1.0, 0.25]])
    np.testing.assert_allclose(extent, [[0.0, 0.0, 2.0, 2.0, 4.0]])


def test_the_distribution_view_is_the_divergence_of_the_last_cells_from_the_history():
    rng = np.random.default_rng(0)
    history, recent = np.sort(rng.normal(0, 1, (1, 512)), axis=1), rng.normal(2, 1, (1, RECENT))
    edges, shares = quantile_bins(history)
    counts = np.bincount(binned(recent, edges)[0], minlength=16).astype(float)
    q = (np.bincount((history[0][:, None] > edges[0]).sum(1), minlength=16) + 0.5) / 520
    p = counts / RECENT
    expected = sum(a * np.log(a / b) for a, b in zip(p, q, strict=True) if a > 0)
    np.testing.assert_allclose(divergence(counts[None], shares), [expected], rtol=1e-12)


def test_a_score_rests_after_an_alarm():
    last = np.array([-(1 << 40)])
    score = np.array([[0.5, 1.2, 3.0, 0.5, 1.5]])
    out = apply_refractory(last, score, np.array([[10, 11, 12, 13, 14]]), np.array([5]), 1.0, 20)
    assert out.tolist() == [[0.5, 1.2, 0.0, 0.0, 0.0]]
    assert last.tolist() == [11]


def faulty(seed, n=1500):
    rng = np.random.default_rng(seed)
    x = 20 + 5 * np.sin(2 * np.pi * np.arange(n) / 48) + rng.normal(0, 1, n)
    x[900] += 30
    x[1200:1240] = 20
    x[1300:] += 8
    return table(np.zeros(n), {"x": x}, time=10**18 + HOUR // 2 * np.arange(n))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_all_of_it_equals_the_description_row_by_row(seed):
    rows = faulty(seed)
    expected = np.array(naive_auto(rows.end.tolist(), rows.values["x"].tolist()))
    got = column(run(Auto("x"), rows, [100, 777, 1111]))
    assert (got > 0).sum() > 500
    np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-9)


def test_each_alarm_of_late_makes_the_next_one_need_more():
    detector = Auto("x")
    state = {"alarm": np.array([-(1 << 40)]), "burden": np.array([0.0])}
    scores = [
        detector._alarms(state, np.array([[1.3]]), np.array([[row]]), np.array([1]))[0, 0]
        for row in (1000, 1100, 1200, 9000)
    ]
    fade = np.exp(-0.1)
    expected = [1.3, 1.3 / (1 + BURDEN * fade), 1.3 / (1 + BURDEN * (fade + fade**2)), 1.3]
    assert scores == pytest.approx(expected, rel=1e-3)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 999), count=st.integers(0, 300), period=st.sampled_from([20, 37, 96]))
def test_the_median_of_a_phase_is_that_of_its_definition(seed, count, period):
    rng = np.random.default_rng(seed)
    memory, length = 256, 5
    x = rng.normal(0, 1, count + length).astype(np.float32).astype(float)
    store = np.zeros((1, memory + 128), np.float32)
    lags = Lags.of(np.array([period]), 4, 2, memory)
    write(store, np.array([0]), x[None], np.array([count + length]))
    offsets = [o for o in range(-2, 3) if abs(o) <= max(period // 48, 1)]
    allowed = [d * period + o for d in range(1, 5) for o in offsets if 1 <= d * period + o <= memory]
    middle = phase_median(store, np.array([count + np.arange(length)]), lags)
    for j in range(length):
        past = [x[count + j - lag] for lag in allowed if count + j - lag >= 0]
        np.testing.assert_allclose(middle[0, j], np.median(past) if past else np.nan, rtol=1e-12)


def test_the_period_is_a_day_where_two_days_fit_else_a_share_of_the_memory():
    minute = 60 * 10**9
    got = rows_a_period(np.array([5 * minute, 60 * minute, 1000, 0, 10**18]), 4096, 14)
    assert got.tolist() == [288, 24, 292, 292, 292]


def daily(fault):
    n, day = 3000, 96
    rng = np.random.default_rng(1)
    x = 20 + 5 * np.sin(2 * np.pi * np.arange(n) / day) + rng.normal(0, 0.3, n)
    fault(x, rng)
    rows = table(np.zeros(n), {"x": x}, time=10**18 + 900 * 10**9 * np.arange(n))
    return column(run(Auto("x"), rows))


def test_it_notices_a_quiet_day_that_no_range_shows():
    """A daily wave, of which one day is flat at its mean: inside the range, wrong for its time of day."""

    def flat(x, rng):
        x[2400:2496] = 20 + rng.normal(0, 0.3, 96)

    score = daily(flat)
    assert (score[2400:2520] >= 1).any()
    assert (score[1000:2400] >= 1).sum() <= 3


@pytest.mark.parametrize("period", [37, 203])
def test_it_notices_what_is_missing_in_a_cycle_that_no_clock_knows(period):
    rng, n = np.random.default_rng(0), 7000
    phase = np.arange(n) / period % 1
    peak = 3 * np.exp(-0.5 * ((phase - 0.3) / 0.05) ** 2)
    begin = 5500 // period * period
    peak[begin : begin + period] = 0.0
    x = 10 + peak + 2 * np.exp(-0.5 * ((phase - 0.7) / 0.1) ** 2) + rng.normal(0, 0.1, n)
    score = column(run(Auto("x"), table(np.zeros(n), {"x": x}, time=10**18 + 10**8 * np.arange(n))))
    assert (score[begin : begin + period + 80] >= 1).any()
    assert (score[1000:begin] >= 1).sum() <= 5


def test_it_notices_a_sensor_that_stands_still():
    def still(x, rng):
        x[2410:2440] = x[2410]

    assert (daily(still)[2410:2460] >= 1).any()


def test_a_wild_value_is_an_alarm_at_once():
    def wild(x, rng):
        x[2401] += 40

    assert daily(wild)[2401] >= 1


def test_a_level_that_stays_is_an_alarm_once_and_then_usual():
    def shift(x, rng):
        x[1500:] += 15

    score = daily(shift)
    assert (score[1500:1520] >= 1).any()
    assert (score[1700:] >= 1).sum() <= 3


def test_an_impossible_configuration_is_refused():
    with pytest.raises(ValueError, match="memory must be at least 512"):
        Auto("x", memory=10)


def test_a_cell_divides_a_block():
    assert BLOCK % CELL == 0
