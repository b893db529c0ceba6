"""State by series: taken out, put in, dropped; what changed is known before it changes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.changes import Changes
from agent.core.series import Field, SeriesState, Stateful
from agent.core.series_records import SeriesRecords


@dataclass
class Part(Stateful):
    """One of everything a part may have."""

    remembers: ClassVar = {"": "flat", "notes": "notes", "pair": "pair", "none": "none"}
    shared: ClassVar = {"now": ("now", max), "refused": ("refused", max)}

    now: int = 0
    refused: int = 0
    none: Stateful | None = None
    notes: SeriesRecords = field(default_factory=SeriesRecords)

    def __post_init__(self) -> None:
        self.state = SeriesState(count=Field(np.int64), ring=Field(np.float64, np.nan, (3,)))
        self.more = SeriesState(more=Field(np.int64, -7))
        self.flat = (self.state, self.more)
        self.pair = (SeriesState(a=Field(np.int64, -1)), SeriesState(b=Field(np.bool_, True)))


def filled(keys: range) -> Part:
    part = Part(now=7, refused=2)
    part.grow(keys.stop)
    for key in keys:
        part.state["count"][key], part.state["ring"][key], part.more["more"][key] = key, key + 0.5, 3 * key
        part.pair[0]["a"][key], part.pair[1]["b"][key] = 10 * key, key % 2 == 0
        if key % 3 == 0:
            part.notes.of[key] = {"text": str(key)}
    return part


def same(a: object, b: object) -> bool:
    np.testing.assert_equal(a, b)
    return True


def test_restore_of_a_snapshot_goes_on_exactly_there():
    part, other = filled(range(9)), filled(range(2, 40))
    other.restore(part.snapshot())
    assert same(other.snapshot(), part.snapshot())


def test_a_snapshot_is_a_copy():
    part = filled(range(4))
    kept = part.snapshot()
    part.state["count"][:] = 99
    part.notes.of[0]["text"] = "changed"
    assert kept["count"].tolist() == [0, 1, 2, 3]
    assert kept["notes"]["0"] == {"text": "0"}


def test_a_snapshot_does_not_show_how_the_arrays_grew():
    part, slowly = Part(), Part()
    part.grow(50)
    for size in range(1, 51):
        slowly.grow(size)
    assert same(part.snapshot(), slowly.snapshot())


@given(st.lists(st.integers(0, 30), unique=True), st.data())
def test_what_is_extracted_and_merged_is_the_same_at_other_rows(keys, data):
    part, other = filled(range(20)), Part(now=3, refused=5)
    to = data.draw(st.lists(st.integers(0, 60), unique=True, min_size=len(keys), max_size=len(keys)))
    taken = part.extract(np.array(keys, np.int64))
    other.merge(np.array(to, np.int64), taken)
    assert same(other.extract(np.array(to, np.int64)) | {"now": 0, "refused": 0}, taken | {"now": 0, "refused": 0})
    assert other.now == 7
    assert other.refused == 5
    rest = np.setdiff1d(np.arange(61), to)
    assert same(other.extract(rest)["ring"], np.full((len(rest), 3), np.nan))


def test_what_is_evicted_is_as_new():
    part = filled(range(6))
    part.evict(np.array([1, 3, 77]))
    fresh = Part().extract(np.array([1, 3]))
    assert same(part.extract(np.array([1, 3])) | {"now": 0, "refused": 0}, fresh)
    assert part.state["count"][2] == 2


def test_a_state_of_another_shape_is_refused_and_named():
    part = filled(range(2))
    state = part.snapshot() | {"ring": np.zeros((2, 4))}
    with pytest.raises(ValueError, match="'ring' has \\(4,\\) values a series, here it is \\(3,\\)"):
        part.restore(state)


def test_changed_series_are_told_once_and_before_they_change():
    changes, seen = Changes(), []
    changes.before = lambda keys: seen.append(keys.tolist())
    part = filled(range(3))
    part.track(changes)
    part.touch(np.array([5, 40_000, -1, 7]))
    part.touch(np.array([-1]))
    part.touch(np.array([], np.int64))
    part.merge(np.array([2000]), filled(range(1)).extract(np.array([0])))
    changes.mark(np.array([3, 3]))
    changes.mark(np.array([], np.int64))
    assert seen[0] == [5, 40_000, 7]
    assert {tuple(keys) for keys in seen[1:]} == {(2000,)}
    assert changes.take().tolist() == [3, 5, 7, 2000, 40_000]
    assert changes.take().tolist() == []


def test_what_is_shared_can_be_set_alone():
    part, other = filled(range(4)), filled(range(2))
    other.now, other.refused = 5, 11
    before = part.extract(np.arange(4))
    part.restore_shared(other.extract(np.zeros(0, np.int64)))
    assert same(part.extract(np.arange(4)), before | {"now": 5, "refused": 11})


def test_versions_name_only_what_is_not_1():
    class Newer(SeriesState):
        state_version = 4

    part = Part()
    part.pair = (Newer(a=Field(np.int64)), part.pair[1])
    assert part.versions() == {"Newer": 4}
