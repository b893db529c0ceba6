"""Rows sorted by series: against plain code, for few and many series, sorted and not."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.grouping import Grouping, order_by
from agent.core.rows import Rows


@given(st.lists(st.integers(-1, 5), max_size=40), st.sampled_from([0, 2**16 - 4, 2**20, 2**31, 2**40]))
def test_it_is_what_plain_code_says(keys, far):
    keys = [key + far if key > 2 else key for key in keys]
    rows = sorted(range(len(keys)), key=lambda row: keys[row])
    groups = Grouping(np.array(keys, np.int64))
    assert groups.order.tolist() == rows
    assert groups.key.tolist() == [keys[row] for row in rows]
    assert groups.owner.tolist() == sorted(set(keys))
    assert groups.length.tolist() == [keys.count(key) for key in sorted(set(keys))]
    ranks = [keys[:row].count(keys[row]) for row in rows]
    assert groups.number.tolist() == ranks
    assert (
        np.flatnonzero(groups.first).tolist() == groups.begin.tolist() == [i for i, r in enumerate(ranks) if r == 0]
    )
    assert groups.end.tolist() == [i for i, row in enumerate(rows) if keys[row] not in keys[row + 1 :]]
    assert groups.spread(groups.owner).tolist() == groups.key.tolist()
    column = np.arange(2 * len(keys)).reshape(-1, 2)
    assert groups.sorted(column)[:, 0].tolist() == [2 * row for row in rows]
    assert groups.unsorted(groups.sorted(column)).tolist() == column.tolist()


@pytest.mark.parametrize("series", [100, 2**16 - 1, 2**16, 200_000])
@pytest.mark.parametrize("stretches", [1, 3, 5000])
def test_every_way_to_sort_is_the_same_stable_order(series, stretches):
    rng = np.random.default_rng(series + stretches)
    key = np.concatenate([np.sort(part) for part in np.array_split(rng.integers(-1, series, 10_000), stretches)])
    order = order_by(key)
    assert (np.arange(len(key)) if order is None else order).tolist() == np.argsort(key, kind="stable").tolist()


def test_a_table_is_sorted_once_also_with_more_columns():
    time = np.arange(3)
    rows = Rows(np.array([2, 0, 2]), time, time, time, {"x": np.zeros(3)}, 1)
    groups = Grouping.of(rows)
    assert Grouping.of(rows) is groups
    assert Grouping.of(rows.with_values(y=np.ones(3))) is groups
    assert list(rows.with_values(x=np.ones(3)).values["x"]) == [1, 1, 1]
    assert Grouping.of(rows.take(np.array([0]))) is not groups
    assert dataclasses.replace(rows, now=2).memo == {}
