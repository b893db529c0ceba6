"""The host clock, and by how much it was set."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

TOLERANCE = 2 * 10**9  # ns; smaller differences are slewing and scheduling


@dataclass(slots=True)
class HostClock:
    """Compares the wall clock with the monotonic one, so that a step is known as a step.

    Attributes:
        wall: ns since the epoch.
        monotonic: ns, never set.
    """

    wall: Callable[[], int] = time.time_ns
    monotonic: Callable[[], int] = time.monotonic_ns
    steps: int = 0
    _offset: int | None = field(default=None)
    _known: int | None = field(default=None)

    def resume(self, known: int) -> None:
        """The state knows of host time up to `known`: the first step is how much went by since, unwatched.

        Time in which nobody listened is no silence of the machines.
        """
        self._known = known

    def read(self) -> tuple[int, int]:
        """Wall time now and the step since the last call (0 unless the clock was set or the agent slept), ns."""
        wall, monotonic = self.wall(), self.monotonic()
        offset = wall - monotonic
        if self._known is not None:
            step, self._known, self._offset = wall - self._known, None, offset
            return wall, step
        if self._offset is None:
            self._offset = offset
        step = offset - self._offset
        if abs(step) <= TOLERANCE:
            self._offset += step // 16  # follow slewing
            return wall, 0
        self._offset = offset
        self.steps += 1
        return wall, step
