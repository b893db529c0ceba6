"""Tumbling, hopping and cumulating windows against the naive version, and the laws of the house."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.windows.hopping import Cumulate, Hopping, Tumbling
from sensors.batch import Text
from sensors.units import Duration
from tests import naive
from tests.windows.streams import MS, cuts, emitted, rows_of, same_bytes, streams

STREAMED = ["rows", "count", "missing", "sum", "mean", "min", "max", "range", "std", "std_pop", "var", "var_pop",
            "first", "last", "earliest", "latest", "rate"]  # fmt: skip
CALLS = {name: "count(*)" if name == "rows" else name for name in STREAMED}


@st.composite
def windows(draw, emit=("current", "final"), closing=("key", "partition", "watermark"), aggregates=None):
    kind, size, step = draw(
        st.sampled_from(
            [
                (Tumbling, 5000, None),
                (Hopping, 5000, 1000),
                (Hopping, 5000, 1500),
                (Hopping, 4000, 2000),
                (Cumulate, 6000, 2000),
            ]
        )
    )
    table = {
        "size": Duration(size * MS),
        "metric": "x",
        "aggregates": CALLS if aggregates is None else aggregates,
        "emit": draw(st.sampled_from(emit)),
        "closing": draw(st.sampled_from(closing)),
        "grace": Duration(draw(st.sampled_from([0, 0, 700, 3000])) * MS),
        "offset": Duration(draw(st.sampled_from([0, 0, 300])) * MS),
    }
    if step:
        table["step"] = Duration(step * MS)
    naive_windows = (naive.steps if kind is Cumulate else naive.hops)(
        table["size"], table.get("step", table["size"]), int(table["offset"])
    )
    return (lambda: kind(**table)), naive_windows, table


def close(a, b):
    return (math.isnan(a) and math.isnan(b)) or math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-7)


@settings(max_examples=50, deadline=None)
@given(st.data(), streams(refused=True), windows())
def test_windows_are_those_of_the_naive_version(data, readings, made):
    make, contains, table = made
    window = make()
    window.lateness.emit = True
    got = emitted(window.process(rows_of(readings)), STREAMED)
    late = [
        (at, key, start, end, round(by * 1e9))
        for rows in window.late
        for at, key, start, end, by in emitted(rows, ["late_by"])
    ]
    final = emitted(window.finish(0), STREAMED)
    expected, refused = naive.aligned(
        readings, contains, table["emit"], table["grace"], table["closing"], finish=True
    )
    assert [row[:4] for row in got + final] == [row[:4] for row in expected]
    assert [row[:4] for row in late] == [row[:4] for row in refused]
    assert all(abs(a[4] - b[4]) < 1000 for a, b in zip(late, refused, strict=True))
    for row, (*_, inside) in zip(got + final, expected, strict=True):
        for name, value in zip(STREAMED, row[4:], strict=True):
            assert close(value, naive.aggregate(name, inside)), (name, value, inside)


@pytest.mark.law2
@settings(max_examples=50, deadline=None)
@given(st.data(), streams(most=80, refused=True), windows())
def test_how_a_stream_is_cut_changes_no_bit(data, readings, made):
    make, _, _ = made
    whole = make()
    expected = emitted(whole.process(rows_of(readings)), STREAMED) + emitted(whole.finish(0), STREAMED)
    window = make()
    got, places = [], [0, *cuts(data.draw, len(readings)), len(readings)]
    for start, stop in itertools.pairwise(places):
        got += emitted(window.process(rows_of(readings[start:stop], at0=start)), STREAMED)
        again = make()
        again.restore(window.snapshot())
        window = again
    got += emitted(window.finish(0), STREAMED)
    assert same_bytes(got, expected)
    assert window.stats() == whole.stats()
    single, window = [], make()
    for i, reading in enumerate(readings):
        single += emitted(window.process(rows_of([reading], at0=i)), STREAMED)
    assert same_bytes(single + emitted(window.finish(0), STREAMED), expected)
    blocks = make()
    blocks.driver.length = 5
    assert same_bytes(
        emitted(blocks.process(rows_of(readings)), STREAMED) + emitted(blocks.finish(0), STREAMED), expected
    )


PLAIN = ["rows", "count", "missing", "sum", "mean", "min", "max"]


@settings(max_examples=50, deadline=None)
@given(st.data(), streams(most=200), windows(emit=("final",), aggregates={name: CALLS[name] for name in PLAIN}))
def test_simple_aggregates_are_added_in_place_to_the_same_bits(data, readings, made):
    make, contains, table = made
    window, got = make(), []
    for start, stop in itertools.pairwise([0, *cuts(data.draw, len(readings)), len(readings)]):
        got += emitted(window.process(rows_of(readings[start:stop], at0=start)), PLAIN)
    whole = make()
    assert same_bytes(got, emitted(whole.process(rows_of(readings)), PLAIN))
    expected, _ = naive.aligned(readings, contains, "final", table["grace"], table["closing"])
    assert [row[:4] for row in got] == [row[:4] for row in expected]
    for row, (*_, inside) in zip(got, expected, strict=True):
        for name, value in zip(PLAIN, row[4:], strict=True):
            assert close(value, naive.aggregate(name, inside)), (name, value, inside)
    rest = emitted(window.finish(0), PLAIN)
    assert same_bytes(rest, emitted(whole.finish(0), PLAIN))


SAMPLED = ["median", "p90", "distinct", "count"]


@settings(max_examples=50, deadline=None)
@given(st.data(), streams(refused=True), windows(aggregates=["median", "p90", "distinct", "collect"]))
def test_aggregates_of_the_readings_themselves(data, readings, made):
    make, contains, table = made

    def everything(rows):
        return [(*row, found) for row, found in zip(emitted(rows, SAMPLED), rows.lists["collect"], strict=True)]

    whole = make()
    rows = everything(whole.process(rows_of(readings))) + everything(whole.finish(0))
    expected, _ = naive.aligned(readings, contains, table["emit"], table["grace"], table["closing"], finish=True)
    assert [row[:4] for row in rows] == [row[:4] for row in expected]
    for row, (*_, inside) in zip(rows, expected, strict=True):
        assert row[-1] == naive.aggregate("collect", inside)
        for name, value in zip(SAMPLED, row[4:], strict=False):
            assert close(value, naive.aggregate(name, inside)), (name, value, inside)
    window, got = make(), []
    for start, stop in itertools.pairwise([0, *cuts(data.draw, len(readings)), len(readings)]):
        got += everything(window.process(rows_of(readings[start:stop], at0=start)))
        again = make()
        again.restore(window.snapshot())
        window = again
    assert same_bytes(got + everything(window.finish(0)), rows)


def test_texts_are_counted_and_collected():
    window = Tumbling(
        size=Duration("1s"), aggregates={"kinds": "count(distinct topping)", "all": "collect(topping)"}
    )
    rows = rows_of([(0, i * 300 * MS, 1.0) for i in range(5)])
    text = Text(("egg", "tuna"), np.array([0, 1, -1, 0, 1], np.int32))
    out = window.process(replace(rows, texts={"topping": text}))
    assert out.values["kinds"].tolist() == [2.0]
    assert out.lists["all"] == [("egg", "tuna", "egg")]


def test_the_arrays_handed_in_stay_as_they_are():
    rows = rows_of([(0, 5 * MS, 1.0), (1, 3 * MS, math.nan), (0, 9000 * MS, 2.0)])
    copies = [array.copy() for array in (rows.key, rows.start, rows.at, rows.values["x"])]
    for emit in ("current", "final"):
        Hopping(metric="x", size=Duration("5s"), step=Duration("1s"), emit=emit, aggregates=CALLS).process(rows)
    for array, copy in zip((rows.key, rows.start, rows.at, rows.values["x"]), copies, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_a_jump_of_a_year_costs_no_memory():
    window = Hopping(metric="x", size=Duration("5s"), step=Duration("1s"))
    year = 365 * 86400 * 1000 * MS
    out = window.process(
        rows_of([(0, 10_000 * MS, 1.0), (1, 10_000 * MS, 1.0), (0, year, 2.0), (0, 2 * year, 3.0)])
    )
    assert out.values["mean"].tolist() == [1.0] * 5 + [2.0] * 5
    assert window.panes.ring.data.nbytes < 10_000


def test_a_sum_beyond_all_numbers_is_missing_and_does_not_last():
    window = Tumbling(metric="x", size=Duration("1s"), aggregates=["sum", "mean", "std"])
    readings = [(0, 0, 1e308), (0, 1, 1e308), (0, 2, -1e308), (0, 1000 * MS, 1.0), (0, 2000 * MS, 2.0)]
    out = window.process(rows_of(readings))
    assert math.isnan(out.values["sum"][0])
    assert math.isnan(out.values["mean"][0])
    assert out.values["sum"][1] == 1.0
    assert window.stats()["overflows"] == 1


def test_a_silent_series_is_closed_by_the_clock():
    window = Tumbling(metric="x", size=Duration("5s"), idle=Duration("10s"))
    second = 1000 * MS
    assert len(window.process(rows_of([(0, 101 * second, 1.0), (1, 104 * second, 3.0)], now=110 * second))) == 0
    assert len(window.process(rows_of([], now=119 * second))) == 0
    assert len(window.process(rows_of([], now=121 * second))) == 1  # 104 + 121 - 110 - 10 reaches 105
    out = window.process(rows_of([(1, 126 * second, 4.0)], now=125 * second))
    assert emitted(out, ["mean"]) == [(-1, 0, 100 * second, 105 * second, 1.0)]
    assert len(window.process(rows_of([], now=126 * second))) == 0


@pytest.mark.parametrize("closing", ["partition", "watermark"])
def test_all_series_silent_are_closed_by_the_clock(closing):
    window = Tumbling(metric="x", size=Duration("5s"), idle=Duration("10s"), closing=closing)
    second = 1000 * MS
    window.process(rows_of([(0, 101 * second, 1.0), (1, 104 * second, 3.0)], now=110 * second))
    out = window.process(rows_of([], now=130 * second))
    assert [row[:2] for row in emitted(out, ["mean"])] == [(-1, 0), (-1, 1)]


@pytest.mark.law2
@settings(max_examples=40, deadline=None)
@given(st.data(), streams(most=40), st.sampled_from(["key", "watermark"]), st.sampled_from([0, 2000]))
def test_the_clock_does_not_depend_on_cuts(data, readings, closing, grace):
    def make():
        return Hopping(
            size=Duration("5s"),
            step=Duration("1s"),
            metric="x",
            closing=closing,
            grace=Duration(grace * MS),
            idle=Duration("3s"),
        )

    places = [0, *cuts(data.draw, len(readings)), len(readings)]
    steps = data.draw(st.lists(st.integers(0, 20), min_size=len(places), max_size=len(places)))
    whole, single, now = make(), make(), readings[0][1]
    a, b = [], []
    for (start, stop), step in zip(itertools.pairwise(places), steps, strict=False):
        now += step * 500 * MS
        a += emitted(whole.process(rows_of(readings[start:stop], now=now, at0=start)), ["mean"])
        b += emitted(single.process(rows_of([], now=now)), ["mean"])
        for i in range(start, stop):
            b += emitted(single.process(rows_of([readings[i]], now=now, at0=i)), ["mean"])
    assert same_bytes(a, b)


def test_many_wide_windows_are_told_in_parts(monkeypatch):
    readings = [(k, (i * 1000 + k) * MS, float(i * k)) for i in range(30) for k in range(7)]
    whole = Hopping(metric="x", size=Duration("10s"), step=Duration("1s")).process(rows_of(readings))
    monkeypatch.setattr("agent.windows.pane_operator._CELLS", 20)
    parts = Hopping(metric="x", size=Duration("10s"), step=Duration("1s")).process(rows_of(readings))
    assert same_bytes(emitted(parts, ["mean"]), emitted(whole, ["mean"]))


def test_forgotten_series_start_anew():
    window = Tumbling(metric="x", size=Duration("5s"))
    window.process(rows_of([(0, 1000 * MS, 1.0), (1, 1000 * MS, 1.0)]))
    window.evict(np.array([0]))
    out = window.process(rows_of([(0, 4000 * MS, 5.0), (0, 5000 * MS, 0.0), (1, 5000 * MS, 0.0)]))
    assert emitted(out, ["mean"]) == [(1, 0, 0, 5000 * MS, 5.0), (2, 1, 0, 5000 * MS, 1.0)]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"size": "0s"}, "longer than zero"),
        ({"size": "5s", "step": "6s"}, "longer than size"),
        ({"size": "5s", "step": "0s"}, "longer than zero"),
        ({"size": "5s", "step": "1s", "aggregates": ["mena"]}, "unknown aggregate"),
        ({"size": "5s", "step": "1s", "aggregates": ["p200"]}, "unknown aggregate"),
        ({"size": "5s", "step": "1s", "aggregates": ["quantile(x, 2)"]}, "between 0 and 1"),
        ({"size": "5s", "step": "1s", "aggregates": []}, "empty"),
    ],
)
def test_a_window_that_cannot_be_is_refused(table, message):
    table = {name: Duration(v) if name in ("size", "step") else v for name, v in table.items()}
    with pytest.raises(ValueError, match=message):
        (Hopping if "step" in table else Tumbling)(metric="x", **table)
