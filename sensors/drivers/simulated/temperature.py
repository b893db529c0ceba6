"""Machines that report their temperature; some overheat. After the Quix tutorial on anomaly detection."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from sensors.batch import Batch, Floats, Ints
from sensors.drivers.simulated.base import BLOCK_ROWS, Simulated
from sensors.units import SECOND

HEALTHY = (40, 75)
"""Lowest and highest temperature of a healthy machine, C."""
COOL, MALFUNCTION, LIMIT = 70, 90, 100
"""Of an overheating machine: where it begins and cools down to, is called malfunctioning, and gives up, C."""

_DOWN, _UP = 0.25, 0.25
_DOWN_HOT, _UP_HOT = 0.2, 0.5


@dataclass(kw_only=True)
class Temperature(Simulated):
    """Machines "0", "1", ... in turn report `Temperature_C`, each a step of -1, 0 or +1 from the last.

    A healthy machine wanders between 40 and 75 C. An overheating one rises from about 80 C, 0.3 C a reading on
    average, until it reaches 100 C. The label is 1 where an overheating machine has 90 C or more.

    Attributes:
        machines: how many.
        overheating: ids of those that overheat.
        rate: readings a second of each machine.
        at_limit: at 100 C an overheating machine cools down to 70 C and overheats again (`cool`), stays there
            (`hold`), or the source ends, as in the tutorial (`stop`).
    """

    machines: int = 3
    overheating: list[str] = field(default_factory=lambda: ["2"])
    rate: float = 2.0
    at_limit: Literal["cool", "hold", "stop"] = "cool"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.machines < 1 or not self.rate > 0:
            raise ValueError("machines and rate must be above zero")

    def outputs(self) -> tuple[str, ...]:
        return ("Temperature_C", *(["is_anomaly"] if self.labels else []))

    def blocks(self, start: int) -> Iterator[Batch]:
        rng = np.random.default_rng(self.seed)
        names = tuple(str(machine) for machine in range(self.machines))
        hot = np.isin(names, self.overheating)
        low, high = np.where(hot, COOL, HEALTHY[0]), np.where(hot, LIMIT, HEALTHY[1])
        up, down = np.where(hot, _UP_HOT, _UP), np.where(hot, _DOWN_HOT, _DOWN)
        walk: Ints = np.where(hot, 80, rng.integers(45, 70, size=self.machines))
        peak = walk.copy()
        rounds = max(1, BLOCK_ROWS // self.machines)
        machine = np.tile(np.arange(self.machines, dtype=np.int32), rounds)
        step = SECOND / (self.rate * self.machines)
        first = 0
        while True:
            chance = rng.random((rounds, self.machines))
            steps = (chance >= 1 - up).astype(np.int64) - (chance < down)
            path: Ints = walk + np.cumsum(steps, axis=0)
            walk = path[-1]
            if self.at_limit == "hold":
                summit = np.maximum(np.maximum.accumulate(path, axis=0), peak)
                peak = summit[-1]
                path = np.where(hot, path - np.maximum(summit - LIMIT, 0), path)
            temperature = _fold(path, low, high)
            time = start + np.rint((first + np.arange(rounds * self.machines)) * step).astype(np.int64)
            first += rounds * self.machines
            values = {"Temperature_C": temperature.ravel()}
            if self.labels:
                values["is_anomaly"] = (hot & (temperature >= MALFUNCTION)).astype(np.float64).ravel()
            block = Batch(names, machine, time, values, read_at=int(time[-1]))
            ends = np.flatnonzero((hot & (temperature >= LIMIT)).ravel())
            if self.at_limit == "stop" and len(ends):
                yield block.slice(0, int(ends[0]) + 1)
                return
            yield block


def _fold(path: Ints, low: Ints, high: Ints) -> Floats:
    """A walk on the integers reflected at both ends, so that it stays within; steps stay -1, 0 or 1."""
    span = high - low
    place = np.mod(path - low, 2 * span)
    folded: Floats = (low + np.minimum(place, 2 * span - place)).astype(np.float64)
    return folded
