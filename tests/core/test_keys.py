"""The key table gives the same rows however the stream is cut."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.core.keys import KeyTable
from sensors.batch import Batch, Text


def batch(machines, texts=None, numbers=None):
    words = tuple(dict.fromkeys(machines))
    codes = np.array([words.index(m) for m in machines], np.int32)
    columns = {}
    if texts is not None:
        distinct = tuple(dict.fromkeys(t for t in texts if t is not None))
        columns["topping"] = Text(
            distinct, np.array([-1 if t is None else distinct.index(t) for t in texts], np.int32)
        )
    values = {} if numbers is None else {"order": np.array(numbers, float)}
    return Batch(words, codes, np.zeros(len(machines), np.int64), values, 1, columns)


def test_rows_are_given_in_order_of_first_occurrence():
    table = KeyTable()
    assert table.intern(batch(["b", "a", "b", "c"]), 0).tolist() == [0, 1, 0, 2]
    assert table.intern(batch(["c", "a"]), 0).tolist() == [2, 1]
    assert table.names == [("b",), ("a",), ("c",)]


def test_several_columns_make_one_key_and_a_missing_text_is_a_key():
    table = KeyTable(by=("machine", "topping", "order"))
    keys = table.intern(batch(["m", "m", "m"], ["x", None, "x"], [1, 1, 2.5]), 0)
    assert keys.tolist() == [0, 1, 2]
    assert table.names == [("m", "x", "1"), ("m", "", "1"), ("m", "x", "2.5")]


def test_series_beyond_the_cap_are_refused_and_counted():
    table = KeyTable(cap=2)
    assert table.intern(batch(["a", "b", "c", "a", "c"]), 0).tolist() == [0, 1, -1, 0, -1]
    assert table.refused == 2
    table.evict(np.array([0]))
    assert table.intern(batch(["c", "a"]), 0).tolist() == [0, -1]


def test_a_restored_table_goes_on_where_it_was():
    table, other = KeyTable(), KeyTable()
    table.intern(batch(["a", "b"]), 5)
    other.restore(table.snapshot())
    assert other.intern(batch(["b", "z"]), 6).tolist() == [1, 2]
    assert other.idle(6).tolist() == [0]


@given(
    st.lists(st.tuples(st.sampled_from("abcde"), st.sampled_from(["x", "y", None])), min_size=1, max_size=40),
    st.data(),
)
@settings(max_examples=50, deadline=None)
def test_the_cut_changes_nothing(rows, data):
    whole = batch([m for m, _ in rows], [t for _, t in rows])
    cuts = sorted(data.draw(st.lists(st.integers(0, len(rows)), max_size=4)))
    for by in (("machine",), ("machine", "topping"), ("topping",)):
        for cap in (100, 3):
            one, many = KeyTable(by=by, cap=cap), KeyTable(by=by, cap=cap)
            expected = one.intern(whole, 1).tolist()
            found = []
            for start, stop in zip([0, *cuts], [*cuts, len(rows)], strict=True):
                found += many.intern(whole.slice(start, stop), 1).tolist()
            assert found == expected
            assert one.snapshot()["names"] == many.snapshot()["names"]
