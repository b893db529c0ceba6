"""How long ago was a series last as strange as now? The age of a record, as a share of the history.

It puts features of any unit and distribution on one scale from 0 (as strange a moment ago) to 1 (never), has no
parameter to tune, and does what a ratio to a decaying maximum does without a half-life. The history is kept as the
maxima of 64 to 128 blocks of equal length; when there are 128, they are merged in pairs. So the age is known to
about 1.5 % of the history, in bounded memory however long the history is.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sensors.batch import Floats, Ints

BLOCKS = 128
BASE = 16
"""Rows of a block at first; no round may cross a multiple of it."""


def block_rows(count: Ints) -> Ints:
    """Rows of a block after `count` rows: 16, doubled whenever 128 blocks were full."""
    _, exponent = np.frexp((count // (BLOCKS * BASE)).astype(np.float64))  # exact: position of the highest bit
    rows: Ints = BASE << exponent.astype(np.int64)
    return rows


def record_age(
    blocks: npt.NDArray[np.float32], current: Floats, count: Ints, f: Floats, take: Ints, factors: tuple[float, ...]
) -> Floats:
    """Score features by the age of the last value as large, then learn them.

    Args:
        blocks: `(k, features, 128)` maxima of the full blocks, oldest first, changed in place.
        current: `(k, features)` maximum of the block that is filling, changed in place.
        count: `(k,)` rows learnt before; no multiple of 16 lies between `count` and `count + take`.
        f: `(k, features, length)` not negative.
        take: `(k,)` cells of each line that count.
        factors: a value is "as large" if it is at least this share of the present one; the results are averaged, so
            that a record by far scores more than a record by a hair.

    Returns:
        `(k, features, length)`: mean over `factors` of `share ** 1.5`, where `share` is the part of the history
        since the last value as large; 0 where `f` is 0.
    """
    length = f.shape[2]
    rows = block_rows(count)
    full = count // rows
    known = np.where(np.arange(BLOCKS) < full[:, None, None], blocks, np.float32(-1.0))
    since = np.maximum.accumulate(known[:, :, ::-1], axis=2)[:, :, ::-1]  # from each block to the last full one
    running = np.maximum.accumulate(np.concatenate([current[:, :, None], f], axis=2), axis=2)
    number = (count[:, None] + np.arange(length))[:, None, :]
    begun = number - (full * rows)[:, None, None]
    score = np.zeros(f.shape)
    for factor in factors:
        bar = factor * f
        smaller = (since[:, :, None, :] < bar[:, :, :, None]).sum(axis=3) - (BLOCKS - full)[:, None, None]
        age = np.where(running[:, :, :-1] < bar, begun + smaller * rows[:, None, None], 0)
        share = age / np.maximum(number, 1)
        score += share * np.sqrt(share)
    _learn(blocks, current, count, running, take, rows)
    return np.where(f > 0.0, score / len(factors), 0.0)


def _learn(
    blocks: npt.NDArray[np.float32], current: Floats, count: Ints, running: Floats, take: Ints, rows: Ints
) -> None:
    line = np.arange(len(count))
    current[:] = running[line, :, take]
    after = count + take
    done = np.flatnonzero(after % rows == 0)
    if not len(done):
        return
    # Rounded down, so that a record is never hidden by its own rounding.
    blocks[done, :, after[done] // rows[done] - 1] = np.nextafter(
        current[done].astype(np.float32), np.float32(-1.0)
    )
    current[done] = 0.0
    merge = done[after[done] // rows[done] == BLOCKS]
    if len(merge):
        blocks[merge, :, : BLOCKS // 2] = np.maximum(blocks[merge][:, :, 0::2], blocks[merge][:, :, 1::2])


def held(ring: Floats, score: Floats, take: Ints) -> Floats:
    """Maximum of each score over the last 16 rows; `ring` `(k, features, 15)` holds the rows before."""
    whole = np.concatenate([ring, score], axis=2)
    step = 1
    widest = whole
    while step < 16:
        widest = np.maximum(widest[:, :, step:], widest[:, :, :-step])
        step *= 2
    ring[:] = np.take_along_axis(whole, (take[:, None] + np.arange(15))[:, None, :], axis=2)
    return widest


def rested(last: Ints, score: Floats, number: Ints, take: Ints, limit: float, rest: int) -> Floats:
    """One alarm an event: after a score of `limit` or more, `rest` rows of 0.

    Args:
        last: `(k,)` number of the last row that reached the limit, changed in place; far below 0 if none did.
        score: `(k, length)`, with `length <= rest`.
        number: `(k, length)` number of each row of its series.
        take: `(k,)` cells of each line that count.
        limit: what counts as an alarm.
        rest: rows.
    """
    awake = number - last[:, None] > rest
    alarm = awake & (score >= limit) & (np.arange(score.shape[1]) < take[:, None])
    some = alarm.any(axis=1)
    first = np.where(some, alarm.argmax(axis=1), score.shape[1])
    last[:] = np.where(some, number[np.arange(len(score)), np.minimum(first, score.shape[1] - 1)], last)
    return np.where(awake & (np.arange(score.shape[1]) <= first[:, None]), score, 0.0)
