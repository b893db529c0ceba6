"""Running aggregates and their update stream."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.core.rows import Rows
from agent.expressions import Expression
from agent.rules.having import Having
from agent.windows.running import Running
from sensors.batch import Text

S = 10**9


def rows_of(values, keys=None, words=None):
    n = len(values)
    time = np.arange(1, n + 1) * S
    keys = np.zeros(n, np.int64) if keys is None else np.array(keys, np.int64)
    texts = {}
    if words is not None:
        texts["word"] = Text(("a", "b"), np.array(words, np.int32))
    return Rows(keys, time, time, np.arange(n), {"v": np.array(values, float)}, 0, texts)


def test_a_running_aggregate_tells_what_came_so_far():
    step = Running(aggregates={"n": "count(*)", "m": "mean(v)", "all": "collect(v)", "words": "listagg(word)"})
    rows = step.process(rows_of([1, 3, math.nan, 8], keys=[0, 0, 0, 1], words=[0, 1, -1, 0]))
    assert rows.values["n"].tolist() == [1, 2, 3, 1]
    assert rows.values["m"].tolist() == [1, 2, 2, 8]
    assert list(rows.lists["all"]) == [(1,), (1, 3), (1, 3), (8,)]
    assert list(rows.lists["words"]) == [("a",), ("a", "b"), ("a", "b"), ("a",)]
    assert rows.end.tolist() == [S, 2 * S, 3 * S, 4 * S]


def test_a_collected_list_is_bounded():
    step = Running(aggregates={"all": "collect(v)"}, most=2)
    assert list(step.process(rows_of([1, 2, 3])).lists["all"]) == [(1,), (1, 2), (1, 2)]
    with pytest.raises(ValueError, match="most"):
        Running(most=0)


def test_rows_left_out_and_series_forgotten():
    step = Running(aggregates=["count(*)"], where=Expression.parse("v > 1"))
    assert step.process(rows_of([1, 2, 3])).values["count"].tolist() == [1, 2]
    step.evict(np.array([0]))
    assert step.process(rows_of([2])).values["count"].tolist() == [1]
    assert set(step.inputs()) == {"v"}


def stream(rule, rows):
    raw = rule.process(rows).raw
    return (
        []
        if raw is None
        else list(zip(raw.at.tolist(), raw.values["retract"].tolist(), raw.values["v"].tolist(), strict=True))
    )


def test_what_passed_is_taken_back_when_it_changes_or_passes_no_more():
    rule = Having(Expression.parse("v > 2"))
    assert stream(rule, rows_of([1, 3, 4, 2, 5])) == [(1, 0, 3), (2, 1, 3), (2, 0, 4), (3, 1, 4), (4, 0, 5)]
    assert stream(rule, rows_of([5, 1])) == [(1, 1, 5)]


def test_only_the_told_columns_count():
    rule = Having(Expression.parse("v > 2"), columns=["v"])
    rows = rows_of([3, 3, math.nan, math.nan])
    rows = Rows(rows.key, rows.start, rows.end, rows.at, {**rows.values, "n": np.arange(4.0)}, 0)
    assert stream(rule, rows) == [(0, 0, 3), (2, 1, 3)]
    assert rule.inputs() == ("v",)


items = st.lists(
    st.tuples(st.integers(-1, 2), st.sampled_from([1, 2, 3, math.nan]), st.integers(-1, 1)), max_size=20
)


@pytest.mark.law2
@settings(max_examples=60, deadline=None)
@given(items, st.data())
def test_cuts_and_restarts_change_nothing_and_plain_code_agrees(made, data):
    def fresh():
        step = Running(aggregates={"n": "count(*)", "m": "mean(v)", "all": "collect(word)"}, most=3)
        return step, Having(Expression.parse("m >= 2"), columns=["m", "all"])

    rows = rows_of([value for _, value, _ in made], [key for key, *_ in made], [word for *_, word in made])
    whole = told(fresh(), [rows], fresh)
    cuts = [0, *sorted(data.draw(st.lists(st.integers(0, len(made)), max_size=5))), len(made)]
    pieces = [rows.take(np.arange(low, high)) for low, high in itertools.pairwise(cuts)]
    assert told(fresh(), pieces, fresh, restart=True) == whole
    assert [row[:4] for row in whole] == list(naive(made))


def told(pair, pieces, fresh, restart=False):
    found = []
    for rows in pieces:
        step, rule = pair
        raw = rule.process(step.process(rows)).raw
        if raw is not None:
            m = [None if value != value else value for value in raw.values["m"].tolist()]
            columns = (raw.key.tolist(), raw.at.tolist(), raw.values["retract"].tolist(), m)
            found += list(zip(*columns, raw.lists["all"], raw.values["emission"].tolist(), strict=True))
        if restart:
            states, pair = (step.snapshot(), rule.snapshot()), fresh()
            for part, state in zip(pair, states, strict=True):
                part.restore(state)
    return found


def naive(made):
    """Row by row: (key, at, retract, mean)."""
    series = {}
    for at, (key, value, word) in enumerate(made):
        if key < 0:
            continue
        values, words, count, before = series.get(key, ([], (), 0, None))
        values = values if value != value else [*values, value]
        words = words if word < 0 or len(words) == 3 else (*words, "ab"[word])
        mean = sum(values) / len(values) if values else None
        row = (mean, words, mean is not None and mean >= 2)
        if before is None or before[:2] != row[:2]:
            if before is not None and before[2]:
                yield key, at, 1, before[0]
            if row[2]:
                yield key, at, 0, mean
            series[key] = (values, words, count + 1, row)
        else:
            series[key] = (values, words, count + 1, row)


def test_a_condition_on_a_column_that_is_not_told_counts_too():
    rule = Having(Expression.parse("v > 2 and n < 2"), columns=["v"])
    rows = rows_of([3, 3, 3])
    rows = Rows(rows.key, rows.start, rows.end, rows.at, {**rows.values, "n": np.arange(3.0)}, 0)
    assert stream(rule, rows) == [(0, 0, 3), (1, 1, 3), (1, 0, 3), (2, 1, 3)]


def test_a_column_that_does_not_come_in_a_batch_is_missing():
    rule = Having(Expression.parse("v > 1"), columns=["v"])
    assert rule.process(rows_of([2, 3])).raw.values["retract"].tolist() == [0, 1, 0]
    gone = rule.process(Rows(*(np.array([t]) for t in (0, 3 * S, 3 * S, 0)), {"other": np.zeros(1)}, 0)).raw
    assert (gone.values["v"].tolist(), gone.values["retract"].tolist()) == ([3], [1])
    assert rule.process(rows_of([4], words=[0])).raw.values["v"].tolist() == [4]
