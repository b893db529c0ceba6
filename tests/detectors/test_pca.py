"""Several sensors: what it learns, names and forgets."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.detectors.multivariate.pca import Pca
from tests import naive_pca
from tests.detectors.detector_tables import content, run, table

NAMES = ("pressure", "flow", "power")


def plant(n=900, seed=0):
    """Flow and power follow pressure."""
    rng = np.random.default_rng(seed)
    pressure = 5 + np.convolve(rng.normal(0, 1, n + 20), np.ones(20) / 20, "valid")[:n]
    return np.stack([pressure, 2 * pressure + rng.normal(0, 0.05, n), 10 - pressure + rng.normal(0, 0.05, n)])


def scores(values, **options):
    return Pca(NAMES, **options).process(table(np.zeros(values.shape[1]), dict(zip(NAMES, values, strict=True))))


def test_a_broken_relation_is_found_though_every_value_is_usual():
    values = plant()
    values += np.array([[1.0], [2.0], [-1.0]]) * np.sin(np.arange(900) / 10)
    values[1, 600:700] = 20 - values[1, 600:700]  # mirrored: the same range, the wrong way
    out = scores(values)
    assert np.nanmax(out.values["score"][400:600]) < 1
    assert np.nanmax(out.values["score"][600:700]) >= 1


def test_an_alarm_names_the_sensor_that_did_it():
    values = plant()
    values[2, 600:650] += 5
    out = scores(values)
    alarm = np.flatnonzero(out.values["score"] >= 1)
    assert 600 <= alarm[0] < 615
    named = out.lists["evidence"][alarm[0]]["sensors"]
    assert next(iter(named)) == "power"
    assert out.lists["evidence"][500] is None


def test_the_alarm_ends_with_the_return_to_normal():
    values = plant()
    values[2, 600:650] += 5
    alarm = np.flatnonzero(scores(values).values["score"] >= 1)
    assert 640 <= alarm[-1] <= 670


def test_slow_drift_is_followed_and_not_alarmed():
    values = plant(4000)
    values += np.linspace(0, 0.5, 4000)
    assert np.nansum(scores(values, train=1500).values["score"] >= 1) == 0


def test_rows_given_ahead_count_as_training():
    values = plant()
    rows = table(np.zeros(900), dict(zip(NAMES, values, strict=True)))
    detector = Pca(NAMES)
    detector.fit(rows.take(np.arange(400)))
    assert np.isfinite(detector.process(rows.take(np.arange(400, 900))).values["score"]).all()


@pytest.mark.parametrize(
    "options", [{}, {"follow": 0.0}, {"settle": 0, "patience": 2}, {"follow": 0.2, "limit": 1.2}]
)
@pytest.mark.parametrize("seed", range(4))
def test_it_equals_the_naive_way(seed, options):
    """Steps, drifts, a return to another state, noise: all phases of an alarm."""
    rng = np.random.default_rng(seed)
    values = plant(2000, seed)
    for begin in rng.integers(450, 1900, 6):
        values[rng.integers(3), begin : begin + rng.integers(5, 300)] += rng.normal(0, 2)
    values[1, 1500:] += 3
    mine = scores(values, **options).values["score"]
    theirs = naive_pca.scores(values.T, **options)
    assert np.nansum(theirs >= 1) > 20
    np.testing.assert_allclose(mine, theirs, rtol=1e-6, atol=1e-9)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 50), cuts=st.lists(st.integers(1, 2399), max_size=8))
def test_alarms_that_come_and_go_do_not_depend_on_how_the_stream_is_cut(seed, cuts):
    rng = np.random.default_rng(seed)
    values = plant(2400, seed)
    for begin in rng.integers(100, 2300, 12):
        values[rng.integers(3), begin : begin + rng.integers(5, 80)] += rng.normal(0, 3)
    values[rng.random(values.shape) < 0.02] = np.nan
    values[1, 1200:1240] = np.nan
    rows = table(rng.integers(0, 4, 2400), dict(zip(NAMES, values, strict=True)))

    def detector():
        return Pca(NAMES, train=150, patience=2, settle=20)

    assert content(run(detector(), rows, cuts)) == content(run(detector(), rows))


@pytest.mark.parametrize(
    "options", [{"metrics": ("x",)}, {"metrics": ("x", "x")}, {"train": 10}, {"quantile": 1.0}]
)
def test_an_impossible_configuration_is_refused(options):
    with pytest.raises(ValueError, match=r"metrics|train"):
        Pca(**{"metrics": NAMES} | options)
