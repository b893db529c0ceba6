"""Rows to feed detectors with, and the ways to compare what they give."""

import itertools

import numpy as np

from agent.core.rows import Rows

SECOND = 1_000_000_000
START = 1_710_856_626 * SECOND


def table(key, columns, time=None, now=START, texts=None):
    """Rows as the engine hands them over: readings of some series, in order of arrival."""
    key = np.asarray(key, np.int64)
    time = START + SECOND * np.arange(len(key)) if time is None else np.asarray(time, np.int64)
    values = {name: np.asarray(column, float) for name, column in columns.items()}
    return Rows(key, time, time, np.arange(len(key)), values, now, texts=texts or {})


def part(rows, begin, end):
    """A cut of the table, with its places in the batch counted from its own start."""
    some = rows.take(np.arange(begin, end))
    return Rows(some.key, some.start, some.end, np.arange(end - begin), some.values, some.now, some.texts)


def run(detector, rows, cuts=()):
    """All that the detector gives, fed in parts."""
    edges = [0, *sorted(cuts), len(rows)]
    return [detector.process(part(rows, a, b)) for a, b in itertools.pairwise(edges)]


def column(results, name="score"):
    return np.concatenate([result.values[name] for result in results])


def content(results):
    """Bytes of everything in the rows that does not count places within a batch, for exact comparison."""
    names = sorted({name for result in results for name in result.values})
    return (
        np.concatenate([result.key for result in results]).tobytes(),
        np.concatenate([result.start for result in results]).tobytes(),
        np.concatenate([result.end for result in results]).tobytes(),
        [np.concatenate([_column(result, name) for result in results]).tobytes() for name in names],
        [text for name in sorted(results[0].texts) for result in results for text in result.texts[name].tolist()],
        [_plain(item) for result in results for item in result.lists.get("evidence", [])],
    )


def _column(result, name):
    return result.values.get(name, np.full(len(result), np.nan))


def _plain(item):
    return item if item is None else {name: item[name] for name in item}
