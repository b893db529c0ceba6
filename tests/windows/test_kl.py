"""Rolling KL divergence against the formula, and the laws of the house."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy

from agent.detectors.histograms.divergence import measure, smoothed
from agent.detectors.histograms.kl import Kl
from agent.detectors.histograms.reference import Reference, fit
from sensors.units import Duration
from tests import naive
from tests.windows.streams import MS, cuts, emitted, rows_of, same_bytes, streams

NAMES = ["score", "count", "missing", "outside"]


def kl(**table):
    return Kl(metric="x", size=Duration("5s"), step=Duration("1s"), bins=8, **table)


def naive_histogram(edges, how, values):
    low, high, bins = edges[0], edges[-1], len(edges) - 1
    counts = np.zeros(bins + 2)
    for v in values:
        if naive.missing(v):
            continue
        if v == high or not low <= v <= high:
            counts[bins if v == high else 0 if v < low else -1] += 1
        elif how == "equal":
            counts[min(math.floor((v - low) * (bins / (high - low)) + 1.0), bins)] += (
                1  # rounded as the detector rounds
            )
        else:
            counts[sum(edge <= v for edge in edges)] += 1
    return counts


def naive_edges(values, how, bins=8):
    if max(values) == min(values):
        return np.linspace(values[0] - 0.5, values[0] + 0.5, bins + 1).tolist()
    if how == "equal":
        return np.linspace(min(values), max(values), bins + 1).tolist()
    return np.quantile(values, np.arange(bins + 1) / bins).tolist()


def naive_score(reference, counts, prior, divergence):
    """With SciPy's own divergences."""
    if counts.sum() == 0:
        return math.nan
    p = (reference + prior) / (reference.sum() + prior * len(reference))
    q = (counts + prior) / (counts.sum() + prior * len(counts))
    return {
        "reference": lambda: entropy(p, q),
        "window": lambda: entropy(q, p),
        "js": lambda: jensenshannon(p, q) ** 2,
        "psi": lambda: entropy(p, q) + entropy(q, p),
    }[divergence]()


def naive_kl(readings, learn, prior, divergence, edges="equal", **closing):
    """Learn from each series' first readings, then windows over the rest."""
    lessons, until, since, scored = {}, {}, {}, []
    for key, time, value in readings:
        if key is None or key in since:
            scored.append((key, time, value))
            continue
        if not naive.missing(value):
            until.setdefault(key, time + learn)
            if time >= until[key] and len(lessons[key]) >= 8:
                since[key] = time
                scored.append((key, time, value))
                continue
            lessons.setdefault(key, []).append(value)
        scored.append((key if naive.missing(value) else None, time, value))
    out = []
    for at, key, start, end, inside in naive.aligned(scored, naive.hops(5000 * MS, 1000 * MS), **closing)[0]:
        values = [v for _, _, v in inside]
        n = sum(not naive.missing(v) for v in values)
        score = outside = math.nan
        if n:
            its = naive_edges(lessons[key], edges)
            counts = naive_histogram(its, edges, values)
            outside = (counts[0] + counts[-1]) / n
            if start >= since[key]:
                score = naive_score(naive_histogram(its, edges, lessons[key]), counts, prior, divergence)
        out.append((at, key, start, end, score, n, len(inside) - n, outside))
    return out


@settings(max_examples=50, deadline=None)
@given(
    streams(most=120, refused=True),
    st.sampled_from(["reference", "window", "js", "psi"]),
    st.sampled_from(["equal", "quantile"]),
    st.sampled_from(["key", "watermark"]),
    st.sampled_from([0, 2000]),
)
def test_scores_are_those_of_the_formula(readings, divergence, edges, closing, grace):
    which = {"divergence": divergence} if divergence in ("js", "psi") else {"direction": divergence}
    detector = kl(**which, edges=edges, closing=closing, grace=Duration(grace * MS), learn=Duration("4s"))
    got = emitted(detector.process(rows_of(readings)), NAMES) + emitted(detector.finish(0), NAMES)
    expected = naive_kl(readings, 4000 * MS, 0.5, divergence, edges, closing=closing, grace=grace * MS, finish=True)
    assert [row[:4] for row in got] == [row[:4] for row in expected]
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a[4:], b[4:], rtol=1e-9, atol=1e-12)


@pytest.mark.law2
@settings(max_examples=50, deadline=None)
@given(
    st.data(),
    streams(most=120, refused=True),
    st.sampled_from(["key", "partition"]),
    st.sampled_from([0, 2000]),
    st.sampled_from(["equal", "quantile"]),
)
def test_how_a_stream_is_cut_changes_no_bit(data, readings, closing, grace, edges):
    def make():
        return kl(closing=closing, grace=Duration(grace * MS), learn=Duration("4s"), edges=edges)

    whole = make()
    expected = emitted(whole.process(rows_of(readings)), NAMES) + emitted(whole.finish(0), NAMES)
    detector, got = make(), []
    for start, stop in itertools.pairwise([0, *cuts(data.draw, len(readings)), len(readings)]):
        got += emitted(detector.process(rows_of(readings[start:stop], at0=start)), NAMES)
        again = make()
        again.restore(detector.snapshot())
        detector = again
    assert same_bytes(got + emitted(detector.finish(0), NAMES), expected)
    single, detector = [], make()
    for i, reading in enumerate(readings):
        single += emitted(detector.process(rows_of([reading], at0=i)), NAMES)
    assert same_bytes(single + emitted(detector.finish(0), NAMES), expected)


def test_a_given_reference_scores_from_the_first_window_on():
    rng = np.random.default_rng(1)
    reference = fit(rng.normal(0, 1, 5000), 8)
    detector = kl(reference=reference)
    normal = [(0, i * 10 * MS, v) for i, v in enumerate(rng.normal(0, 1, 1000).tolist())]
    shifted = [(0, (10000 + i * 10) * MS, v) for i, v in enumerate(rng.normal(1.5, 1, 1000).tolist())]
    out = detector.process(rows_of(normal + shifted))
    score = out.values["score"]
    assert score[:6].max() < 0.03
    assert score[10:].min() > 0.3
    moved = dict(out.lists["evidence"][len(out) - 1])["moved"]
    assert len(moved) == 3
    assert all(abs(bin["window"] - bin["reference"]) > 0.05 for bin in moved)
    assert moved[0]["low"] is None or moved[0]["low"] < moved[0]["high"]
    chosen = out.take(np.array([len(out) - 1]))
    assert dict(chosen.lists["evidence"][0]) == {"moved": moved}


def test_the_divergences_of_a_case_worked_by_hand():
    p, q = np.array([[0.5], [0.5]]), np.array([[0.25], [0.75]])
    assert measure("kl", "reference")(p, q)[0] == pytest.approx(0.5 * math.log(4 / 3))
    assert measure("kl", "window")(p, q)[0] == pytest.approx(0.75 * math.log(3) - math.log(2))
    assert measure("psi", "reference")(p, q)[0] == pytest.approx(0.25 * math.log(3))
    assert measure("js", "reference")(p, q)[0] == pytest.approx(
        0.25 * math.log(4 / 3) + 0.25 * math.log(0.8) + 0.125 * math.log(2 / 3) + 0.375 * math.log(1.2)
    )


def test_a_reference_with_empty_bins_and_a_window_elsewhere_are_finite():
    p, q = (
        smoothed(np.array([[0.0], [9e9], [0.0], [0.0]]), 0.5),
        smoothed(np.array([[0.0], [0.0], [0.0], [7.0]]), 0.5),
    )
    for kind in ("kl", "js", "psi"):
        assert 0.5 < measure(kind, "window")(p, q)[0] < 100
    assert measure("js", "window")(p, q)[0] <= math.log(2)


def test_quantile_edges_see_what_one_outlier_in_the_reference_hides_from_equal_ones():
    rng = np.random.default_rng(2)
    normal = rng.normal(0, 1, 4000)
    normal[100] = 1e4
    later = rng.normal(1, 1, 500)
    rows = rows_of([(0, i * 10 * MS, v) for i, v in enumerate([*normal.tolist(), *later.tolist()])])
    found = {
        edges: kl(edges=edges, divergence="psi", learn=Duration("30s")).process(rows).values["score"]
        for edges in ("equal", "quantile")
    }
    assert np.nanmax(found["equal"]) < 0.1
    assert np.nanmax(found["quantile"][:10]) < 0.25 < np.nanmax(found["quantile"])


def test_a_reference_may_have_edges_of_its_own():
    rng = np.random.default_rng(3)
    reference = fit(rng.exponential(1.0, 5000), 8, "quantile")
    assert max(reference.counts[1:-1]) - min(reference.counts[1:-1]) <= 1
    rows = rows_of([(0, i * 10 * MS, v) for i, v in enumerate(rng.exponential(1.0, 1000).tolist())])
    out = kl(reference=reference).process(rows)
    counts = naive_histogram(reference.edges, "quantile", rows.values["x"][:500])
    expected = naive_score(np.array(reference.counts), counts, 0.5, "reference")
    first = int(np.argmax(out.values["count"] == 500))
    assert out.values["score"][first] == pytest.approx(expected, rel=1e-9)
    assert out.lists["evidence"][first]["moved"][0]["high"] in (*reference.edges, None)


@pytest.mark.parametrize("edges", ["equal", "quantile"])
def test_what_cannot_be_scored_says_why(edges):
    nothing = rows_of([(0, i * 1000 * MS, None) for i in range(10)])
    out = kl(edges=edges).process(nothing)
    assert len(out) > 3
    assert np.isnan(out.values["score"]).all()
    assert set(out.texts["reason"].tolist()) == {"no reading"}
    assert out.values["missing"].max() == 5
    detector = kl(edges=edges, learn=Duration("4s"))
    out = detector.process(rows_of([(0, i * 500 * MS, i % 3) for i in range(40)]))
    assert out.texts["reason"].tolist()[:4] == ["still learning"] * 4
    assert np.isfinite(out.values["score"][4:]).all()
    few = rows_of([(0, i * 61_000 * MS, i if i < 5 else None) for i in range(12)])  # too few to learn from
    out = kl(edges=edges).process(few)
    assert len(out) > 10
    assert set(out.texts["reason"].tolist()) == {"no reading"}


def test_a_constant_is_compared_like_anything_else():
    detector = kl(learn=Duration("10s"))
    out = detector.process(rows_of([(0, i * 100 * MS, 7.0 if i < 300 else 8.0) for i in range(400)]))
    assert np.nanmax(out.values["score"][:15]) < 0.02
    assert out.values["score"][-1] > 1
    assert out.values["outside"][-1] == 1.0


def test_readings_beyond_the_edges_have_bins_of_their_own():
    detector = kl(reference=Reference(0.0, 8.0, (0.0, *[10.0] * 8, 0.0)))
    out = detector.process(
        rows_of([(0, i * MS, v) for i, v in enumerate([-1.0, 0.0, 8.0, 1e300, -1e300])] + [(0, 6000 * MS, 0)])
    )
    assert out.values["outside"][0] == 0.6
    assert out.values["count"][0] == 5


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"size": Duration(0)}, "longer than zero"),
        ({"step": Duration("9s")}, "at most size"),
        ({"bins": 1}, "bins"),
        ({"prior": 0.0}, "prior"),
        ({"reference": Reference(0, 1, (1, 2, 3))}, "1 bins"),
        ({"reference": Reference(edges=(0, 1, 2), counts=(1, 2, 3, 1))}, "2 bins"),
    ],
)
def test_a_detector_that_cannot_be_is_refused(table, message):
    with pytest.raises(ValueError, match=message):
        Kl(**{"metric": "x", "size": Duration("5s"), "step": Duration("1s"), **table})


@pytest.mark.parametrize(
    "table",
    [
        {"low": 1, "high": 1, "counts": (1, 2, 3)},
        {"low": 0, "high": 1, "counts": (1, -2, 3)},
        {"low": 0, "high": 1, "counts": (1, math.nan, 3)},
        {"edges": (0, 0, 1), "counts": (1, 2, 3, 4)},
        {"edges": (0, 1), "counts": (1, 2, 3, 4)},
        {"edges": (0, 1), "low": 0, "high": 1, "counts": (1, 2, 3)},
    ],
)
def test_a_reference_that_cannot_be_is_refused(table):
    with pytest.raises(ValueError, match=r"less than|negative|ascend|counts"):
        Reference(**table)
