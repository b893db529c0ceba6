"""One alarm an event: after an alarm a score is 0 for a while."""

from __future__ import annotations

import numpy as np

from sensors.batch import Floats, Ints

LEAST = 16
"""Rows of the shortest refractory period: the search for alarms takes a step an alarm of the series that has most."""


def apply_refractory(
    last: Ints, score: Floats, number: Ints, valid_length: Ints, limit: float, rows: int, min_rows: int = 0
) -> Floats:
    """Scores, but 0 for `rows` rows after one of `limit` or more; NaN stays NaN.

    Args:
        last: `(k,)` number of the last row that reached the limit, changed in place; far below 0 if none did.
        score: `(k, length)`.
        number: `(k, length)` number of each row of its series.
        valid_length: `(k,)` cells of each line that count.
        limit: what counts as an alarm.
        rows: of the refractory period.
        min_rows: rows of a series before any can be an alarm.
    """
    alarm = (score >= limit) & (number >= min_rows)
    if not alarm.any() and (number[:, 0] - last > rows).all():
        return score
    alarm &= np.arange(score.shape[1]) < valid_length[:, None]
    refractory = np.zeros(score.shape, np.bool_)
    while True:  # once for each alarm of the series that has most, and each lasts `rows` rows
        since = number - last[:, None]
        refractory |= (since > 0) & (since <= rows)
        alarm &= since > rows
        some = np.flatnonzero(alarm.any(axis=1))
        if not len(some):
            return np.where(refractory & ~np.isnan(score), 0.0, score)
        last[some] = number[some, alarm[some].argmax(axis=1)]
