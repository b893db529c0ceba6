"""From windows to the event that they show: what it was in all, since when, for how long, how deep.

A window sees at most its own length, and a disturbance lies in many windows that overlap. An event of a series begins
with its first disturbed window and is over with the first that is not; windows without a score change nothing. Its
name is the one most of its windows have, its size the greatest with that name, its duration that of the longest
stretch after joining those that overlap or nearly touch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from agent.core.series_records import SeriesRecords
from agent.detectors.power_quality.names import NAMES, UNITS
from sensors.units import SECOND

MOST = 16
"""Stretches of an event that are kept apart; beyond, the shortest is left out."""


@dataclass
class DisturbanceEvent:
    """One disturbance of one series so far; times are ns.

    Attributes:
        counts: windows by the number of their name.
        sizes: size that is greatest in absolute value, by the number of the name.
        stretches: `[begin, end]`, in order, apart from each other.
        lowest: RMS over one period, least of all windows; `highest` the greatest.
        over: whether a window without a disturbance has followed.
    """

    counts: list[int] = field(default_factory=lambda: [0] * len(NAMES))
    sizes: list[float] = field(default_factory=lambda: [0.0] * len(NAMES))
    stretches: list[list[int]] = field(default_factory=list)
    lowest: float = np.inf
    highest: float = 0.0
    over: bool = False

    def add(self, name: int, size: float, begin: int, end: int, merge_gap: int) -> None:
        """Take a window in that shows `name` from `begin` to `end`; stretches less than `merge_gap` apart are one."""
        self.counts[name] += 1
        if abs(size) > abs(self.sizes[name]):
            self.sizes[name] = size
        joined, apart = [begin, end], []
        for stretch in self.stretches:
            if stretch[0] <= joined[1] + merge_gap and joined[0] <= stretch[1] + merge_gap:
                joined = [min(stretch[0], joined[0]), max(stretch[1], joined[1])]
            else:
                apart.append(stretch)
        self.stretches = sorted([*apart, joined])
        if len(self.stretches) > MOST:
            self.stretches.remove(min(self.stretches, key=lambda stretch: stretch[1] - stretch[0]))

    def evidence(self) -> dict[str, Any]:
        """Its figures in an alert."""
        name = self.counts.index(max(self.counts))
        first, last = max(self.stretches, key=lambda stretch: stretch[1] - stretch[0])
        return {
            "disturbance": NAMES[name],
            "size": self.sizes[name],
            "size_unit": UNITS[name],
            "begin": f"{np.datetime64(self.stretches[0][0], 'ns').astype('datetime64[us]')}Z",
            "duration_s": (last - first) / SECOND,
            "stretches": len(self.stretches),
            "rms_min": self.lowest,
            "rms_max": self.highest,
            "windows": sum(self.counts),
            "over": self.over,
        }


class EventTracker(SeriesRecords):
    """The last event of each series, as the fields of `DisturbanceEvent`; of a series without any there is nothing.

    Args:
        merge_gap: ns between stretches that count as one.
        retention: ns for which an event that is over stays in the evidence.
    """

    def __init__(self, merge_gap: int, retention: int = 600 * SECOND) -> None:
        super().__init__()
        self.merge_gap, self.retention = merge_gap, retention

    def disturbed(
        self, key: int, name: int, size: float, begin: int, end: int, low: float, high: float
    ) -> dict[str, Any]:
        """Take a disturbed window of a series in; what is known of its event by now."""
        record = self.of.get(key)
        event = DisturbanceEvent() if record is None or record["over"] else DisturbanceEvent(**record)
        event.add(name, size, begin, end, self.merge_gap)
        if low == low:
            event.lowest, event.highest = min(event.lowest, low), max(event.highest, high)
        self.of[key] = vars(event)
        return event.evidence()

    def quiet(self, key: int, end: int) -> dict[str, Any] | None:
        """A normal window of a series ends at `end`: its last event, which is over, while it is kept."""
        record = self.of.get(key)
        if record is None:
            return None
        if end - record["stretches"][-1][1] > self.retention:
            del self.of[key]
            return None
        record["over"] = True
        return DisturbanceEvent(**record).evidence()

    def __bool__(self) -> bool:
        return bool(self.of)
