"""Readings that came too late: how many, and which windows were refused to them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from agent.rows import Rows
from sensors.batch import Ints


@dataclass(slots=True)
class Counts:
    """What happened to readings.

    Attributes:
        late: readings all of whose windows were closed.
        late_partly: readings some of whose windows were closed.
    """

    late: int = 0
    late_partly: int = 0


@dataclass(slots=True)
class Lateness:
    """What was refused.

    Attributes:
        tell: keep the windows refused in the last call in `rows`, for a side stream: their series, bounds and
            `late_by`, how far time had gone beyond the reading, s.
    """

    tell: bool = False
    counts: Counts = field(default_factory=Counts)
    rows: list[Rows] = field(default_factory=list)

    def count(self, refused: Ints, taken: Any) -> bool:
        """Count late readings; tell whether some were late in part.

        Args:
            refused: `(n,)` windows refused to each reading, 0 or less for none.
            taken: `(n,)` bool, whether some other window took it.
        """
        late = refused > 0
        if not late.any():
            return False
        partly = int(np.count_nonzero(late & taken))
        self.counts.late_partly += partly
        self.counts.late += int(np.count_nonzero(late)) - partly
        return partly > 0
