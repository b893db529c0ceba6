"""Readings that came too late: how many, and which windows were refused to them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from agent.core.rows import Rows
from agent.core.series import Stateful
from agent.core.series_counter import SeriesCounter
from sensors.batch import Ints
from sensors.units import SECOND


@dataclass
class Lateness(Stateful):
    """What was refused.

    Attributes:
        emit: keep the windows refused in the last call in `rows`, for a side stream: their series, bounds and
            `late_by`, how far time had gone beyond the reading, s.
        late: readings all of whose windows were closed.
        partially_late: readings some of whose windows were closed.
    """

    shared: ClassVar = {"late": ("late", max), "late_partly": ("partially_late", max)}

    emit: bool = False
    late: int = 0
    partially_late: int = 0
    rows: list[Rows] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.by_series = {"late": SeriesCounter(), "partially_late": SeriesCounter()}

    def count(self, keys: Ints, refused: Ints, taken: Any) -> bool:
        """Count late readings; whether some were late in part.

        Args:
            keys: `(n,)` their series.
            refused: `(n,)` windows refused to each reading, 0 or less for none.
            taken: `(n,)` bool, whether some other window took it.
        """
        late = refused > 0
        if not late.any():
            return False
        in_part = keys[late & taken]
        self.partially_late += len(in_part)
        self.by_series["partially_late"].add(in_part)
        self.count_late(keys[late & ~taken])
        return len(in_part) > 0

    def count_late(self, keys: Ints) -> None:
        """Count readings of these series all of whose windows were closed."""
        self.late += len(keys)
        self.by_series["late"].add(keys)

    def evict(self, keys: Ints) -> None:
        super().evict(keys)
        for counter in self.by_series.values():
            counter.evict(keys)

    def refuse(self, key: Ints, start: Ints, end: Ints, at: Ints, late_by: Ints, now: int) -> None:
        """Keep windows `[start, end)` that were refused, `late_by` in ns."""
        self.rows.append(Rows(key, start, end, at, {"late_by": late_by / SECOND}, now))

    def stats(self) -> dict[str, int]:
        """Late readings so far."""
        return {"late": self.late, "partially_late": self.partially_late}
