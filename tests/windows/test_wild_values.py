"""Values at the ends of what a number can be: no window fails, no result is infinite, none depends on cuts."""

import itertools

import numpy as np
import pytest

from agent.detectors.histograms.kl import Kl
from agent.detectors.histograms.reference import Reference, fit
from agent.settings.build import build_pipeline
from agent.settings.registry import REGISTRY
from agent.settings.settings import Settings
from agent.windows.aggregates import STREAMED
from agent.windows.histogram import Histograms
from sensors.batch import Batch, tick
from sensors.units import Duration
from tests.windows.streams import MS, rows_of

START = 1_710_000_000 * 10**9
SECOND = 10**9
AGGREGATES = [*STREAMED[1:], "median", "p95", "distinct"]
WINDOWS = {
    "tumbling": {"size": "5s"},
    "hopping": {"size": "5s", "step": "1s"},
    "cumulate": {"size": "5s", "step": "1s"},
    "count": {"count": 7},
    "running": {},
    "session": {"gap": "2s"},
    "sliding": {"size": "3s"},
}
ABSENT = {
    "running": ("median", "p95", "distinct"),
    "session": ("median", "p95", "distinct"),
    "count": ("earliest", "latest", "rate"),
}
ENDS = [0.0, -0.0, 5e-324, -5e-324, 1e-310, 2.3e-308, 1.0, 1e99, 1e154, -1e200, 1e308, -1.7e308, np.nan]
LEVELS = {
    "tiny": ENDS[:6],
    "tiny and normal": ENDS[:7],
    "huge": ENDS[7:],
    "all": ENDS,
}


def engine(**tables):
    return build_pipeline(Settings(agent={"idle": False}, **tables)).engine()


def batches(values, cut):
    for begin in range(0, len(values), cut):
        part = values[begin : begin + cut]
        row = np.arange(begin, begin + len(part))
        time = START + SECOND * (row // 2 + row // 10 * 3)
        yield Batch(
            ("a", "b"), np.arange(begin, begin + len(part), dtype=np.int32) % 2, time, {"x": part}, int(time[-1])
        )
    yield tick(START + 10**6 * SECOND)


@pytest.mark.law2
@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize("kind", sorted(REGISTRY["window"]))
def test_every_window_tells_finite_numbers_of_them(kind, levels):
    values = np.random.default_rng(3).choice(LEVELS[levels], 200)
    aggregates = [name for name in AGGREGATES if name not in ABSENT.get(kind, ())]
    emitted = []
    for cut in (200, 7):
        live = engine(
            window={"w": {"type": kind, "metric": "x", "aggregates": aggregates, **WINDOWS[kind]}},
            rule={"any": {"on": "w", "when": "max > 1 or min < -1 or std > 0"}},
        )
        columns = {name: [] for name in aggregates}
        for batch in batches(values, cut):
            decided = live.process(batch)
            for name, column in columns.items():
                column += decided.results["w"].values[name].tolist()
        assert len(columns["count"]) > 10
        for name, column in columns.items():
            assert not np.isinf(column).any(), name
        emitted.append(repr(columns))
    assert emitted[0] == emitted[1]


@pytest.mark.parametrize("divergence", ["kl", "js", "psi"])
@pytest.mark.parametrize(
    "reference",
    [
        {"low": 0.0, "high": 5e-324, "counts": (0, 3, 4, 3, 0)},
        {"low": -1e-310, "high": 1e-310, "counts": (0, 3, 4, 3, 0)},
        {"low": -1.7e308, "high": 1.7e308, "counts": (0, 3, 4, 3, 0)},
        {"low": -1.7e308, "high": -1.6e308, "counts": (0, 3, 4, 3, 0)},
        {"edges": (0.0, 5e-324, 1e-323, 1e-310), "counts": (0, 3, 4, 3, 0)},
        {"edges": (-1.7e308, 0.0, 5e-324, 1.7e308), "counts": (0, 3, 4, 3, 0)},
    ],
)
def test_kl_on_edges_there_scores_every_window(reference, divergence):
    rng = np.random.default_rng(2)
    finite = [value for value in ENDS if value == value]
    readings = [(0, row * 500 * MS, rng.choice(finite)) for row in range(100)]
    kl = Kl(
        metric="x",
        size=Duration("5s"),
        step=Duration("1s"),
        bins=3,
        divergence=divergence,
        reference=Reference(**reference),
    )
    found = kl.process(rows_of(readings))
    assert len(found) > 30
    assert np.isfinite(found.values["score"]).all()
    assert (found.values["count"] == 10).all()


@pytest.mark.parametrize("how", ["equal", "quantile"])
@pytest.mark.parametrize("levels", LEVELS)
def test_a_reference_of_them_holds_each_in_its_bins(levels, how):
    values = np.random.default_rng(3).choice(LEVELS[levels], 200)
    values = values[np.isfinite(values)]
    made = fit(values, bins=5, edges=how)
    assert sum(made.counts) == len(values)
    assert made.counts[0] == made.counts[-1] == 0


def test_the_bins_of_any_two_edges_hold_every_number():
    ends = np.array([end for end in ENDS if end == end])
    with np.errstate(over="ignore"):
        for low, high in itertools.permutations(ends, 2):
            if not low < high:
                continue
            histograms = Histograms("x", 50)
            histograms.edges(1, np.array([low]), np.array([high]))
            bins = histograms.bin(np.zeros(len(ends), np.int64), ends)
            inside = bins[(ends >= low) & (ends <= high)]
            assert ((bins >= 0) & (bins <= 51)).all()
            assert ((inside >= 1) & (inside <= 50)).all()
            if high > low + 1e-290:
                assert (bins[ends > high] == 51).all()
                assert (
                    bins[(ends < low) & (low - ends > 1e-12 * (min(high, 1e307) - max(low, -1e307)))] == 0
                ).all()
