"""What a detector remembers can be taken out series by series, put in elsewhere, and is declared before it changes."""

from __future__ import annotations

import copy
import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.core.rows import no_rows
from agent.settings.registry import REGISTRY, build
from sensors.units import Duration
from tests.detectors.detector_cases import CASES, MINUTE, make, rows_for
from tests.detectors.detector_tables import content, part, run
from tests.series_contract import check_evicted, check_moved, check_restored, check_touched

HOUR = 60 * MINUTE
VARIANTS = {
    "kl of quantiles": ("kl", {"edges": "quantile"}),
    "kl that goes on by the clock": ("kl", {"idle": Duration("30m")}),
    "kl with one horizon": ("kl", {"closing": "partition", "idle": Duration("30m")}),
    "combined of tables": ("combined", {"parts": ("ewma", build("detector", "p", {"type": "auto", "metric": ""}))}),
    "calibrated tail": ("calibrated", {"method": "tail"}),
    "calibrated conformal": ("calibrated", {"method": "conformal", "window": 20}),
}
NAMES = [*sorted(REGISTRY["detector"]), *VARIANTS]


def made(name):
    kind, more = VARIANTS.get(name, (name, {}))
    return make(kind, **more)


def live(name, series=4, seed=0):
    """Rows whose host time goes on with the time of the readings; the last series falls silent in the middle."""
    rows = rows_for(VARIANTS.get(name, (name,))[0], series, seed)
    return rows.take(~((rows.key == series - 1) & (np.arange(len(rows)) > len(rows) // 2)))


def batches(name, seed=0, places=(150, 151, 290)):
    """The live rows in pieces, then nothing while the clock goes on."""
    rows = live(name, seed=seed)
    edges = [0, *sorted(places), len(rows)]
    pieces = [part(rows, begin, end) for begin, end in itertools.pairwise(edges)]
    over = int(rows.end.max())
    found = [replace(piece, now=int(piece.end.max(initial=rows.end[0]))) for piece in pieces]
    return [*found, *(no_rows(over + hours * HOUR) for hours in (1, 20, 21))]


@settings(max_examples=8, deadline=None)
@given(
    seed=st.integers(0, 9),
    places=st.lists(st.integers(0, 300), min_size=1, max_size=5),
    keys=st.lists(st.integers(0, 5), unique=True, min_size=1),
    to=st.lists(st.integers(0, 40), unique=True, min_size=6, max_size=6),
    at=st.integers(1, 5),
    used=st.booleans(),
)
@pytest.mark.parametrize("name", NAMES)
def test_a_series_goes_on_in_another_detector_at_another_row(name, seed, places, keys, to, at, used):
    check_moved(lambda: made(name), batches(name, seed, places), at, keys, to[: len(keys)], used)


@pytest.mark.parametrize("name", NAMES)
def test_a_restored_detector_remembers_the_same_and_goes_on(name):
    rows = live(name)
    check_restored(lambda: made(name), batches(name, places=(len(rows) * 3 // 4, len(rows) - 30)), 1)


@pytest.mark.parametrize("name", NAMES)
def test_evicted_series_are_as_new_and_the_others_as_they_were(name):
    check_evicted(lambda: made(name), batches(name), 3, [1, 3, 700])


@pytest.mark.parametrize("name", NAMES)
def test_whatever_changes_a_series_touches_it_first(name):
    rows = live(name)
    check_touched(lambda: made(name), batches(name, places=range(60, len(rows), 60)), 5, clock_steps=[4, 6])


@pytest.mark.parametrize("name", NAMES)
def test_the_memory_of_a_series_is_known(name):
    detector = made(name)
    assert detector.bytes_a_series > 0
    assert detector.series == 0


VERSIONS = dict.fromkeys(
    ("anomaly_rate", "contexts", "missing", "robust_z", "spatial", "spectral", "tutorial_kl"), ()
)
VERSIONS["combined"] = ("Calibrated", "Ewma")


@pytest.mark.parametrize("name", sorted(CASES))
def test_versions_are_those_that_saved_states_have_in_their_fingerprints(name):
    detector = made(name)
    expected = dict.fromkeys(VERSIONS.get(name, (type(detector).__name__,)), 2)
    assert detector.versions() == expected


@pytest.mark.parametrize("name", ["kl", "kl of quantiles"])
def test_kl_goes_on_from_a_state_whose_first_axis_was_the_bin(name):
    rows = live(name)
    first, second = made(name), made(name)
    first.process(part(rows, 0, 250))
    old = copy.deepcopy(first.snapshot())
    old["share"] = np.concatenate([old.pop("shares"), np.full((4, first.bins + 2), np.nan)]).T
    del old["scale"]
    for edge in {"low", "high", "inner"} & {*old}:
        old[edge] = np.concatenate([old[edge], np.zeros((4, *old[edge].shape[1:]))])
    second.restore(old)
    rest = part(rows, 250, len(rows))
    assert content(run(second, rest)) == content(run(first, rest))


def test_readings_that_came_too_late_are_counted():
    rows, detector = rows_for("kl", series=1, wild=False), make("kl")
    detector.process(rows)
    assert detector.stats() == {"late": 0, "partially_late": 0}
    detector.process(part(rows, 200, 203))
    assert detector.stats() == {"late": 3, "partially_late": 0}
    detector.process(part(rows, 320, 323))
    assert detector.stats() == {"late": 3, "partially_late": 3}


def test_a_detector_that_counts_nothing_says_so():
    assert make("ewma").stats() == {}
