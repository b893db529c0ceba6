"""How long ago was a series last as strange as now? The age of a record, as a share of the history.

It puts features of any unit and distribution on one scale from 0 (as strange a moment ago) to 1 (not within the
horizon), has no parameter to tune, and does what a ratio to a decaying maximum does without a half-life. The history
is kept as maxima of blocks of 32 rows, 128 of them, of which each holds the largest since its block began. So an age
is known to 32 rows, a fault that comes back after 4,096 rows is news again, and few comparisons find it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sensors.batch import Floats, Ints

BLOCKS = 128
BLOCK = 32
"""Rows of a block; no round may cross a multiple of it."""

HORIZON = BLOCKS * BLOCK

FACTORS = (1.0, 0.75, 0.5)
"""A value counts as large as another if it is at least this share of it; the three ages are averaged, so that a
record by far scores more than a record by a hair."""

Blocks = npt.NDArray[np.float32]


def record_age(since: Blocks, lines: Ints, feature: int, running: Floats, f: Floats, number: Ints) -> Floats:
    """Score features by the age of the last value as large.

    Args:
        since: `(series, features, 128)` largest value from each full block on, oldest first; inf where there is none.
        lines: `(k,)` which series.
        feature: the first of those wanted.
        running: `(k, some, length)` largest value of the block that is filling, before each cell.
        f: `(k, some, length)` not negative.
        number: `(k, length)` rows before each cell.

    Returns:
        `(k, some, length)`: mean over `FACTORS` of `share ** 1.5`, where `share` is the part of the history (of the
        last 4,096 rows) since the last value as large; 0 where the present or the last full block has one.
    """
    score = np.zeros(f.shape)
    newest = since[lines, feature : feature + f.shape[1], -1]
    line, which, cell = np.nonzero((f > running) & (f.astype(np.float32) > newest[:, :, None]))
    if not len(line):
        return score
    value, before = f[line, which, cell], number[line, cell]
    past, present = since[lines[line], feature + which], running[line, which, cell]
    history = np.maximum(np.minimum(before, HORIZON), 1)
    total = np.zeros(len(line))
    for factor in FACTORS:
        bar = factor * value
        smaller = (past < bar[:, None].astype(np.float32)).sum(axis=1)
        age = np.where(present < bar, np.minimum(before % BLOCK + smaller * BLOCK, history), 0)
        share = age / history
        total += share * np.sqrt(share)
    score[line, which, cell] = total / len(FACTORS)
    return score


def learn_blocks(since: Blocks, current: Floats, done: Ints) -> None:
    """Put the block that is full behind the others, for the series `done`, and begin a new one.

    Args:
        since: see `record_age`, changed in place.
        current: `(k, features)` largest value of the block, changed in place.
        done: lines whose block is full.
    """
    if not len(done):
        return
    new = current[done].astype(np.float32)[:, :, None]
    since[done, :, :-1] = np.maximum(since[done, :, 1:], new)
    since[done, :, -1:] = new
    current[done] = 0.0
