"""What every detector of the registry keeps, whoever wrote it.

A detector that needs more than a metric says here with which configuration it is run.
"""

import copy
import dataclasses
import importlib
import inspect

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.components import REGISTRY
from tests.detectors.detector_tables import column, content, part, run, table

SMALL = {
    "anomaly_rate": {"metrics": ("x", "y", "z")},
    "auto": {
        "metric": "x",
        "memory": 512,
        "warmup": 64,
        "rest": 20,
    },  # a configuration under which a few hundred rows already give scores
    "cusum": {"metric": "x"},
    "ewma": {"metric": "x"},
    "page_hinkley": {"metric": "x"},
    "pca": {"metrics": ("x", "y", "z"), "train": 100},
    "robust_z": {"metric": "x", "window": 30},
    "spatial": {"metric": "x"},
    "calibrated": {"metric": "x", "rest": 16},
    "combined": {"metric": "x", "rest": 16},
    "neighbour": {"metric": "x", "window": 8, "memory": 64, "warmup": 16},
    "noise_burst": {"metric": "x", "window": 8, "warmup": 16},
    "seasonal": {"metric": "x", "periods": 3, "memory": 96},
    "spike": {"metric": "x"},
    "stuck": {"metric": "x", "rows": 5},
}
STREAMING = sorted(SMALL)
RANKED = {"auto"}


def make(name):
    module, _, attribute = REGISTRY["detector"][name].partition(":")
    return getattr(importlib.import_module(module), attribute)(**SMALL[name])


def signal(n=400, series=3, seed=0, wild=True):
    """Readings of some series: noise, a shift, a spike, a constant stretch, gaps and nonsense."""
    rng = np.random.default_rng(seed)
    key = rng.integers(0, series, n)
    x = rng.normal(50, 2, n) + 10 * (np.arange(n) > 0.7 * n)
    y = 0.5 * x + rng.normal(0, 1, n)
    x[n // 2] += 40
    x[n // 3 : n // 3 + 30] = 51.0
    if wild:
        x[5::37] = np.nan
        x[11], x[12], x[13] = np.inf, -np.inf, 1e308
        y[7::41] = np.nan
        key[20] = -1
    return table(key, {"x": x, "y": y, "z": x + y}, time=1_710_856_626 * 10**9 + 60 * 10**9 * np.arange(n))


@pytest.fixture(params=STREAMING)
def name(request):
    return request.param


def test_it_is_a_documented_dataclass_whose_fields_are_all_explained(name):
    detector = make(name)
    text = "".join(
        inspect.getdoc(cls) or "" for cls in type(detector).__mro__[:-1] if cls.__module__.startswith("agent")
    )
    assert inspect.getdoc(type(detector))
    assert inspect.getdoc(inspect.getmodule(type(detector)))
    for item in dataclasses.fields(detector):
        if item.init:
            assert f"{item.name}:" in text, f"{name}.{item.name} is not documented"


def test_every_scored_row_is_a_row_of_the_input_in_order(name):
    rows = signal()
    out = make(name).process(rows)
    known = rows.take(rows.key >= 0)
    assert np.array_equal(out.at, known.at)
    assert np.array_equal(out.key, known.key)
    assert np.array_equal(out.end, known.end)
    assert np.isfinite(out.values["score"]).sum() > 50


def test_it_does_not_touch_its_input(name):
    rows = signal()
    before = copy.deepcopy(rows)
    make(name).process(rows)
    for attribute in ("key", "start", "end", "at"):
        assert np.array_equal(getattr(rows, attribute), getattr(before, attribute))
    for metric in rows.values:
        assert np.array_equal(rows.values[metric], before.values[metric], equal_nan=True)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 99), cuts=st.lists(st.integers(0, 400), max_size=12))
@pytest.mark.parametrize("name", STREAMING)
def test_how_the_stream_is_cut_changes_no_bit(name, seed, cuts):
    rows = signal(seed=seed)
    assert content(run(make(name), rows, cuts)) == content(run(make(name), rows))


def test_one_row_at_a_time_changes_no_bit(name):
    rows = signal(n=300)
    assert content(run(make(name), rows, range(1, 300))) == content(run(make(name), rows))


def test_long_streams_cut_anywhere_change_no_bit(name):
    rows = signal(n=5000, series=2)
    assert content(run(make(name), rows, [1, 1777, 1778, 3000, 4097])) == content(run(make(name), rows))


def test_its_state_goes_on_exactly_where_it_was_taken(name):
    rows = signal()
    first, second = make(name), make(name)
    first.process(part(rows, 0, 250))
    second.restore(copy.deepcopy(first.state()))
    rest = part(rows, 250, 400)
    assert content([first.process(rest)]) == content([second.process(rest)])


def test_a_state_taken_earlier_is_not_changed_by_going_on(name):
    rows = signal()
    detector = make(name)
    detector.process(part(rows, 0, 250))
    taken = detector.state()
    kept = copy.deepcopy(taken)
    detector.process(part(rows, 250, 400))
    other, same = make(name), make(name)
    other.restore(taken)
    same.restore(kept)
    assert content([other.process(part(rows, 250, 400))]) == content([same.process(part(rows, 250, 400))])


def test_a_forgotten_series_is_like_new_and_the_others_do_not_notice(name):
    rows = signal(wild=False)
    used = make(name)
    used.process(rows)
    witness = copy.deepcopy(used)
    used.forget(np.array([1, 700]))
    again, fresh, plain = used.process(rows), make(name).process(rows), witness.process(rows)
    assert content([again.take(again.key == 1)]) == content([fresh.take(fresh.key == 1)])
    assert content([again.take(again.key != 1)]) == content([plain.take(plain.key != 1)])


def test_the_neighbours_of_a_series_do_not_matter(name):
    rows = signal(series=4)
    together = make(name).process(rows)
    for series in range(4):
        alone = make(name).process(rows.take(rows.key == series))
        assert content([alone]) == content([together.take(together.key == series)])


@pytest.mark.parametrize(
    "values", [[7.0] * 200, [0.0] * 200, [np.nan] * 200, [np.inf] * 200, [1.0, 2.0], [], [3e250] * 50]
)
def test_what_says_nothing_gives_nan_with_a_reason(name, values):
    if name == "calibrated" and values and 0.0 < values[0] < 1e9:
        pytest.skip("takes scores: one that stays the same is a record each time")
    out = make(name).process(table(np.zeros(len(values)), dict.fromkeys("xyz", values)))
    assert np.isnan(out.values["score"]).all()
    assert all(out.texts["reason"].tolist())


def test_nothing_is_ever_infinite_and_every_nan_has_a_reason(name):
    rng = np.random.default_rng(1)
    x = rng.choice([0.0, 1.0, -1.0, 1e-300, 1e99, -1e99, np.nan, np.inf, 1e308, 5.0], 2000)
    out = make(name).process(table(rng.integers(0, 2, 2000), {"x": x, "y": x[::-1], "z": 0.5 * x}))
    score = out.values["score"]
    assert not np.isinf(score).any()
    assert [bool(text) for text in out.texts["reason"].tolist()] == np.isnan(score).tolist()


def test_a_missing_column_gives_nan_with_a_reason(name):
    out = make(name).process(table(np.zeros(5), {"other": np.arange(5.0)}))
    assert np.isnan(out.values["score"]).all()
    assert set(out.texts["reason"].tolist()) == {"missing"}


def test_a_clear_fault_scores_above_everything_normal(name):
    if name in ("calibrated", "stuck"):
        pytest.skip(
            "takes scores, of which a low one is no fault" if name == "calibrated" else "nothing stands still here"
        )
    rng = np.random.default_rng(3)
    x = rng.normal(10, 1, 1500)
    x[1200:1260] += 25
    out = make(name).process(
        table(np.zeros(1500), {"x": x, "y": x + rng.normal(0, 1, 1500), "z": rng.normal(size=1500)})
    )
    score = out.values["score"]
    assert np.nanmax(score[1200:1260]) > np.nanmax(score[600:1200])


@pytest.mark.parametrize(("scale", "offset"), [(1024.0, 0.0), (1000.0, 0.0), (1.0, 1e6), (0.001, -5.0)])
def test_scale_and_offset_of_the_metric_do_not_matter(name, scale, offset):
    if name == "calibrated" and offset:
        pytest.skip("takes scores, whose zero has a meaning")
    if name in RANKED and (scale, offset) != (1024.0, 0.0):
        pytest.skip("compares with earlier values, so that a tie falls either way by rounding")
    rows = signal(wild=False)
    moved = table(rows.key, {n: scale * x + offset for n, x in rows.values.items()}, time=rows.end)
    a, b = column(run(make(name), rows)), column(run(make(name), moved))
    assert np.array_equal(np.isnan(a), np.isnan(b))
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
