"""Which bins of a histogram moved, worked out only when an alert asks for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np

from sensors.batch import Floats

_MOST = 3


@dataclass(frozen=True, slots=True)
class Moved(Mapping[str, Any]):
    """Evidence of one row: under `moved` the bins that moved most, each with its edges and shares.

    Attributes:
        share: `(b,)` smoothed reference; `counts` `(b,)` of the window.
        low: lowest edge, `high` the highest; a bin lies beyond either.
        prior: readings added to every bin.
    """

    share: Floats
    counts: Floats
    low: float
    high: float
    prior: float

    def __getitem__(self, name: str) -> Any:
        if name != "moved":
            raise KeyError(name)
        now = (self.counts + self.prior) / (self.counts.sum() + self.prior * len(self.counts))
        edges = [None, *np.linspace(self.low, self.high, len(now) - 1).tolist(), None]
        most = np.argsort(-np.abs(now - self.share), kind="stable")[:_MOST]
        return [
            {"low": edges[i], "high": edges[i + 1], "reference": float(self.share[i]), "window": float(now[i])}
            for i in most.tolist()
        ]

    def __iter__(self) -> Iterator[str]:
        return iter(("moved",))

    def __len__(self) -> int:
        return 1


class Evidence(Sequence[Moved]):
    """The evidence of rows, one at a time.

    Args:
        share: `(b, m)` smoothed references, or `(b, 1)` for all.
        counts: `(b, m)` of the windows.
        low: `(m,)` or `(1,)` lowest edges, `high` the highest.
        prior: readings added to every bin.
    """

    def __init__(self, share: Floats, counts: Floats, low: Floats, high: Floats, prior: float) -> None:
        self._parts = (share, counts, low, high, prior)

    def __len__(self) -> int:
        return int(self._parts[1].shape[1])

    @overload
    def __getitem__(self, row: int) -> Moved: ...

    @overload
    def __getitem__(self, row: slice) -> list[Moved]: ...

    def __getitem__(self, row: int | slice) -> Moved | list[Moved]:
        if isinstance(row, slice):
            return [self[i] for i in range(*row.indices(len(self)))]
        if not -len(self) <= row < len(self):
            raise IndexError(row)
        share, counts, low, high, prior = self._parts
        which = row if len(low) > 1 else 0
        return Moved(share[:, which], counts[:, row], float(low[which]), float(high[which]), prior)
