"""How often something happened to each series: for saying which ones are the worst."""

from __future__ import annotations

import numpy as np

from sensors.batch import Ints


class SeriesCounter:
    """Counts by series, exact; takes 8 bytes a series once anything has happened, nothing before.

    It is no state: like all counters it starts anew with the process.
    """

    def __init__(self) -> None:
        self._counts: Ints = np.zeros(0, np.int64)

    def add(self, keys: Ints) -> None:
        """It happened to these series, once for each time a key is in `keys`; negative keys are passed over."""
        keys = keys[keys >= 0]
        if len(keys) == 0:
            return
        more = np.bincount(keys)
        if len(more) > len(self._counts):
            counts = np.zeros(len(more) * 3 // 2, np.int64)
            counts[: len(self._counts)] = self._counts
            self._counts = counts
        self._counts[: len(more)] += more

    def evict(self, keys: Ints) -> None:
        """These series are new again."""
        self._counts[keys[keys < len(self._counts)]] = 0

    def worst(self, most: int) -> dict[int, int]:
        """The keys to which it happened most often, at most `most` of them, the worst first, and how often."""
        keys = np.flatnonzero(self._counts)
        keys = keys[np.argsort(-self._counts[keys], kind="stable")[:most]]
        return dict(zip(keys.tolist(), self._counts[keys].tolist(), strict=True))
