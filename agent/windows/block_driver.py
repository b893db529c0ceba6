"""A call of a window operator: the clock first, then the readings, block by block, then all results together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from agent.core.rows import Rows
from agent.windows.closed_windows import Told, together
from agent.windows.pane_operator import PaneWindows

_END = 1 << 62


def block_length(wide: int, current: bool) -> int:
    """Most readings of a block: what keeps its arrays within some megabytes for windows `wide` panes."""
    return max(256, (1 << 16) // max(4, wide)) if current else max(4096, (1 << 20) // max(16, wide))


@dataclass(slots=True)
class Windows:
    """Calls cut into blocks of at most `length` readings, the clock first.

    Attributes:
        panes: what each block goes through.
        length: of a block; law 2 lets it be anything.
    """

    panes: PaneWindows
    length: int

    def process(self, rows: Rows) -> Told:
        """Windows that the rows, or the clock, changed or closed."""
        told: list[tuple[Told, int]] = []
        if self.panes.horizon.idle is not None:
            told += [(item, 0) for item in self._by_clock(rows.now)]
        for start in range(0, len(rows), self.length):
            told += self.panes.advance(rows, start, min(start + self.length, len(rows)))
        return self._join(told)

    def finish(self) -> Told:
        """All that is open, in order of start."""
        who = np.flatnonzero(self.panes.ring.newest >= 0)
        self.panes.touch(who)
        told = [(item, 0) for item in self.panes.close(who, np.full(len(who), _END))]
        self.panes.horizon.at[who if self.panes.horizon.each else slice(None)] = _END
        return self._join(told)

    def _by_clock(self, now: int) -> Iterator[Told]:
        moved = self.panes.horizon.clock(now)
        if moved is None:
            return
        who, at = moved
        if self.panes.horizon.each:
            self.panes.touch(who)
            yield from self.panes.close(who, at)
            self.panes.horizon.at[who] = at
            self.panes.horizon.rest(
                who[self.panes.geometry.newest(self.panes.ring.newest[who]) <= self.panes.closed(at)]
            )
        else:
            everyone = np.flatnonzero(self.panes.ring.newest >= 0)
            yield from self.panes.close(everyone, at.repeat(len(everyone)))
            self.panes.horizon.at[:] = at

    def _join(self, told: list[tuple[Told, int]]) -> Told:
        """All windows of a call, positions counted from its start."""
        found = [
            item._replace(position=item.position + (item.position >= 0) * start) if start else item
            for item, start in told
            if len(item.key)
        ]
        return together(*found, size=self.panes.layout.size)
