"""Rolling KL divergence against the formula, and the laws of the house."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.detectors.kl import Kl, Reference, fit
from sensors.units import Duration
from tests import naive
from tests.windows.streams import MS, cuts, rows_of, same_bytes, streams, told

NAMES = ["score", "count", "missing", "outside"]


def kl(**table):
    return Kl(metric="x", size=Duration("5s"), step=Duration("1s"), bins=8, **table)


def naive_histogram(low, high, values, bins=8):
    inside = [v for v in values if not naive.missing(v)]
    counts = np.zeros(bins + 2)
    for v in inside:
        if v > high:
            counts[-1] += 1
        elif v < low:
            counts[0] += 1
        else:
            counts[1 + min(math.floor((v - low) * (bins / (high - low))), bins - 1)] += 1
    return counts


def naive_score(reference, counts, prior, direction):
    if counts.sum() == 0:
        return math.nan
    p = (reference + prior) / (reference.sum() + prior * len(reference))
    q = (counts + prior) / (counts.sum() + prior * len(counts))
    a, b = (p, q) if direction == "reference" else (q, p)
    return math.fsum(x * math.log(x / y) for x, y in zip(a, b, strict=True))


def naive_kl(readings, learn, prior, direction, **closing):
    """Learn from each series' first readings, then windows over the rest."""
    lessons, until, ready, scored = {}, {}, set(), []
    for key, time, value in readings:
        if key is None:
            scored.append((None, time, value))
            continue
        if key in ready:
            scored.append((key, time, value))
            continue
        if not naive.missing(value):
            until.setdefault(key, time + learn)
            if time >= until[key]:
                ready.add(key)
                scored.append((key, time, value))
                continue
            lessons.setdefault(key, []).append(value)
        scored.append((None, time, value))
    out = []
    for at, key, start, end, inside in naive.aligned(scored, naive.hops(5000 * MS, 1000 * MS), **closing)[0]:
        reference = fit(np.array(lessons[key]), 8)
        counts = naive_histogram(reference.low, reference.high, [v for _, _, v in inside])
        score = naive_score(np.array(reference.counts), counts, prior, direction)
        missing = len(inside) - counts.sum()
        outside = (counts[0] + counts[-1]) / counts.sum() if counts.sum() else math.nan
        out.append((at, key, start, end, score, counts.sum(), missing, outside))
    return out


@settings(max_examples=50, deadline=None)
@given(
    streams(most=120, refused=True),
    st.sampled_from(["reference", "window"]),
    st.sampled_from(["key", "watermark"]),
    st.sampled_from([0, 2000]),
)
def test_scores_are_those_of_the_formula(readings, direction, closing, grace):
    detector = kl(direction=direction, closing=closing, grace=Duration(grace * MS), learn=Duration("4s"))
    got = told(detector.process(rows_of(readings)), NAMES) + told(detector.finish(0), NAMES)
    expected = naive_kl(readings, 4000 * MS, 0.5, direction, closing=closing, grace=grace * MS, finish=True)
    assert [row[:4] for row in got] == [row[:4] for row in expected]
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a[4:], b[4:], rtol=1e-9, atol=1e-12)


@settings(max_examples=50, deadline=None)
@given(
    st.data(), streams(most=120, refused=True), st.sampled_from(["key", "partition"]), st.sampled_from([0, 2000])
)
def test_how_a_stream_is_cut_changes_no_bit(data, readings, closing, grace):
    def make():
        return kl(closing=closing, grace=Duration(grace * MS), learn=Duration("4s"))

    whole = make()
    expected = told(whole.process(rows_of(readings)), NAMES) + told(whole.finish(0), NAMES)
    detector, got = make(), []
    for start, stop in itertools.pairwise([0, *cuts(data.draw, len(readings)), len(readings)]):
        got += told(detector.process(rows_of(readings[start:stop], at0=start)), NAMES)
        again = make()
        again.restore(detector.state())
        detector = again
    assert same_bytes(got + told(detector.finish(0), NAMES), expected)
    single, detector = [], make()
    for i, reading in enumerate(readings):
        single += told(detector.process(rows_of([reading], at0=i)), NAMES)
    assert same_bytes(single + told(detector.finish(0), NAMES), expected)


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
    ],
)
def test_a_detector_that_cannot_be_is_refused(table, message):
    with pytest.raises(ValueError, match=message):
        Kl(**{"metric": "x", "size": Duration("5s"), "step": Duration("1s"), **table})
