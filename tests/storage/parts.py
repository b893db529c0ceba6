"""Parts with every kind of memory, to be saved."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from agent.core.changes import Changes
from agent.core.series import Field, SeriesState, Stateful, Tracked
from agent.core.series_records import SeriesRecords


@dataclass
class Part(Stateful):
    """Arrays of several types, records, and numbers that all series share."""

    remembers: ClassVar = {"": "state", "notes": "notes", "pair": "pair", "none": "none"}
    shared: ClassVar = {"now": ("now", max), "counted": ("counted", max)}

    now: int = 0
    counted: int = 0
    none: Stateful | None = None
    notes: SeriesRecords = field(default_factory=SeriesRecords)

    def __post_init__(self) -> None:
        self.state = SeriesState(count=Field(np.int64), ring=Field(np.float64, np.nan, (3,)))
        self.pair = (SeriesState(a=Field(np.int16, -1)), SeriesState(b=Field(np.bool_, True)))

    def write(self, keys, value):
        """As an operator does: say so first, then change."""
        self.touch(keys)
        self.grow(int(keys.max()) + 1)
        self.state["count"][keys] += value
        self.state["ring"][keys, value % 3] = value / 3
        self.pair[0]["a"][keys] = value
        self.pair[1]["b"][keys] ^= True
        for key in keys.tolist()[:3]:
            self.notes.of[key] = {"value": value, "text": ["ü", None]}
        self.now, self.counted = self.now + 1, self.counted + value


def tracked(*groups):
    """Parts by name; those of one group share a key table: `tracked(("a", "b"), ("c",))`."""
    parts = {}
    for names in groups:
        changes = Changes()
        for name in names:
            parts[name] = Tracked(Part(), changes)
            parts[name].part.track(changes)
    return parts


def contents(parts):
    """All that the parts remember, however long their arrays are."""
    most = 1 + max((part.series for part, _ in parts.values()), default=0)
    return {name: part.extract(np.arange(max(most, 4000))) for name, (part, _) in parts.items()}


async def save(store, parts, document):
    return await store.begin(parts, document).write()
