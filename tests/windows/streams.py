"""Random streams of readings, and how they are cut into rows."""

import math

import numpy as np
from hypothesis import strategies as st

from agent.core.rows import Rows

MS = 1_000_000


def rows_of(readings, now=2**61, column="x", at0=0):
    time = np.array([r[1] for r in readings], np.int64)
    return Rows(
        key=np.array([-1 if r[0] is None else r[0] for r in readings], np.int64),
        start=time,
        end=time,
        at=np.arange(at0, at0 + len(readings)),
        values={column: np.array([math.nan if r[2] is None else r[2] for r in readings], np.float64)},
        now=now,
    )


@st.composite
def streams(draw, most=60, refused=False, start=None):
    """Readings of a few series: in order, jittered, with gaps, repeats, missing values."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n = draw(st.integers(1, most))
    keys = rng.integers(0, draw(st.integers(1, 4)), n)
    pace = draw(st.sampled_from([50, 300, 1000, 7000]))
    gaps = rng.integers(0, pace, n) + np.where(rng.random(n) < 0.05, rng.integers(0, 60000, n), 0)
    jitter = draw(st.sampled_from([0, 0, 300, 4000]))
    begin = draw(st.sampled_from([0, 2000, 1_710_856_626_000])) if start is None else start
    time = np.maximum(begin + np.cumsum(gaps) - rng.integers(0, jitter + 1, n), 0)
    if draw(st.booleans()):
        time = time // 500 * 500
    value = np.round(rng.normal(50, 20, n), draw(st.sampled_from([0, 3, 12])))
    odd = rng.random(n)
    share = draw(st.sampled_from([0, 0.3]))
    value[odd < share] = np.nan
    value[odd < share / 8] = np.inf
    hidden = (rng.random(n) < 0.1) & refused
    return [
        (None if no else int(k), int(t) * MS, float(v))
        for k, t, v, no in zip(keys, time, value, hidden, strict=True)
    ]


def cuts(draw, n):
    """Random places at which to cut."""
    return sorted(draw(st.lists(st.integers(0, n), max_size=8)))


def emitted(rows, names):
    """Rows as tuples of plain numbers."""
    columns = [rows.values[name].tolist() for name in names]
    return list(
        zip(rows.at.tolist(), rows.key.tolist(), rows.start.tolist(), rows.end.tolist(), *columns, strict=True)
    )


def same_bytes(a, b):
    """Whether two lists of tuples are equal to the last bit, NaN equal to NaN."""
    return repr(a) == repr(b)
