"""Each kernel against its obvious slow version."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from agent.core.grouping import Grouping
from agent.detectors.base.series_blocks import series_blocks
from agent.detectors.ensembles.anomaly_rate import AnomalyRate
from agent.detectors.ensembles.calibrated import Calibrated, tail
from agent.detectors.ensembles.combined import Combined
from agent.detectors.univariate.contexts import Contexts
from agent.detectors.univariate.cusum import Cusum
from agent.detectors.univariate.ewma import Ewma
from agent.detectors.univariate.neighbour import Neighbour
from agent.detectors.univariate.noise_burst import NoiseBurst
from agent.detectors.univariate.page_hinkley import PageHinkley
from agent.detectors.univariate.robust_z import RobustZ
from agent.detectors.univariate.seasonal import Seasonal
from agent.detectors.univariate.spatial import Spatial
from agent.detectors.univariate.spike import Spike
from agent.detectors.univariate.stuck import Stuck
from sensors.units import Duration
from tests import naive_detectors as naive
from tests import naive_scores
from tests.detectors.detector_tables import table

CASES = [
    (Ewma, naive.ewma, {"alpha": 0.2, "half_life": 20.0, "warmup": 5}),
    (Ewma, naive.ewma, {"alpha": 0.9, "half_life": 300.0}),
    (Cusum, naive.cusum, {"slack": 0.5, "half_life": 50.0, "warmup": 10}),
    (PageHinkley, naive.page_hinkley, {"delta": 0.1, "forget_half_life": 40.0, "half_life": 60.0}),
    (Spatial, naive.spatial, {"warmup": 4}),
    (RobustZ, naive.robust_z, {"window": 9, "warmup": 3}),
    (RobustZ, naive.robust_z, {"window": 16, "warmup": 16}),
    (Contexts, naive_scores.contexts, {"memory": 64, "warmup": 16, "refractory": 16}),
    (Contexts, naive_scores.contexts, {"memory": 256, "warmup": 32, "refractory": 40}),
    (Spike, naive_scores.spike, {"half_life": 40.0, "warmup": 8}),
    (NoiseBurst, naive_scores.noise_burst, {"window": 8, "half_life": 60.0, "warmup": 16}),
    (Stuck, naive_scores.stuck, {"rows": 3}),
    (Stuck, naive_scores.stuck, {"rows": 7, "tolerance": 0.8}),
    (Neighbour, naive_scores.neighbour, {"window": 4, "memory": 64, "half_life": 50.0, "warmup": 8}),
    (Seasonal, naive_scores.seasonal, {"periods": 3, "memory": 96, "half_life": 50.0}),
    (Seasonal, naive_scores.seasonal, {"period": Duration("24h"), "periods": 3, "memory": 96}),
]
SCORES = [
    ("ratio", naive_scores.ratio, {"half_life": 30.0}),
    ("conformal", naive_scores.conformal, {"window": 40}),
    ("tail", naive.tail, {"half_life": 60.0, "smooth": 4.0}),
    ("tail", naive.tail, {"half_life": 500.0, "smooth": 1.0}),
]
HOUR = 3600 * 10**9


@pytest.mark.parametrize(("cls", "oracle", "options"), CASES, ids=lambda item: getattr(item, "__name__", None))
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10**6), coarse=st.booleans())
def test_the_kernel_equals_the_obvious_version(cls, oracle, options, seed, coarse):
    rng = np.random.default_rng(seed)
    x = np.round(rng.normal(5, 2, 220), 0 if coarse else 6)
    x[rng.integers(0, 220)] += 30
    rows = table(np.zeros(220), {"x": x}, time=10**18 + HOUR * np.arange(220))
    got = cls(metric="x", **options).process(rows).values["score"]
    tolerance = 1e-5 if cls is Neighbour else 1e-9  # a sum of squares that goes on, against one from scratch
    np.testing.assert_allclose(got, oracle(x.tolist(), **options), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    ("method", "oracle", "options"), SCORES, ids=lambda item: item if type(item) is str else ""
)
@pytest.mark.parametrize("rest", [0, 16, 40])
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6), zeros=st.booleans())
def test_a_calibration_equals_the_obvious_version(method, oracle, options, rest, seed, zeros):
    rng = np.random.default_rng(seed)
    x = np.round(rng.exponential(1.0, 200) * (rng.random(200) > 0.5 * zeros), 3)
    limit = {"ratio": 0.9, "conformal": 1.5, "tail": 2.0}[method]
    detector = Calibrated("x", method=method, refractory=rest, limit=limit, warmup=5, **options)
    got = detector.process(table(np.zeros(200), {"x": x})).values["score"]
    expected = oracle(x.tolist(), warmup=5, **options)
    if rest:
        expected = naive_scores.rest(expected, limit, rest)
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-9)


def test_the_tail_of_a_normal_distribution_is_that_of_scipy():
    z = np.linspace(-40, 1000, 5000)
    np.testing.assert_allclose(tail(z), -norm.logsf(z) / np.log(10), rtol=1e-7, atol=1e-7)
    assert np.isnan(tail(np.array([np.nan])))
    assert tail(np.array([-1e3]))[0] == 0.0


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6), method=st.sampled_from(["ratio", "conformal", "tail"]))
def test_a_combination_is_the_weighted_mean_of_its_calibrated_parts(seed, method):
    x = np.random.default_rng(seed).normal(0, 1, 200)
    x[150] += 20
    oracle = {"ratio": naive_scores.ratio, "conformal": naive_scores.conformal, "tail": naive.tail}[method]
    parts = []
    for scores in (naive.ewma(x.tolist()), naive.spatial(x.tolist())):
        known = [s for s in scores if not math.isnan(s)]
        parts.append([math.nan] * (200 - len(known)) + oracle(known))
    sums = [
        math.nan if math.isnan(a) and math.isnan(b) else (3 * np.nan_to_num(a) + np.nan_to_num(b)) / 4
        for a, b in zip(*parts, strict=True)
    ]
    first = next(t for t, total in enumerate(sums) if not math.isnan(total))
    sums[first : first + 2] = [math.nan] * 2  # where the rest is not yet counted
    limit = 0.9
    detector = Combined(
        "x", parts=("ewma", "spatial"), weights=(3.0, 1.0), method=method, limit=limit, refractory=50
    )
    got = detector.process(table(np.zeros(200), {"x": x})).values["score"]
    expected = naive_scores.rest(sums, limit, 50)
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-9)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6), hold=st.integers(1, 12))
def test_the_anomaly_rate_equals_the_obvious_version(seed, hold):
    rng = np.random.default_rng(seed)
    columns = {name: rng.standard_t(2, 150) for name in "abc"}
    columns["b"][:] = 1.0
    got = AnomalyRate(tuple("abc"), hold=hold, limit=4.0).process(table(np.zeros(150), columns)).values["score"]
    scores = [naive.robust_z(x.tolist()) for x in columns.values()]
    np.testing.assert_allclose(got, naive_scores.anomaly_rate(scores, 4.0, hold))


@settings(max_examples=50, deadline=None)
@given(
    key=st.lists(st.integers(-1, 6), max_size=60),
    learnt=st.lists(st.integers(0, 20), min_size=7, max_size=7),
    boundary=st.integers(0, 9),
)
def test_blocks_hand_out_every_row_once_and_each_series_in_order(key, learnt, boundary):
    key, learnt = np.array(key, np.int64), np.array(learnt)
    seen = {k: [] for k in range(7)}
    for block in series_blocks(Grouping(key), learnt, boundary):
        assert (np.diff(block.keys) > 0).all()
        assert (block.valid_length >= 1).all()
        for line, k in enumerate(block.keys.tolist()):
            row = block.index[line, : block.valid_length[line]].tolist()
            first = learnt[k] + len(seen[k])
            assert not boundary or first // boundary == (first + len(row) - 1) // boundary
            seen[k] += row
    for k, rows in seen.items():
        assert rows == np.flatnonzero(key == k).tolist()
