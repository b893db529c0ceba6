"""Rows for tests: many series interleaved, and the same rows cut at random."""

from __future__ import annotations

import itertools

import numpy as np

from agent.core.rows import Rows
from sensors.batch import Text


def rows_of(key, time, value, now=0, metric="v"):
    n = len(key)
    return Rows(
        key=np.asarray(key, np.int64),
        start=np.asarray(time, np.int64),
        end=np.asarray(time, np.int64),
        at=np.arange(n),
        values={metric: np.asarray(value, np.float64)},
        now=now,
    )


def cut(rows, cuts):
    """The rows in pieces, each with its own `at` from 0; also the offset of each piece."""
    edges = [0, *sorted(cuts), len(rows)]
    for first, last in itertools.pairwise(edges):
        piece = rows.take(np.arange(first, last))
        yield first, Rows(piece.key, piece.start, piece.end, np.arange(last - first), piece.values, rows.now)


def run(operator, rows, cuts=(), save=False):
    """All output of the operator, bit for bit, with `at` counted from the start of `rows`."""
    parts = []
    for offset, piece in cut(rows, cuts):
        if save:
            operator.restore(operator.snapshot())
        out = operator.process(piece)
        parts += [
            [int(out.key[i]), int(out.start[i]), int(out.end[i]), int(out.at[i]) + offset]
            + [column[i].tobytes() for column in out.values.values()]
            + [text.tolist()[i] for text in out.texts.values() if isinstance(text, Text)]
            + [column[i] for column in out.lists.values()]
            for i in range(len(out))
        ]
    return parts
