"""The agent watches itself, too: what troubles it is a reading like any other, of a machine with the agent's name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import numpy as np

from agent.alerts.commands import SELF
from sensors.batch import Batch, Text


@dataclass(slots=True)
class SelfMonitor:
    """Reports to the engine when the disk begins to fail, and when it is well again.

    Attributes:
        name: of the agent.
        failing: what is wrong with the disk; empty = nothing.
        now: host time, ns; 0 = not known yet.
        take: decides on a batch.
    """

    name: str
    failing: Callable[[], str]
    now: Callable[[], int]
    take: Callable[[Batch], Awaitable[None]]
    _reported: bool | None = None

    async def look(self) -> None:
        """Look once; the first look always reports, to end what was raised before a restart."""
        reason, now = self.failing(), self.now()
        if bool(reason) == self._reported or not now:
            return
        self._reported = bool(reason)
        await self.take(disk_batch(self.name, reason, now))


def disk_batch(name: str, reason: str, now: int) -> Batch:
    """How the disk is: one row."""
    zero = np.zeros(1, np.int32)
    texts = {"reason": Text((reason,), zero)} if reason else {}
    values = {"disk_failing": np.array([1.0 if reason else 0.0])}
    return Batch((name,), zero, np.array([now], np.int64), values, now, texts, source=SELF)
