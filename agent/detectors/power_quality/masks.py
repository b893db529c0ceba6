"""Stretches of samples as masks `(k, n)`: closing gaps, taking the inside, finding the longest."""

from __future__ import annotations

import numpy as np

from agent.detectors.power_quality.sine import Bools, running
from sensors.batch import Ints


def longest_run(mask: Bools) -> tuple[Ints, Ints]:
    """`(k,)` start and length of the longest stretch of each mask `(k, n)`, the first of equals."""
    place = np.arange(mask.shape[1])
    before = np.maximum.accumulate(np.where(mask, -1, place), axis=1)
    length = np.where(mask, place - before, 0)
    end = np.argmax(length, axis=1)
    longest: Ints = length[np.arange(len(mask)), end]
    return np.maximum(end - longest + 1, 0), longest


def shift(place: Bools, by: int) -> Bools:
    """The mask moved by so many samples towards the end."""
    moved = np.zeros_like(place)
    moved[:, by:] = place[:, : place.shape[1] - by]
    return moved


def close(mask: Bools, gap: int) -> Bools:
    """The mask with gaps of up to `gap` samples filled."""
    place = np.arange(mask.shape[1])
    before = np.maximum.accumulate(np.where(mask, place, -mask.shape[1]), axis=1)
    after = np.minimum.accumulate(np.where(mask, place, 2 * mask.shape[1])[:, ::-1], axis=1)[:, ::-1]
    result: Bools = after - before <= gap + 1
    return mask | result


def inner(mask: Bools, m: int) -> Bools:
    """The mask less a quarter of a period at each end of long stretches, where sound samples may be among it."""
    edge = max(1, m // 4)
    whole = close(mask, max(2, m // 2))  # a difference passes through zero twice a period
    padded = np.pad(whole, ((0, 0), (edge, edge)), mode="edge").astype(np.float64)
    inner: Bools = mask & (running(padded, 2 * edge + 1) > 2 * edge + 0.5)
    long = inner.sum(axis=1) >= m // 2
    return np.where(long[:, None], inner, mask)
