"""Several sensors: what it learns, names and forgets."""

import numpy as np
import pytest

from agent.detectors.pca import Pca
from tests.detectors.detector_tables import table

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
    values = plant(3000)
    values += np.linspace(0, 0.5, 3000)
    assert np.nansum(scores(values).values["score"] >= 1) == 0


def test_rows_given_ahead_count_as_training():
    values = plant()
    rows = table(np.zeros(900), dict(zip(NAMES, values, strict=True)))
    detector = Pca(NAMES)
    detector.fit(rows.take(np.arange(400)))
    assert np.isfinite(detector.process(rows.take(np.arange(400, 900))).values["score"]).all()


def test_the_model_equals_the_textbook():
    """T2 and Q of the first judged row, from scratch, with no following mean."""
    values = plant()
    out = scores(values, follow=0.0)
    windows = np.lib.stride_tricks.sliding_window_view(values[:, :400], 5, axis=1)
    floor = 0.05 * values[:, :400].std(axis=1)[:, None]
    features = np.concatenate([windows.mean(axis=2), np.log(windows.std(axis=2) + floor)]).T
    centre, scale = features.mean(0), features.std(0)
    u = (features - centre) / scale
    variances, axes = np.linalg.eigh(np.cov(u.T))
    variances, axes = variances[::-1], axes[:, ::-1]
    k = np.searchsorted(np.cumsum(variances) / variances.sum(), 0.9) + 1

    def both(v):
        s = v @ axes[:, :k]
        return (s**2 / np.maximum(variances[:k], 0.05)).sum(-1), ((v - s @ axes[:, :k].T) ** 2).sum(-1)

    t2, q = both(u)
    last = values[:, 396:401]
    new = (np.concatenate([last.mean(1), np.log(last.std(1) + floor[:, 0])]) - centre) / scale
    a, b = both(new)
    assert out.values["t2"][400] == pytest.approx(a / np.quantile(t2[50:], 0.99), rel=1e-6)
    assert out.values["q"][400] == pytest.approx(b / np.quantile(q[50:], 0.99), rel=1e-6)


@pytest.mark.parametrize(
    "options", [{"metrics": ("x",)}, {"metrics": ("x", "x")}, {"train": 10}, {"quantile": 1.0}]
)
def test_an_impossible_configuration_is_refused(options):
    with pytest.raises(ValueError, match=r"metrics|train"):
        Pca(**{"metrics": NAMES} | options)
