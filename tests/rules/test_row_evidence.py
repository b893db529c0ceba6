"""The evidence of rows is kept without a loop over the series, and comes out as if each had been noted at once."""

import sys

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.core.rows import Rows
from agent.rules.lifecycle import Lifecycle
from agent.rules.row_evidence import RowEvidence, evidence_of
from sensors.batch import Text


def table(keys, number):
    n = len(keys)
    score = np.arange(n) + 1000.0 * number
    codes = (np.arange(n) % 3 - 1).astype(np.int32)
    evidence = [({"place": i},) if i % 2 else None for i in range(n)]
    end = np.full(n, number)
    return Rows(
        key=np.array(keys, np.int64),
        start=end,
        end=end,
        at=np.arange(n),
        values={"score": score},
        now=number,
        texts={"word": Text((f"a{number}", "b"), codes)},
        lists={"evidence": [item and {"said": list(item)} for item in evidence]},
    )


steps = st.lists(
    st.one_of(
        st.tuples(st.just("rows"), st.sets(st.integers(0, 40))),
        st.tuples(st.just("many"), st.integers(0, 3)),
        st.tuples(st.just("keep"), st.integers(0, 40)),
        st.tuples(st.just("forget"), st.integers(0, 40)),
        st.tuples(st.just("open"), st.sets(st.integers(0, 40))),
        st.tuples(st.just("restart"), st.none()),
    ),
    max_size=25,
)


@settings(max_examples=50, deadline=None)
@given(steps)
def test_it_is_a_dict_of_evidence(steps):
    kept, naive = RowEvidence(), {}
    for number, (verb, what) in enumerate(steps):
        if verb in ("rows", "many"):
            keys = sorted(what) if verb == "rows" else list(range(what, 41))
            rows = table([*keys, *[0] * (6000 if verb == "many" else 0)], number)  # tables so heavy must be read
            row = np.arange(len(keys))
            kept.keep_rows(rows, np.array(keys, np.int64), row)
            naive |= {key: evidence_of(rows, i) for i, key in enumerate(keys)}
        elif verb == "keep":
            kept.keep(what, evidence_of(table([what], number), 0))
            naive[what] = evidence_of(table([what], number), 0)
        elif verb == "forget":
            kept.evict(np.array([what, 99]))
            naive.pop(what, None)
        elif verb == "open":
            kept.drop_unless(np.isin(np.arange(41), list(what)))
            naive = {key: words for key, words in naive.items() if key in what}
        else:
            state, kept = kept.snapshot(), RowEvidence()
            kept.restore(state)
        assert kept.snapshot() == {str(key): naive[key] for key in sorted(naive)}
        assert sum(map(len, kept._tables.values())) <= 8 * (41 + 1024)


def test_tables_without_a_series_are_let_go():
    kept = RowEvidence()
    for number in range(1000):
        kept.keep_rows(table(range(30), number), np.arange(30), np.arange(30))
    assert len(kept._tables) < 150


def calls(series, firing):
    """Python calls in one batch that finds all these series pending, or firing beside one that is not."""
    life = Lifecycle(for_=0 if firing else 10**6)
    for number in range(1, 4):
        rows = table(range(series), number)
        life.process(rows, np.ones(series, np.int64), rows.values["score"])
    direction = np.ones(series, np.int64)
    direction[0] = -1
    rows, count = table(range(series), 5), 0

    def seen(frame, event, argument):
        nonlocal count
        count += event == "call"

    sys.setprofile(seen)
    try:
        life.process(rows, direction, rows.values["score"])
    finally:
        sys.setprofile(None)
    return count


def test_no_loop_over_series_that_wait_or_fire():
    for firing in (False, True):
        assert calls(4000, firing) == calls(400, firing)
