"""Silence: what it scores, what it learns, and that the clock alone raises an alert."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agent.core.rows import no_rows
from agent.detectors.univariate.missing import Missing
from agent.settings.build import build_pipeline
from agent.settings.settings import Settings
from sensors.batch import Batch, tick
from tests.detectors.detector_tables import START, content, part, table
from tests.naive_detectors import missing

SECOND = 10**9


def stream(gaps, key=None, now=START):
    """Rows of one series, so many seconds after one another."""
    time = START + (SECOND * np.cumsum(gaps)).astype(np.int64)
    key = np.zeros(len(gaps)) if key is None else key
    return table(key, {"x": np.ones(len(gaps))}, time=time, now=now)


def test_a_gap_is_measured_in_usual_intervals():
    out = Missing("x", factor=2.0).process(stream([1.0] * 40 + [8.0, 1.0]))
    assert np.isnan(out.values["score"][:16]).all()
    assert out.texts["reason"].tolist()[:16] == ["too few rows"] * 16
    assert out.values["score"][16:].tolist() == [0.5] * 24 + [4.0, 0.5]
    assert out.lists["evidence"][40] == {"silence_s": 8.0, "usual_s": 1.0}
    assert out.lists["evidence"][41] is None


def test_values_that_are_nan_end_no_silence():
    rows = stream([1.0] * 60)
    rows.values["x"][30:50] = np.nan
    out = Missing("x", factor=4.0).process(rows)
    assert out.values["score"][28:52].tolist() == [0.25] * 3 + [0.25 * i for i in range(2, 22)] + [0.25]
    assert out.values["missing"].sum() == 20


def test_one_outage_teaches_nothing_and_a_new_rate_is_learnt():
    out = Missing("x", factor=3.0).process(stream([1.0] * 100 + [500.0] + [1.0] * 100 + [10.0] * 100))
    score = out.values["score"]
    assert score[100] == pytest.approx(500 / 3)
    assert score[150] == score[50]
    assert (score[201:240] > 3).all()
    assert (score[-40:] < 0.34).all()


def test_bursts_and_random_arrivals_are_not_silence():
    rng = np.random.default_rng(0)
    bursts = np.tile([0.01] * 11 + [30.0], 100)
    for gaps in (bursts, rng.exponential(1.0, 3000)):
        score = Missing("x").process(stream(gaps)).values["score"]
        assert np.nanmax(score) < 1.0


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), rows=st.integers(2, 9))
def test_it_equals_the_obvious_version(seed, rows):
    rng = np.random.default_rng(seed)
    data = stream(np.round(rng.exponential(1.0, 150), 1) * rng.choice([1, 20], 150, p=[0.95, 0.05]))
    data.values["x"][rng.random(150) < 0.2] = np.nan
    got = Missing("x", rows=rows).process(data).values["score"]
    times = [(t - START) / SECOND for t in data.end.tolist()]
    np.testing.assert_allclose(got, missing(times, data.values["x"].tolist(), rows=rows), rtol=1e-9)


def calls(seed):
    """Calls at some host times, a few of them without rows, as a source and the clock make them."""
    rng = np.random.default_rng(seed)
    now, time = START, START
    for _ in range(120):
        now += int(rng.exponential(1.0) * SECOND) * int(rng.choice([1, 40], p=[0.97, 0.03]))
        n = int(rng.integers(0, 6))
        stamps = time + np.sort(rng.integers(0, SECOND, n))
        time += SECOND
        x = np.where(rng.random(n) < 0.2, np.nan, 1.0)
        yield table(rng.integers(-1, 3, n), {"x": x}, time=stamps, now=now) if n else no_rows(now)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6))
@example(seed=0)
def test_cuts_and_repeated_ticks_change_no_bit(seed):
    rng = np.random.default_rng([seed, 1])
    whole, cut = Missing("x", rows=4), Missing("x", rows=4)
    a, b = [], []
    for rows in calls(seed):
        a.append(whole.process(rows))
        edges = sorted({0, len(rows), *rng.integers(0, len(rows) + 1, rng.integers(0, 4)).tolist()})
        pieces = [part(rows, i, j) for i, j in itertools.pairwise(edges)] if len(rows) else [rows]
        for piece in (pieces[0], no_rows(rows.now), *pieces[1:]):
            b.append(cut.process(replace(piece, now=rows.now)))
            other = Missing("x", rows=4)
            other.restore(cut.snapshot())
            cut = other
    assert content(a) == content(b)
    assert seed or any((out.at == -1).any() for out in a)  # the clock has told of some


def engine(**keys):
    return build_pipeline(
        Settings(
            agent={"idle": False},
            detector={"gone": {"type": "missing", "metric": "x", "factor": 3, **keys}},
            rule={"silent": {"on": "gone", "when": "score >= 1", "severity": "critical"}},
        )
    ).engine()


def test_the_clock_raises_for_the_machine_that_is_silent_and_the_value_resolves():
    live = engine()
    names = ("a", "b")
    found = []
    for second in range(200):
        here = [0] if 100 <= second < 150 else [0, 1]
        now = START + second * SECOND
        batch = Batch(names, np.array(here, np.int32), np.full(len(here), now), {"x": np.ones(len(here))}, now)
        for part_ in (batch, replace(tick(now + SECOND // 2), read_at=now + SECOND // 2)):
            found += live.process(part_).alerts
    assert [(alert.change, alert.machine) for alert in found] == [("raised", "b"), ("resolved", "b")]
    assert (found[0].recorded - START) / SECOND == pytest.approx(102)
    assert found[0].evidence["silence_s"] == pytest.approx(3.0)
    assert found[0].evidence["usual_s"] == pytest.approx(1.0)
    assert (found[1].recorded - START) / SECOND == 151


def test_a_machine_that_sends_only_nan_is_silent_too():
    live = engine()
    found = []
    for second in range(120):
        now = START + second * SECOND
        x = np.array([np.nan if second >= 60 else 1.0])
        found += live.process(Batch(("a",), np.zeros(1, np.int32), np.array([now]), {"x": x}, now)).alerts
    assert [alert.change for alert in found] == ["raised"]
    assert (found[0].recorded - START) / SECOND == 62


def test_a_recording_with_a_gap_is_one_incident():
    time = START + SECOND * np.concatenate([np.arange(50), np.arange(90, 140)])
    batch = Batch(("a",), np.zeros(100, np.int32), time, {"x": np.ones(100)}, int(time[-1]))
    found = engine().process(batch).alerts
    assert [alert.change for alert in found] == ["raised", "resolved"]
    assert found[0].time == time[50]


def test_a_forgotten_series_is_new():
    detector = Missing("x")
    detector.process(stream([1.0] * 40))
    detector.evict(np.array([0, 9]))
    assert len(detector.process(no_rows(START + 10**6 * SECOND))) == 0
    assert np.isnan(detector.process(stream([1.0] * 10, now=START + 10**7 * SECOND)).values["score"]).all()


def test_a_clock_set_back_leaves_no_silence_unseen():
    detector = Missing("x")
    detector.process(stream([1.0] * 40))
    detector.on_clock_step(START - 3600 * SECOND)
    later = table([0, 0], {"x": [1.0, 1.0]}, time=START + SECOND * np.array([-3599, -3589]))
    assert detector.process(later).values["score"].tolist() == pytest.approx([0.2, 2.0])


@pytest.mark.parametrize("wrong", [{"factor": 0.5}, {"rows": 1}, {"factor": np.nan}])
def test_an_impossible_configuration_is_refused(wrong):
    with pytest.raises(ValueError, match="must be"):
        Missing("x", **wrong)
