"""Rows as symbols, and which pairs of symbols were never seen: a context model of a metric.

An alphabet cuts the values of a metric into at most 32 symbols. A context is a symbol some rows ago; it is new
together with the present symbol if that pair has not occurred within the memory. So a value that is usual may still
be new here: high after low, rest after rest. Pairs over several lags and alphabets are kept as bits, 32 to a word,
so nothing is hashed and no pair is ever mistaken for another.

The alphabets come from the history alone: half of them have equal steps of `asinh` of the distance from the median in
MADs (fine near the usual, coarse far away), half cut the range into equal parts and go on beyond it. They are learnt
anew, and the memory read anew with them, whenever the history has doubled, and once a memory.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from agent.core.series import Arrays, Field
from agent.detectors.base.streaming import COUNT
from agent.detectors.univariate.history.circular_buffer import read, stored, write
from sensors.batch import Floats, Ints

STEPS = (0.25, 0.4)
"""Steps of the alphabets around the median, in units of `asinh` of MADs."""

PARTS = (12, 24)
"""Parts of the alphabets over the range, whose ends are in the middle of a part; further symbols lie beyond it."""

ALPHABETS = len(STEPS) + len(PARTS)

LAGS = 4
"""A row is paired with each of so many rows before it."""

SYMBOLS = 32
"""Symbols an alphabet may have: bits in a word."""

_AT_ONCE = 32
"""Series whose memory is read anew in one go: what a processor cache holds."""

HOLD = 16
"""Rows for which a finding lasts, so that alphabets that notice at different times add up."""


def context_fields(memory: int) -> dict[str, Field]:
    """State of `new_contexts`."""
    return {
        "symbol_store": Field(np.float32, 0, (memory + LAGS + HOLD,)),
        "symbol_held": Field(np.float64, 0, (ALPHABETS, HOLD - 1)),
        **_alphabet_shapes(),
    }


def _alphabet_shapes() -> dict[str, Field]:
    return {
        "symbol_middle": Field(np.float64),
        "symbol_scale": Field(np.float64),
        "symbol_low": Field(np.float64),
        "symbol_high": Field(np.float64),
        "symbol_seen": Field(np.uint32, 0, (ALPHABETS, LAGS, SYMBOLS)),
        "symbol_last": Field(np.int64, -1, (ALPHABETS, LAGS)),
    }


def new_contexts(state: Arrays, x: Floats, valid_length: Ints, first: int, memory: int) -> Floats:
    """How new the context of a row is, in each alphabet: the share of the history since one was as new.

    Args:
        state: of the series, with their `count`; changed in place.
        x: `(k, length)` less the first value of the series; `length` at most 16, and within it no multiple of `first`.
        valid_length: `(k,)` cells that count.
        first: rows from which the alphabets are learnt; a multiple of `LAGS`.
        memory: rows that are remembered; a multiple of `first`.

    Returns:
        `(k, alphabets, length)`, 0 to 1: the largest of the last 16 rows; 0 for the first rows.
    """
    count, store = state[COUNT], state["symbol_store"]
    due = alphabets_due(count, first, memory)
    for begin in range(0, len(due), _AT_ONCE):
        some = due[begin : begin + _AT_ONCE]
        learn_alphabets(state, some, read(store[some], (count[some] - memory)[:, None] + np.arange(memory)))
    before = read(store, (count - LAGS)[:, None] + np.arange(LAGS))
    write(store, count, x, valid_length)
    recent = np.concatenate([np.where(np.isnan(before), 0.0, before), stored(x)], axis=1)
    number = count[:, None] + np.arange(x.shape[1])
    level = np.where((count < first)[:, None, None], 0, new_pairs(state, recent, valid_length))
    return held(state["symbol_held"], level_age(state["symbol_last"], level, number, valid_length), valid_length)


def alphabets_due(count: Ints, first: int, memory: int) -> Ints:
    """Which series learn their alphabets now: after `first` rows, whenever that has doubled, and once a memory.

    Args:
        count: `(k,)` rows so far.
        first: rows.
        memory: rows; not less than `first`.
    """
    times = count // first
    doubled = (count % first == 0) & (times > 0) & (times & (times - 1) == 0) & (count <= memory)
    return np.flatnonzero(doubled | ((count % memory == 0) & (count > 0)))


def learn_alphabets(state: Arrays, which: Ints, past: Floats) -> None:
    """Alphabets of some series and the pairs that they have shown.

    Args:
        state: of all series, changed in place.
        which: `(w,)` lines of the state.
        past: `(w, memory)` the last rows, oldest first; NaN before the first.
    """
    known = ~np.isnan(past)
    size = known.sum(axis=1)
    ordered = np.sort(past, axis=1)
    middle = _median(ordered, size)
    away = np.sort(np.abs(past - middle[:, None]), axis=1)
    scale = _median(away, size)
    spread = np.sqrt(np.where(np.isnan(away), 0.0, away * away).sum(axis=1) / size)
    state["symbol_middle"][which] = middle
    state["symbol_scale"][which] = np.where(scale > 0.0, scale, spread)
    state["symbol_low"][which] = ordered[:, 0]
    state["symbol_high"][which] = np.take_along_axis(ordered, size[:, None] - 1, axis=1)[:, 0]
    symbol = symbols(
        {name: state[name][which] for name in _alphabet_shapes()}, np.where(known, past, middle[:, None])
    )
    state["symbol_seen"][which] = _shown(symbol, known)


def _shown(symbol: Ints, known: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint32]:
    """Pairs in rows of symbols `(w, alphabets, n)`, of which the `known` `(w, n)` count, `(w, alphabets, LAGS, 32)`."""
    shown = np.zeros(symbol.shape[0] * ALPHABETS * LAGS * SYMBOLS * SYMBOLS + 1, np.bool_)  # the last: unknown
    first = np.arange(len(symbol) * ALPHABETS * LAGS).reshape(-1, ALPHABETS, LAGS, 1) * (SYMBOLS * SYMBOLS)
    whole = known.all()
    for lag in range(1, LAGS + 1):
        place = symbol[:, :, :-lag] * SYMBOLS + symbol[:, :, lag:] + first[:, :, lag - 1]
        shown[place if whole else np.where(known[:, None, :-lag], place, -1)] = True
    bits = shown[:-1].reshape(-1, ALPHABETS, LAGS, SYMBOLS * SYMBOLS)
    return np.packbits(bits, axis=3, bitorder="little").view("<u4").astype(np.uint32, copy=False)


def _median(ordered: Floats, size: Ints) -> Floats:
    """Of `(w, n)` ascending, of which the first `size` count."""
    low, high = (np.take_along_axis(ordered, at[:, None], axis=1)[:, 0] for at in ((size - 1) // 2, size // 2))
    middle: Floats = 0.5 * (low + high)
    return middle


def symbols(state: Arrays, x: Floats) -> Ints:
    """Values `(k, length)` in each alphabet, `(k, alphabets, length)`, 0 to 31; the outermost take what lies beyond."""
    scale = state["symbol_scale"][:, None]
    low, high = state["symbol_low"][:, None], state["symbol_high"][:, None]
    away = x - state["symbol_middle"][:, None]
    flat = scale == 0.0
    bent = np.where(flat, 1e6 * np.sign(away), np.arcsinh(away / np.where(flat, 1.0, scale)))
    extent = high - low
    share = (x - low) / np.where(extent == 0.0, 1e-6, extent)
    code = np.empty((len(x), ALPHABETS, x.shape[1]))
    for i, step in enumerate(STEPS):
        code[:, i] = np.floor(bent / step) + SYMBOLS // 2
    for i, parts in enumerate(PARTS, len(STEPS)):
        code[:, i] = np.floor(share * parts + 0.5) + (SYMBOLS - parts) // 2
    return np.clip(code, 0.0, SYMBOLS - 1.0).astype(np.int64)


def new_pairs(state: Arrays, x: Floats, valid_length: Ints) -> Ints:
    """How many of the pairs of a row with the rows before it are new, then learn them.

    Args:
        state: of the series, changed in place.
        x: `(k, LAGS + length)` rows behind the `LAGS` rows before them.
        valid_length: `(k,)` cells that count.

    Returns:
        `(k, alphabets, length)`, 0 to `LAGS`.
    """
    symbol = symbols(state, x)
    k, _, total = symbol.shape
    length = total - LAGS
    seen = state["symbol_seen"].reshape(-1)
    before = np.stack([symbol[:, :, LAGS - lag : total - lag] for lag in range(1, LAGS + 1)], axis=2)
    place = np.arange(k * ALPHABETS * LAGS).reshape(k, ALPHABETS, LAGS, 1) * SYMBOLS + before
    present = symbol[:, :, None, LAGS:]
    new = (seen[place] >> present.astype(np.uint32)) & np.uint32(1) == 0
    if length > 1:
        new &= (np.arange(length) < valid_length[:, None])[:, None, None, :]
    where = np.flatnonzero(new)
    if len(where):
        words = place.reshape(-1)[where]
        bit = np.broadcast_to(present, place.shape).reshape(-1)[where]
        if length > 1:  # what comes twice is new but once
            _, first = np.unique(words * SYMBOLS + bit, return_index=True)
            new[:] = False
            new.reshape(-1)[where[first]] = True
            words, bit = words[first], bit[first]
        np.bitwise_or.at(seen, words, np.uint32(1) << bit.astype(np.uint32))
    count: Ints = new.sum(axis=2)
    return count


def level_age(last: Ints, level: Ints, number: Ints, valid_length: Ints) -> Floats:
    """How long ago were more pairs new, and how long ago as many: the age of a record of a number of few levels.

    Args:
        last: `(k, alphabets, LAGS)` number of the last row with at least 1, 2, ... new pairs, changed in place; -1 if
            there is none.
        level: `(k, alphabets, length)` new pairs.
        number: `(k, length)` number of each row of its series.
        valid_length: `(k,)` cells that count.

    Returns:
        `(k, alphabets, length)`: mean of `share ** 1.5`, where `share` is the part of the history since the last
        row with more, and since the last with as many; 0 where none is new. All pairs new is at least 1/2: more
        there cannot be.
    """
    reached = level[:, :, None, :] > np.arange(LAGS)[:, None]
    rows = np.where(reached, number[:, None, None, :], -1)
    running = np.maximum.accumulate(np.concatenate([last[..., None], rows], axis=3), axis=3)
    last[:] = running[np.arange(len(last)), :, :, valid_length]
    share = np.ones((*level.shape[:2], LAGS + 1, level.shape[2]))
    past = np.maximum(number, 1)[:, None, None, :]
    share[:, :, :LAGS] = (number[:, None, None, :] - 1 - running[..., :-1]) / past
    rated = share * np.sqrt(share)
    more = np.take_along_axis(rated, level[:, :, None, :], axis=2)[:, :, 0]
    as_many = np.take_along_axis(rated, np.maximum(level - 1, 0)[:, :, None, :], axis=2)[:, :, 0]
    return np.where(level > 0, 0.5 * (more + as_many), 0.0)


def held(ring: Floats, score: Floats, valid_length: Ints) -> Floats:
    """Maximum of each score over the last 16 rows; `ring` `(k, alphabets, 15)` holds the rows before."""
    whole = np.concatenate([ring, score], axis=2)
    ring[:] = np.take_along_axis(whole, (valid_length[:, None] + np.arange(HOLD - 1))[:, None, :], axis=2)
    step = 1
    while step < HOLD:
        whole = np.maximum(whole[:, :, step:], whole[:, :, :-step])
        step *= 2
    return whole
