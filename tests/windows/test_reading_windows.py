"""Windows by count and sliding windows against the naive versions, and the laws of the house."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.detectors.histograms.kl import Kl
from agent.expressions import Expression, ExpressionError
from agent.windows.count import CountWindow
from agent.windows.hopping import Tumbling
from agent.windows.session import Session
from agent.windows.sliding import Sliding
from sensors.units import Duration
from tests import naive
from tests.windows.streams import MS, cuts, emitted, rows_of, same_bytes, streams
from tests.windows.test_aligned import CALLS, STREAMED, close


def finished(window, names):
    rows = window.finish(0)
    return emitted(rows, names) if len(rows) else []


def check(window, readings, expected, names=STREAMED):
    got = emitted(window.process(rows_of(readings)), names) + finished(window, names)
    assert [row[:4] for row in got] == [row[:4] for row in expected]
    for row, (*_, inside) in zip(got, expected, strict=True):
        for name, value in zip(names, row[4:], strict=True):
            assert close(value, naive.aggregate(name, inside)), (name, value, inside)


def check_cuts(make, readings, places, names=STREAMED):
    whole = make()
    expected = emitted(whole.process(rows_of(readings)), names) + finished(whole, names)
    got, window = [], make()
    for start, stop in itertools.pairwise([0, *places, len(readings)]):
        got += emitted(window.process(rows_of(readings[start:stop], at0=start)), names)
        again = make()
        again.restore(window.snapshot())
        window = again
    assert same_bytes(got + finished(window, names), expected)
    single, window = [], make()
    for i, reading in enumerate(readings):
        single += emitted(window.process(rows_of([reading], at0=i)), names)
    assert same_bytes(single + finished(window, names), expected)


counts = st.sampled_from([(4, 0), (4, 1), (4, 3), (5, 2), (6, 3)])
emits = st.sampled_from(["current", "final"])
BY_COUNT = [name for name in STREAMED if name not in ("earliest", "latest", "rate")]


@settings(max_examples=50, deadline=None)
@given(st.data(), streams(refused=True), counts, emits)
def test_windows_by_count(data, readings, made, emit):
    count, step = made

    def make():
        return CountWindow(
            count=count, step=step, metric="x", emit=emit, aggregates={name: CALLS[name] for name in BY_COUNT}
        )

    check(make(), readings, naive.counted(readings, count, step or count, emit), BY_COUNT)
    check_cuts(make, readings, cuts(data.draw, len(readings)), BY_COUNT)


@settings(max_examples=50, deadline=None)
@given(st.data(), streams(refused=True), st.sampled_from([1000, 5000]), st.sampled_from([0, 0, 700, 3000]), emits)
def test_sliding_windows(data, readings, size, grace, emit):
    def make():
        return Sliding(
            size=Duration(size * MS),
            grace=Duration(grace * MS),
            metric="x",
            emit=emit,
            aggregates=CALLS,
            emit_late=True,
        )

    expected, refused = naive.sliding(readings, size * MS, grace * MS, emit, finish=True)
    window = make()
    check(window, readings, expected)
    late = make()
    late.process(rows_of(readings))
    got = [row[:4] for rows in late.late for row in emitted(rows, ["late_by"])]
    assert got == [row[:4] for row in refused]
    wholly = sum(by > size * MS for *_, by in refused)
    assert late.stats()["late"] == wholly
    assert late.stats()["partially_late"] == len(refused) - wholly
    check_cuts(make, readings, cuts(data.draw, len(readings)))


@settings(max_examples=50, deadline=None)
@given(
    st.data(),
    streams(refused=True),
    st.sampled_from([500, 3000]),
    st.sampled_from([0, 0, 700, 3000]),
    st.sampled_from(["key", "partition", "watermark"]),
)
def test_sessions(data, readings, gap, grace, closing):
    def make():
        return Session(
            gap=Duration(gap * MS),
            grace=Duration(grace * MS),
            closing=closing,
            metric="x",
            aggregates=CALLS,
            emit_late=True,
        )

    expected, refused = naive.sessions(readings, gap * MS, grace * MS, closing, finish=True)
    check(make(), readings, expected)
    late = make()
    late.process(rows_of(readings))
    assert [row[:4] for rows in late.late for row in emitted(rows, ["late_by"])] == [row[:4] for row in refused]
    assert late.stats()["late"] == len(refused)
    check_cuts(make, readings, cuts(data.draw, len(readings)))


def test_a_late_reading_joins_the_open_session_behind_a_closed_one():
    window = Session(gap=Duration("500ms"), grace=Duration("700ms"), metric="x")
    times = [27217, 28680, 26616, 27524, 27070]
    window.process(rows_of([(0, time * MS, 1.0) for time in times]))
    rest = window.finish(0)
    assert [(start // MS, count) for start, count in zip(rest.start, rest.values["count"], strict=True)] == [
        (27070, 2),
        (28680, 1),
    ]


def test_the_session_of_a_silent_series_is_closed_by_the_clock():
    window = Session(gap=Duration("5s"), metric="x", idle=Duration("10s"))
    second = 1000 * MS
    assert len(window.process(rows_of([(0, 100 * second, 1.0), (0, 101 * second, 3.0)], now=110 * second))) == 0
    out = window.process(rows_of([(1, 101 * second, 3.0)], now=130 * second))
    assert emitted(out, ["mean"]) == [(-1, 0, 100 * second, 106 * second, 2.0)]


SAMPLED = ["median", "p90", "distinct"]


@settings(max_examples=40, deadline=None)
@given(st.data(), streams(refused=True), st.booleans(), emits, st.sampled_from([0, 2000]))
def test_aggregates_of_the_readings_themselves(data, readings, by_count, emit, grace):
    def make():
        calls = {"metric": "x", "aggregates": [*SAMPLED, "collect"], "emit": emit}
        if by_count:
            return CountWindow(count=5, step=2, **calls)
        return Sliding(size=Duration("2s"), grace=Duration(grace * MS), **calls)

    if by_count:
        expected = naive.counted(readings, 5, 2, emit)
    else:
        expected, _ = naive.sliding(readings, 2000 * MS, grace * MS, emit, finish=True)
    out = make()
    rows = out.process(rows_of(readings))
    lists = list(rows.lists["collect"])
    got = emitted(rows, SAMPLED)
    if not by_count:
        rest = out.finish(0)
        got, lists = got + emitted(rest, SAMPLED), lists + rest.lists["collect"]
    assert [row[:4] for row in got] == [row[:4] for row in expected]
    for row, collected, (*_, inside) in zip(got, lists, expected, strict=True):
        assert collected == naive.aggregate("collect", inside)
        for name, value in zip(SAMPLED, row[4:], strict=True):
            assert close(value, naive.aggregate(name, inside)), (name, value, inside)
    check_cuts(make, readings, cuts(data.draw, len(readings)), SAMPLED)


@pytest.mark.parametrize(
    "make",
    [
        lambda where: Tumbling(size=Duration("1s"), metric="x", where=where),
        lambda where: CountWindow(count=2, metric="x", where=where),
        lambda where: Sliding(size=Duration("1s"), metric="x", where=where),
        lambda where: Session(gap=Duration("1s"), metric="x", where=where),
        lambda where: Kl(size=Duration("1s"), step=Duration("1s"), metric="x", where=where),
    ],
)
def test_readings_for_which_where_does_not_hold_are_left_out(make):
    with pytest.raises(ExpressionError, match="not a condition"):
        make(Expression.parse("x + 1"))
    kept = [(0, i * 200 * MS, float(i)) for i in range(1, 40)]
    rest = [(0, i * 200 * MS + MS, -1.0) for i in range(1, 40)]
    both = sorted(kept + rest, key=lambda r: r[1])
    window, plain = make(Expression.parse("x > 0")), make(None)
    names = ["score", "count"] if isinstance(window, Kl) else ["mean", "count"]
    got = [row[1:] for row in emitted(window.process(rows_of(both)), names)]
    assert same_bytes(got, [row[1:] for row in emitted(plain.process(rows_of(kept)), names)])


def test_a_series_keeps_a_bounded_number_of_readings():
    window = Sliding(size=Duration("1h"), metric="x", emit="current", most=10, aggregates=["count"])
    for i in range(30):
        window.process(rows_of([(0, i * MS, 1.0), (1, i * MS, 2.0)]))
    assert window.buffer.count.tolist()[:2] == [10, 10]
    assert window.stats()["dropped"] == 40


def test_what_is_kept_of_readings_does_not_grow_with_time():
    window = Sliding(size=Duration("1s"), metric="x", emit="current")
    rng = np.random.default_rng(3)
    for i in range(200):
        keys = rng.integers(0, 30, 50)
        window.process(rows_of([(int(k), (i * 100 + j) * MS, 1.0) for j, k in enumerate(keys)]))
    assert int(window.buffer.count.sum()) < 700
    assert len(window.buffer._data["time"]) < 10_000


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CountWindow(count=1, metric="x"), "2 readings"),
        (lambda: CountWindow(count=3, step=4, metric="x"), "between 1 and count"),
        (lambda: Session(gap=Duration(0), metric="x"), "longer than zero"),
        (lambda: Session(gap=Duration("1s"), metric="x", emit="current"), "when it closes"),
        (lambda: Sliding(size=Duration(0), metric="x"), "longer than zero"),
    ],
)
def test_a_window_that_cannot_be_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
