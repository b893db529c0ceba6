import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from agent.detectors.histograms.own_range import Reason, counts_and_widths, own_range_kl
from agent.detectors.histograms.tutorial_kl import TutorialKL
from tests.voltage.naive_kl import own_range_kl as naive_kl
from tests.voltage.naive_kl import windows_of
from tests.voltage.streams import rows_of, run

values = st.floats(-1e6, 1e6, allow_nan=False, width=32)


@settings(max_examples=50, deadline=None)
@given(arrays(np.float64, st.tuples(st.integers(1, 4), st.integers(3, 60)), elements=values), st.integers(1, 60))
def test_counts_are_those_of_numpy(windows, bins):
    counts, widths, reason = counts_and_widths(windows, bins)
    for row, width, why, window in zip(counts, widths, reason, windows, strict=True):
        if why == Reason.RANGE:
            continue
        expected, edges = np.histogram(window, bins)
        assert row.tolist() == expected.tolist()
        assert width.tolist() == np.diff(edges).tolist()


def test_samples_on_bin_edges_fall_as_in_numpy():
    time = np.arange(1000) / 1000
    waves = np.array([230 * np.sqrt(2) * np.sin(2 * np.pi * 50 * time + p) for p in np.linspace(0, 6, 200)])
    steps = np.array([np.linspace(-1, 1, 51), np.arange(51) * 0.1, np.arange(51) / 3.0])
    for windows in (waves, steps):
        counts, _, _ = counts_and_widths(windows, 50)
        assert counts.tolist() == [np.histogram(window, 50)[0].tolist() for window in windows]


def test_scores_equal_numpy_and_scipy():
    rng = np.random.default_rng(1)
    reference, windows = rng.normal(size=500), rng.normal(size=(20, 300))
    score, reason = own_range_kl(reference, windows)
    assert not reason.any()
    np.testing.assert_allclose(score, [naive_kl(reference, w) for w in windows], rtol=1e-12, atol=1e-12)


def test_the_score_ignores_gain_and_offset_and_a_constant_keeps_numpys_number():
    rng = np.random.default_rng(2)
    reference, window = rng.integers(0, 1000, 400) / 8, rng.integers(0, 1000, (1, 400)) / 8
    plain = own_range_kl(reference, window)[0]
    assert own_range_kl(reference, window * 4)[0] == pytest.approx(plain, rel=1e-6)
    assert own_range_kl(reference, window + 64)[0] == pytest.approx(plain, rel=1e-9)
    score, reason = own_range_kl(reference, np.full((1, 400), 5.0))
    assert reason[0] == Reason.CONSTANT
    assert score[0] == pytest.approx(naive_kl(reference, np.full(400, 5.0)), rel=1e-12)


@pytest.mark.parametrize(
    ("window", "why"),
    [
        (np.full(10, np.nan), Reason.MISSING),
        (np.append(np.arange(9.0), np.nan), Reason.MISSING),
        (np.append(np.arange(9.0), np.inf), Reason.NOT_FINITE),
        (np.array([1.0, 2.0]), Reason.TOO_FEW),
        (np.array([0.0, 5e-324, 0.0]), Reason.RANGE),
        (np.array([-1.7e308, 1.7e308, 0.0]), Reason.RANGE),
    ],
)
def test_what_cannot_be_scored_is_nan_with_a_reason(window, why):
    score, reason = own_range_kl(np.arange(20.0), np.stack([window, window]))
    assert np.isnan(score).all()
    assert reason.tolist() == [why, why]


@pytest.mark.parametrize("reference", [np.full(20, 3.0), np.array([1.0, 2.0]), np.full(20, np.nan)])
def test_a_useless_reference_scores_nothing(reference):
    score, reason = own_range_kl(reference, np.arange(40.0).reshape(2, 20))
    assert np.isnan(score).all()
    assert (reason == Reason.NO_REFERENCE).all()


def stream(seed, n=900, series=3):
    rng = np.random.default_rng(seed)
    key = rng.integers(-1, series, n)
    value = np.round(rng.normal(size=n) * 10)
    value[rng.random(n) < 0.05] = np.nan
    value[100:200] = 7.0
    return rows_of(key, np.arange(n) * 1000, value)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 5), st.lists(st.integers(0, 900), max_size=12), st.integers(3, 60), st.integers(1, 80))
def test_cuts_change_nothing(seed, cuts, window, hop):
    rows = stream(seed)

    def make():
        return TutorialKL("v", window=window, hop=hop, bins=7)

    whole = run(make(), rows)
    assert run(make(), rows, cuts) == whole
    assert run(make(), rows, cuts, save=True) == whole
    assert run(make(), rows, range(1, 900, 7)) == whole


def test_live_scores_equal_windows_taken_by_hand():
    rows = stream(3, n=2000)
    size, hop, normal = 50, 20, np.random.default_rng(9).normal(size=400)
    detector = TutorialKL("v", window=size, hop=hop, bins=10)
    detector.fit(normal)
    out = detector.process(rows)
    for series in range(3):
        mine = np.flatnonzero((rows.key == series) & ~np.isnan(rows.values["v"]))
        expected = [
            (int(mine[end]), naive_kl(normal, w, 10))
            for end, w in windows_of(list(rows.values["v"][mine]), size, hop)
        ]
        got = out.take(out.key == series)
        assert got.at.tolist() == [at for at, _ in expected]
        np.testing.assert_allclose(got.values["score"], [kl for _, kl in expected], rtol=1e-9, atol=1e-9)


def test_forgetting_a_series_is_like_new():
    rows = stream(4)
    detector = TutorialKL("v", window=40, hop=10, bins=5)
    before = run(detector, rows)
    detector.evict(np.array([0, 1, 2, 99]))
    assert run(detector, rows) == before
    assert before


def test_the_first_window_that_can_be_is_the_reference():
    value = np.concatenate([np.full(10, 1.0), np.arange(10.0), np.arange(10.0)])
    out = TutorialKL("v", window=10, hop=10, bins=5).process(rows_of(np.zeros(30), np.arange(30), value))
    assert np.isnan(out.values["score"][0])
    assert out.values["score"][1:].tolist() == [0.0, 0.0]
    assert out.texts["reason"].tolist() == ["no reference yet, or a constant one", None, None]
    assert np.isnan(out.values["anomaly"][0])
