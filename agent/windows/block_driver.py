"""A call of a window operator: the clock first, then the readings, block by block, then all results together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from agent.core.rows import Rows
from agent.windows.closed_windows import ClosedWindows, concatenated
from agent.windows.pane_operator import PaneOperator

_END = 1 << 62


def block_length(width: int, current: bool) -> int:
    """Most readings of a block: what keeps its arrays within some megabytes for windows `width` panes."""
    return max(256, (1 << 16) // max(4, width)) if current else max(4096, (1 << 20) // max(16, width))


@dataclass(slots=True)
class BlockDriver:
    """Calls cut into blocks of at most `length` readings, the clock first.

    Attributes:
        panes: what each block goes through.
        length: of a block; law 2 lets it be anything.
    """

    panes: PaneOperator
    length: int

    def process(self, rows: Rows) -> ClosedWindows:
        """Windows that the rows, or the clock, changed or closed."""
        emitted: list[tuple[ClosedWindows, int]] = []
        if self.panes.watermark.idle is not None:
            emitted += [(item, 0) for item in self._by_clock(rows.now)]
        for start in range(0, len(rows), self.length):
            emitted += self.panes.advance(rows, start, min(start + self.length, len(rows)))
        return self._join(emitted)

    def finish(self) -> ClosedWindows:
        """All that is open, in order of start."""
        keys = np.flatnonzero(self.panes.ring.newest >= 0)
        self.panes.touch(keys)
        emitted = [(item, 0) for item in self.panes.close(keys, np.full(len(keys), _END))]
        self.panes.watermark.at[keys if self.panes.watermark.per_series else slice(None)] = _END
        return self._join(emitted)

    def _by_clock(self, now: int) -> Iterator[ClosedWindows]:
        moved = self.panes.watermark.tick(now)
        if moved is None:
            return
        keys, at = moved
        if self.panes.watermark.per_series:
            self.panes.touch(keys)
            yield from self.panes.close(keys, at)
            self.panes.watermark.at[keys] = at
            self.panes.watermark.deactivate(
                keys[self.panes.assigner.newest(self.panes.ring.newest[keys]) <= self.panes.closed(at)]
            )
        else:
            everyone = np.flatnonzero(self.panes.ring.newest >= 0)
            yield from self.panes.close(everyone, at.repeat(len(everyone)))
            self.panes.watermark.at[:] = at

    def _join(self, emitted: list[tuple[ClosedWindows, int]]) -> ClosedWindows:
        """All windows of a call, positions counted from its start."""
        found = [
            item._replace(position=item.position + (item.position >= 0) * start) if start else item
            for item, start in emitted
            if len(item.key)
        ]
        return concatenated(*found, size=self.panes.layout.size)
