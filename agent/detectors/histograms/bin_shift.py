"""Which bins of a histogram moved, worked out only when an alert needs it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np

from sensors.batch import Floats

_MOST = 3


@dataclass(frozen=True, slots=True)
class BinShift(Mapping[str, Any]):
    """Evidence of one row: under `moved` the bins that moved most, each with its edges and shares.

    Of the shares `reference` and `window` are smoothed, as the divergence takes them; `share` is that of the readings.

    Attributes:
        share: `(b,)` smoothed reference; `counts` `(b,)` of the window.
        edges: `(2,)` lowest and highest edge of equal bins, or all `(b - 1,)`; a bin lies beyond either end.
        prior: readings added to every bin.
    """

    share: Floats
    counts: Floats
    edges: Floats
    prior: float

    def __getitem__(self, name: str) -> Any:
        if name != "moved":
            raise KeyError(name)
        now = (self.counts + self.prior) / (self.counts.sum() + self.prior * len(self.counts))
        equal = len(self.edges) == 2
        inner = np.linspace(self.edges[0], self.edges[1], len(now) - 1) if equal else self.edges
        edges = [None, *inner.tolist(), None]
        most = np.argsort(-np.abs(now - self.share), kind="stable")[:_MOST]
        return [
            {
                "low": edges[i],
                "high": edges[i + 1],
                "reference": float(self.share[i]),
                "window": float(now[i]),
                "share": float(self.counts[i] / self.counts.sum()),
            }
            for i in most.tolist()
        ]

    def __iter__(self) -> Iterator[str]:
        return iter(("moved",))

    def __len__(self) -> int:
        return 1


class BinEvidence(Sequence[BinShift | None]):
    """The evidence of rows, one at a time; None of a row without a score.

    Args:
        share: `(b, m)` smoothed references, or `(b, 1)` for all.
        counts: `(b, m)` of the windows.
        edges: `(m, e)` or `(1, e)`, see `BinShift`.
        prior: readings added to every bin.
        score: `(m,)`.
    """

    def __init__(self, share: Floats, counts: Floats, edges: Floats, prior: float, score: Floats) -> None:
        self._parts = (share, counts, edges, prior)
        self._score = score

    def __len__(self) -> int:
        return int(self._parts[1].shape[1])

    @overload
    def __getitem__(self, row: int) -> BinShift | None: ...

    @overload
    def __getitem__(self, row: slice) -> list[BinShift | None]: ...

    def __getitem__(self, row: int | slice) -> BinShift | list[BinShift | None] | None:
        if isinstance(row, slice):
            return [self[i] for i in range(*row.indices(len(self)))]
        if not -len(self) <= row < len(self):
            raise IndexError(row)
        if np.isnan(self._score[row]):
            return None
        share, counts, edges, prior = self._parts
        which = row if len(edges) > 1 else 0
        return BinShift(share[:, which], counts[:, row], edges[which], prior)
