"""What a window refuses, drops or cannot compute is counted, and everybody can see it: `stats`."""

import numpy as np
import pytest

from agent.settings.registry import REGISTRY, Registry, build
from tests.windows.streams import MS, rows_of

SIZES = {
    "tumbling": {"size": "1s"},
    "hopping": {"size": "3s", "step": "1s"},
    "cumulate": {"size": "2s", "step": "1s"},
    "count": {"count": 2},
    "running": {},
    "session": {"gap": "1s"},
    "sliding": {"size": "3s"},
}
NOTHING = {"late": 0, "partially_late": 0, "dropped": 0, "overflows": 0}
NEVER_LATE = ("running",)


def counted(kind, readings, **options):
    window = build("window", "window.w", {"type": kind, "metric": "x"} | SIZES[kind] | options)
    window.process(rows_of([(key, ms * MS, value) for key, ms, value in readings]))
    again = build("window", "window.w", {"type": kind, "metric": "x"} | SIZES[kind] | options)
    again.restore(window.snapshot())
    assert again.stats() == window.stats()
    for name, counts in window.stats_by_series().items():
        assert sum(counts.worst(9).values()) == window.stats()[name]
    return window.stats()


def nothing(kind):
    return {name: 0 for name in NOTHING if kind not in NEVER_LATE or "late" not in name}


def test_every_window_of_the_registry_is_tested_here():
    assert SIZES.keys() == REGISTRY["window"].keys()


@pytest.mark.parametrize("kind", SIZES)
def test_a_window_to_which_nothing_happens_counts_nothing(kind):
    assert counted(kind, [(0, 1000 * i, 1.0) for i in range(9)]) == nothing(kind)


@pytest.mark.parametrize(
    ("kind", "late", "partially"),
    [("tumbling", 2, 0), ("hopping", 1, 1), ("cumulate", 1, 1), ("session", 2, 0), ("sliding", 1, 1)],
)
def test_late_readings(kind, late, partially):
    readings = [(0, 1000, 1.0), (0, 8500, 1.0), (1, 2000, 1.0), (0, 4000, 1.0), (0, 6500, 1.0)]
    if kind == "cumulate":  # of [8, 9) and [8, 10), one is still open
        readings = [(0, 1000, 1.0), (0, 9500, 1.0), (1, 2000, 1.0), (0, 4000, 1.0), (0, 8500, 1.0)]
    assert counted(kind, readings) == nothing(kind) | {"late": late, "partially_late": partially}


@pytest.mark.parametrize("kind", ["tumbling", "hopping", "cumulate", "session", "sliding"])
def test_whose_readings_were_late_is_known_until_the_series_is_evicted(kind):
    window = build("window", "window.w", {"type": kind, "metric": "x"} | SIZES[kind])
    window.process(rows_of([(key, ms * MS, 1.0) for key, ms in [(0, 1000), (3, 90_000), (0, 90_000), (3, 2000)]]))
    late = window.stats_by_series()["late"]
    assert late.worst(9) == {3: 1}
    window.evict(np.array([3]))
    assert late.worst(9) == {}


@pytest.mark.parametrize(
    ("kind", "options", "dropped"),
    [
        ("tumbling", {"aggregates": ["median"], "size": "1h", "most": 4}, 6),
        ("count", {"aggregates": ["median"], "count": 20, "most": 4}, 6),
        ("sliding", {"size": "1h", "most": 4}, 6),
        ("sliding", {"aggregates": ["median"], "size": "1h", "most": 4}, 6),
        ("session", {"gap": "1s", "grace": "1h", "most": 4}, 6),
        ("running", {"aggregates": ["collect"], "most": 4}, 6),
    ],
)
def test_what_is_beyond_the_most_a_series_may_keep(kind, options, dropped):
    readings = [(0, 5000 * i, float(i)) for i in range(10)] + [(1, 60_000, 1.0)]
    assert counted(kind, readings, **options) == nothing(kind) | {"dropped": dropped}


@pytest.mark.parametrize("kind", SIZES)
def test_results_whose_sum_is_beyond_all_numbers(kind):
    values = [(10, 1e308), (20, 1e308), (5000, 1.0), (5010, 2.0), (9000, 1.0), (9500, 1.0)]
    readings = [(0, 10_000 + ms, value) for ms, value in values]
    found = counted(kind, readings, aggregates=["sum"])
    assert found["overflows"] == {"hopping": 3, "cumulate": 2, "sliding": 1, "running": 5}.get(kind, 1)
    assert found == nothing(kind) | {"overflows": found["overflows"]}


def test_late_windows_of_a_sliding_window_are_a_side_stream_in_order():
    window = build("window", "window.w", {"type": "sliding", "metric": "x", "size": "3s", "emit_late": True})
    times = [1000, 9000, 8000, 2000, 7000]
    window.process(rows_of([(0, ms * MS, 1.0) for ms in times]))
    (late,) = window.late
    assert late.at.tolist() == [2, 3, 4]
    assert (late.end // MS).tolist() == [8000, 2000, 7000]
    assert late.values["late_by"].tolist() == [1.0, 7.0, 2.0]
    window.process(rows_of([], now=1))
    assert window.late == []
    assert window.stats() == NOTHING | {"late": 1, "partially_late": 2}


def test_the_former_name_of_emit_late_is_taken_with_a_warning():
    registry = Registry()
    table = {"type": "session", "metric": "x", "gap": "1s", "tell_late": True}
    assert registry.build("window", "window.w", table).emit_late
    assert registry.warnings == [
        "window.w.tell_late: is now called emit_late; the next release will refuse the former name"
    ]
