import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.windows.sample_windows import SampleWindows
from tests.series_contract import check_evicted, check_moved, check_restored, check_touched
from tests.voltage.naive_kl import windows_of
from tests.voltage.streams import cut, rows_of


class SampleOperator(SampleWindows):
    """Sample windows as an operator: its results are the windows and gaps."""

    def process(self, rows):
        gaps = self.gaps(rows, "v")
        found = [(int(key), ("gap", int(at))) for key, at in zip(gaps.key, gaps.at, strict=True)]
        for part in self.feed(rows, "v"):
            whole = zip(
                part.key.tolist(), part.at.tolist(), part.samples.tolist(), part.times.tolist(), strict=True
            )
            found += [(key, rest) for key, *rest in whole]
        return found

    def finish(self, now):
        return []

    def on_clock_step(self, to):
        pass


def taken(rings, rows, cuts=()):
    windows = []
    for offset, piece in cut(rows, cuts):
        for part in rings.feed(piece, "v"):
            windows += [
                (int(part.at[i]) + offset, int(part.key[i]), part.samples[i].tolist(), part.times[i].tolist())
                for i in range(len(part))
            ]
    return sorted(windows)


def stream(seed, n=400):
    rng = np.random.default_rng(seed)
    time = np.cumsum(rng.integers(0, 30, n)) + rng.integers(-40, 40, n)
    return rows_of(rng.integers(-1, 3, n), time, np.where(rng.random(n) < 0.1, np.nan, rng.normal(size=n)))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 9), st.lists(st.integers(0, 400), max_size=9), st.integers(1, 70), st.integers(1, 90))
def test_windows_by_count_are_those_taken_by_hand(seed, cuts, size, hop):
    rows = stream(seed)
    expected = []
    for key in range(3):
        mine = np.flatnonzero((rows.key == key) & ~np.isnan(rows.values["v"]))
        times = windows_of(rows.start[mine].tolist(), size, hop)
        for (end, samples), (_, when) in zip(
            windows_of(rows.values["v"][mine].tolist(), size, hop), times, strict=True
        ):
            expected.append((int(mine[end]), key, samples, when))
    assert taken(SampleWindows(size, hop), rows, cuts) == sorted(expected)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 9), st.lists(st.integers(0, 400), max_size=9), st.integers(1, 40), st.integers(1, 300))
def test_windows_by_time_end_before_each_multiple(seed, cuts, size, every):
    rows = stream(seed)
    expected = []
    for key in range(3):
        mine = np.flatnonzero((rows.key == key) & ~np.isnan(rows.values["v"])).tolist()
        newest = None
        for place, row in enumerate(mine):
            slot = int(rows.start[row]) // every
            if newest is not None and slot > newest and place >= size:
                held = mine[place - size : place]
                expected.append((row, key, rows.values["v"][held].tolist(), rows.start[held].tolist()))
            newest = slot if newest is None else max(newest, slot)
    assert taken(SampleWindows(size, every=every), rows, cuts) == sorted(expected)


def test_a_restored_ring_goes_on_and_another_size_is_refused():
    rows = stream(1)
    whole = taken(SampleWindows(20, 7), rows)
    first, second = SampleWindows(20, 7), SampleWindows(20, 7)
    (_, head), (offset, tail) = cut(rows, [150])
    got = taken(first, head)
    second.restore(first.snapshot())
    got += [(at + offset, *rest) for at, *rest in taken(second, tail)]
    assert sorted(got) == whole
    with pytest.raises(ValueError, match="values a series"):
        SampleWindows(21, 7).restore(first.snapshot())
    with pytest.raises(ValueError, match="1 or more"):
        SampleWindows(0)


def test_nothing_comes_of_no_rows_or_another_metric():
    rings = SampleWindows(2)
    assert taken(rings, rows_of([], [], [])) == []
    assert list(rings.feed(rows_of([0, 0], [1, 2], [1.0, 2.0]), "other")) == []
    assert taken(rings, rows_of([-1, -1], [1, 2], [1.0, 2.0])) == []


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 9), st.lists(st.integers(0, 400), max_size=9), st.integers(1, 12), st.floats(0.05, 0.95))
def test_a_window_of_readings_without_a_value_is_told(seed, cuts, size, share):
    rng = np.random.default_rng(seed)
    rows = rows_of(rng.integers(-1, 3, 400), np.arange(400), np.where(rng.random(400) < share, np.nan, 1.0))
    expected, run = [], {}
    for at, (key, value) in enumerate(zip(rows.key.tolist(), rows.values["v"].tolist(), strict=True)):
        if key >= 0:
            run[key] = run.get(key, 0) + 1 if np.isnan(value) else 0
            if run[key] and run[key] % size == 0:
                expected.append((at, key))
    rings, got = SampleWindows(size), []
    for offset, piece in cut(rows, cuts):
        found = rings.gaps(piece, "v")
        got += [(int(at) + offset, int(key)) for at, key in zip(found.at, found.key, strict=True)]
        rings.restore(rings.snapshot())
    assert got == expected
    assert len(SampleWindows(100).gaps(rows, "other").key) == sum(
        np.count_nonzero(rows.key == k) >= 100 for k in range(3)
    )


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 9),
    st.integers(0, 8),
    st.lists(st.integers(0, 2), unique=True, min_size=1),
    st.lists(st.integers(0, 20), unique=True, min_size=3, max_size=3),
    st.booleans(),
    st.sampled_from([(5, 2, 0), (9, 4, 0), (6, 1, 70)]),
)
def test_series_are_taken_out_put_in_and_dropped_one_by_one(seed, at, keys, to, used, shape):
    batches = [piece for _, piece in cut(stream(seed, 160), range(20, 160, 20))]

    def results(found):
        return found

    def make():
        return SampleOperator(*shape)

    check_moved(make, batches, at, keys, to[: len(keys)], used, results)
    check_restored(make, batches, at, results)
    check_evicted(make, batches, at, keys, results)
    check_touched(make, batches, 4, (), results)
