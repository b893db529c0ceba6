"""Patterns: what the words mean, that they agree with a naive NFA of Flink's, and how mistakes are refused."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.core.rows import Rows
from agent.expressions import Expression
from agent.rules.pattern.pattern import Pattern
from sensors.batch import Text
from sensors.units import Duration
from tests.naive_patterns import NaivePattern

S = 10**9
TREND = ["start", "up: > start", "down: (up - down) / up > 30 %"]


def rows_of(values, keys=None, times=None, texts=None, now=0):
    n = len(values)
    time = (np.arange(n) if times is None else np.array(times, np.int64)) * S
    keys = np.zeros(n, np.int64) if keys is None else np.array(keys, np.int64)
    return Rows(keys, time, time, np.arange(n), {"v": np.array(values, float)}, now, texts or {})


def matches(pattern, rows, finish=False):
    verdicts = [pattern.process(rows)] + ([pattern.finish(0)] if finish else [])
    found = []
    for verdict in verdicts:
        raw = verdict.raw
        if raw is not None:
            columns = [
                raw.values[name].tolist() if name in raw.values else raw.lists[name] for name in pattern._measures
            ]
            found += list(zip(raw.at.tolist(), *columns, strict=True))
    return found


def test_up_and_then_down_by_more_than_30_percent():
    assert matches(Pattern(TREND, "v"), rows_of([3, 5, 3, 10, 7, 1, 2, 1])) == [(2, 3, 5, 3), (7, 1, 2, 1)]


def test_a_drop_of_exactly_30_percent_is_no_match():
    assert matches(Pattern(TREND, "v"), rows_of([1, 10, 7])) == []


def test_after_a_match_the_next_may_start_with_its_last_row():
    rows = rows_of([9, 10, 6, 7, 4])
    assert [at for at, *_ in matches(Pattern(TREND, "v"), rows)] == [2]
    assert [at for at, *_ in matches(Pattern(TREND, "v", after_match="to next row"), rows)] == [2, 4]
    assert [at for at, *_ in matches(Pattern(TREND, "v", after_match="skip to last down"), rows)] == [2, 4]


def test_a_greedy_step_keeps_what_fits_it_and_a_reluctant_one_gives_way():
    steps = ["a: > 10", "b*: < 15", "c: > 12"]
    values = [11, 12, 13, 14, 16, 1]
    measures = {"n": "count(b)", "c": "c"}
    assert matches(Pattern(steps, "v", most_rows=50, measures=measures), rows_of(values)) == [(4, 3, 16)]
    steps[1] = "b*?: < 15"
    assert matches(Pattern(steps, "v", most_rows=50, measures=measures), rows_of(values)) == [
        (2, 1, 13),
        (4, 0, 16),
    ]


def test_measures_may_count_sum_and_list():
    measures = {
        "all": "list(v)",
        "n": "count(*)",
        "mean": "avg(down)",
        "first": "first(down)",
        "spread": "max(v) - min(v)",
    }
    pattern = Pattern(
        ["top", "down{2,}?: < last(down, 1) or last(down, 1) is null and < top"],
        "v",
        most_rows=9,
        measures=measures,
    )
    assert matches(pattern, rows_of([9, 7, 4, 3])) == [(2, (9, 7, 4), 3, 5.5, 7, 5)]


def test_rows_out_of_order_wait_for_the_watermark_and_late_ones_are_dropped_and_counted():
    pattern = Pattern(TREND, "v", delay=Duration("2s"))
    rows = rows_of([10, 5, 20, 1, 1, 0], times=[0, 2, 1, 3, 5, 3])
    assert matches(pattern, rows) == [(4, 10, 20, 5)]
    assert pattern.late == 1
    assert pattern.stats_by_series()["late"].worst(5) == {0: 1}
    pattern.evict(np.zeros(1, np.int64))
    assert pattern.stats_by_series()["late"].worst(5) == {}
    assert pattern.stats()["late"] == 1
    assert matches(pattern, rows_of([]), finish=True) == []


def test_what_waits_is_judged_by_the_clock_where_nothing_comes():
    pattern = Pattern(TREND, "v", delay=Duration("2s"), idle=Duration("5s"))
    assert matches(pattern, rows_of([10, 20, 5], now=10 * S)) == []
    assert matches(pattern, rows_of([], now=16 * S)) == []
    assert matches(pattern, rows_of([], now=17 * S)) == [(-1, 10, 20, 5)]
    assert matches(pattern, rows_of([], now=30 * S)) == []
    assert matches(pattern, rows_of([1], times=[3], now=30 * S)) == []
    assert pattern.late == 1


def test_an_event_tells_the_metric_of_its_last_row():
    raw = Pattern(TREND, "v").process(rows_of([3, 5, 3])).raw
    assert raw.values["v"].tolist() == [3]


def test_within_is_strict():
    pattern = Pattern(["a: = 1", "b: = 2"], "v", within=Duration("3s"))
    assert matches(pattern, rows_of([1, 2, 1, 2], times=[0, 3, 10, 12])) == [(3, 1, 2)]


def test_a_match_waits_for_an_older_open_one():
    pattern = Pattern(["a: = 1", "b+: > 1", "c: = 0"], "v", most_rows=4, measures={"n": "count(*)"})
    assert matches(pattern, rows_of([1, 2, 3, 4, 5, 0, 1, 2, 0])) == [(8, 3)]


def test_texts_and_rows_left_out():
    texts = {"status": Text(("ok", "hot"), np.array([0, 1, 1, 0], np.int32))}
    pattern = Pattern(
        ["a: status = 'ok'", "b+: status = 'hot'", "c: status = a.status"],
        "v",
        most_rows=10,
        measures={"s": "last(b.status)"},
    )
    raw = pattern.process(rows_of([1, 2, 3, 4], texts=texts)).raw
    assert raw.texts["s"].tolist() == ["hot"]
    pattern = Pattern(TREND, "v", where=Expression.parse("v < 100"))
    assert matches(pattern, rows_of([1, 500, 2, 500, 1])) == [(4, 1, 2, 1)]


def test_missing_values_and_division_by_zero_are_unknown():
    assert matches(Pattern(TREND, "v"), rows_of([-1, 0, -5, math.nan, 1])) == []


@pytest.mark.parametrize(
    ("steps", "more", "message"),
    [
        ([], {}, "at least one"),
        (["a*", "b?"], {"most_rows": 5}, "match nothing"),
        (["a", "b+"], {"most_rows": 5}, "greedy"),
        (["a", "b+", "c"], {}, "bound"),
        (["a", "b+", "c"], {"most_rows": 2}, "most_rows"),
        (["a", "a"], {}, "twice"),
        (["a", "b??"], {}, r"\?\?"),
        (["a", "b{2,1}"], {}, "smaller"),
        (["a", "b{x}"], {}, "quantifier"),
        (["a b"], {}, "write a name"),
        (["a", "b: >"], {}, "character 2"),
        (["a: > b", "b"], {}, "earlier steps"),
        (["a: 'x' > 1"], {}, "text"),
        (["a: rond(a) > 1"], {}, "round"),
        (["a", "b: last(b, a) > 1"], {}, "whole number"),
        (["a", "b: sum(1) > 1"], {}, "about a step"),
        (["a", "b: a + 1"], {}, "condition"),
        (["a", "b"], {"after_match": "past"}, "past last row"),
        (["a", "b"], {"after_match": "to first x"}, "no step"),
        (["a", "b"], {"after_match": "to first a"}, "same match again"),
        (["a", "b?", "c"], {"after_match": "to last b"}, "no row"),
        (["a", "b"], {"measures": {"m": "a +"}}, "measures.m"),
        (["a", "b"], {"measures": {"m": "list(a) + 1"}}, "by itself"),
    ],
)
def test_a_pattern_that_cannot_work_is_refused_with_the_remedy(steps, more, message):
    with pytest.raises(ValueError, match=message):
        Pattern(steps, "v", **more)


def test_it_names_the_columns_it_needs():
    pattern = Pattern(["a: status = 'x' and a.time > 3", "b: load > a"], "v", where=Expression.parse("n > 1"))
    assert set(pattern.inputs()) == {"status", "load", "v", "n"}


# --- against the naive NFA ------------------------------------------------------------------------------------------


def v(rows, back=0):
    return rows[-1 - back]["v"] if len(rows) > back else None


CONDITIONS = {
    "": lambda rows, row: True,
    "> 2": lambda rows, row: row["v"] > 2,
    "< 3": lambda rows, row: row["v"] < 3,
    "= 1 or v = 3": lambda rows, row: row["v"] in (1, 3),
}
RELATIVE = {
    "> first(v)": lambda rows, row: row["v"] > all_rows(rows)[0]["v"],
    "v <= avg(v)": lambda rows, row: row["v"] <= sum(r["v"] for r in all_rows(rows)) / len(all_rows(rows)),
    "count(*) <= 3": lambda rows, row: len(all_rows(rows)) <= 3,
    "last(a) is null or < last(a)": lambda rows, row: v(rows["a"]) is None or row["v"] < v(rows["a"]),
}


def all_rows(rows):
    return [row for part in rows.values() for row in part]


QUANTIFIERS = {
    "": (1, 1, False), "*": (0, None, True), "+": (1, None, True), "*?": (0, None, False), "+?": (1, None, False),
    "?": (0, 1, False), "{2}": (2, 2, False), "{1,2}": (1, 2, True), "{,2}?": (0, 2, False), "{,2}": (0, 2, True),
    "{2,}?": (2, None, False),
}  # fmt: skip


@st.composite
def patterns(draw):
    count = draw(st.integers(1, 4))
    texts, naive = [], []
    for number in range(count):
        name = "abcd"[number]
        quantifier = draw(st.sampled_from(sorted(QUANTIFIERS)))
        least, most, greedy = QUANTIFIERS[quantifier]
        if number == count - 1 and greedy:
            quantifier, least, most, greedy = "", 1, 1, False
        pool = CONDITIONS if number == 0 else CONDITIONS | RELATIVE
        condition = draw(st.sampled_from(sorted(pool)))
        texts.append(f"{name}{quantifier}" + (f": {condition}" if condition else ""))
        naive.append((name, least, most, greedy, pool[condition]))
    skips = ["past last row", "to next row"]
    skips += [
        f"to {way} {step[0]}" for step in naive[1:] if step[1] > 0 and naive[0][1] > 0 for way in ("first", "last")
    ]
    skip = draw(st.sampled_from(skips))
    return texts, naive, skip


def naive_skip(text):
    return {"past last row": "past", "to next row": "next"}.get(text) or tuple(text.split()[1:])


@settings(max_examples=150, deadline=None)
@given(patterns(), st.lists(st.integers(0, 4), max_size=14), st.sampled_from([0, 2, 4]))
def test_it_agrees_with_the_naive_nfa(made, values, within):
    texts, naive_steps, skip = made
    if all(step[1] == 0 for step in naive_steps):
        return
    names = [step[0] for step in naive_steps]
    measures = {name: f"list({name}.time)" for name in names}
    pattern = Pattern(texts, "v", most_rows=1000, within=Duration(within * S), after_match=skip, measures=measures)
    naive = NaivePattern(naive_steps, naive_skip(skip), within)
    found = [
        (at, *(tuple(int(t / S) for t in part) for part in parts))
        for at, *parts in matches_lists(pattern, rows_of(values), names)
    ]
    wanted = []
    for at, value in enumerate(values):
        wanted += [(at, *(tuple(part) for part in mapping)) for mapping in naive.row({"v": value, "time": at})]
    assert found == wanted


def matches_lists(pattern, rows, names):
    raw = pattern.process(rows).raw
    if raw is None:
        return []
    empty = [()] * len(raw)
    return list(zip(raw.at.tolist(), *(raw.lists.get(name, empty) for name in names), strict=True))


readings = st.lists(st.tuples(st.integers(-1, 2), st.integers(0, 4), st.integers(-2, 3)), max_size=20)


@pytest.mark.law2
@settings(max_examples=80, deadline=None)
@given(patterns(), readings, st.sampled_from([None, 0, 2]), st.sampled_from([0, 4]), st.data())
def test_cuts_and_restarts_change_nothing(made, items, delay, within, data):
    texts, naive_steps, skip = made
    if all(step[1] == 0 for step in naive_steps):
        return

    def fresh():
        return Pattern(
            texts, "v", most_rows=9, within=Duration(within * S), after_match=skip, measures={"n": "count(*)", "l": "list(v)"},
            delay=None if delay is None else Duration(delay * S),
        )  # fmt: skip

    times = list(itertools.accumulate((step for *_, step in items), initial=100))[1:]
    rows = rows_of([value for _, value, _ in items], [key for key, *_ in items], times)
    whole = told(fresh(), [rows])
    cuts = [0, *sorted(data.draw(st.lists(st.integers(0, len(items)), max_size=5))), len(items)]
    pieces = [rows.take(np.arange(low, high)) for low, high in itertools.pairwise(cuts)]
    assert told(fresh(), pieces, fresh) == whole


def told(pattern, pieces, fresh=None):
    found = []
    for rows in [*pieces, None]:
        raw = (pattern.finish(0) if rows is None else pattern.process(rows)).raw
        if raw is not None:
            columns = (raw.key, raw.at, raw.start, raw.end, raw.values["n"], raw.values["emission"])
            found += list(
                zip(*(column.tolist() for column in columns), raw.lists.get("l", [()] * len(raw)), strict=True)
            )
        if fresh is not None:
            state, pattern = pattern.snapshot(), fresh()
            pattern.restore(state)
    return found


@pytest.mark.law2
@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), readings), max_size=5), st.data())
def test_cuts_and_restarts_change_nothing_where_the_clock_releases(batches, data):
    def fresh():
        return Pattern(
            ["a: = 1", "b*: > 1", "c: <= 1"], "v", most_rows=9, within=Duration("6s"), delay=Duration("2s"),
            idle=Duration("3s"), measures={"n": "count(*)", "l": "list(v)"},
        )  # fmt: skip

    now, time, whole, pieces = 100, 100, [], []
    for step, items in batches:
        now += step
        times = list(itertools.accumulate((step for *_, step in items), initial=time))[1:]
        time = max([time, *times])
        rows = rows_of([value for _, value, _ in items], [key for key, *_ in items], times, now=now * S)
        whole.append(rows)
        cuts = [0, *sorted(data.draw(st.lists(st.integers(0, len(items)), max_size=3))), len(items)]
        pieces += [rows.take(np.arange(low, high)) for low, high in itertools.pairwise(cuts)]
    assert told(fresh(), pieces, fresh) == told(fresh(), whole)
