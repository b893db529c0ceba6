"""Which record of which segment holds each series of a part, and what is worth writing anew."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Self

import numpy as np

from agent.core.grouping import Bools
from agent.core.series import Stateful
from agent.storage.segments import Place
from sensors.batch import Ints

SLACK = 1 << 20
"""Bytes of outdated records beyond those as large as the live ones that are left alone."""
MANY = 64
"""Segments above which the emptiest are written anew, so that files do not get many."""


class Live:
    """The live records of one part, oldest first: a later one holds the newer state of a series.

    Attributes:
        part: what was saved; another object under the same name is another part.
    """

    def __init__(self, part: Stateful) -> None:
        self.part = part
        self.places: list[Place] = []
        self._held: list[int] = []  # series each record was written with
        self._where = np.zeros(0, np.int32)  # of each series its record, -1 = none

    def copy(self) -> Self:
        """One that can be added to while this one still counts."""
        other = copy.copy(self)
        other.places, other._held, other._where = [*self.places], [*self._held], self._where.copy()
        return other

    def recorded(self, keys: Ints) -> Bools:
        """Which of these series, ascending, have a record."""
        known = keys[: np.searchsorted(keys, len(self._where))]
        found = np.zeros(len(keys), np.bool_)
        found[: len(known)] = self._where[known] >= 0
        return found

    def add(self, place: Place, keys: Ints) -> None:
        """There is a newer record of these series, ascending, at least one."""
        if int(keys[-1]) >= len(self._where):
            room = np.full(max(int(keys[-1]) + 1, len(self._where) * 3 // 2), -1, np.int32)
            room[: len(self._where)] = self._where
            self._where = room
        self._where[keys] = len(self.places)
        self.places.append(place)
        self._held.append(len(keys))

    def drop_outdated(self) -> None:
        """Forget the records no series of which is live."""
        alive = self._counts() > 0
        if alive.all():
            return
        numbers = np.append(
            np.cumsum(alive, dtype=np.int32) - 1, np.int32(-1)
        )  # the last: of series without record
        self._where = numbers[self._where]
        self.places = [place for place, kept in zip(self.places, alive.tolist(), strict=True) if kept]
        self._held = [held for held, kept in zip(self._held, alive.tolist(), strict=True) if kept]

    def weights(self) -> list[float]:
        """Bytes of each record that its live series account for."""
        counts = self._counts().tolist()
        return [p.length * n / held for p, n, held in zip(self.places, counts, self._held, strict=True)]

    def series_in(self, chosen: set[int]) -> Ints:
        """The series whose record lies in one of these segments, ascending."""
        inside = np.array([place.segment in chosen for place in self.places] + [False])
        return np.flatnonzero(inside[self._where])

    def _counts(self) -> Ints:
        return np.bincount(self._where[self._where >= 0], minlength=len(self.places))


def segments_of(live: Iterable[Live]) -> set[int]:
    """The segments that hold live records."""
    return {place.segment for one in live for place in one.places}


def worn(live: Mapping[str, Live], sizes: Mapping[int, int], room: int) -> dict[str, Ints]:
    """The series to write anew so that the segments with the most outdated records can go.

    Args:
        live: by name of the part.
        sizes: bytes of each segment.
        room: about as many bytes may be written for it.

    Returns:
        By name of the part, ascending; nothing where outdated records are few.
    """
    weights: Counter[int] = Counter()
    for one in live.values():
        for place, weight in zip(one.places, one.weights(), strict=True):
            weights[place.segment] += round(weight)
    waste = sum(sizes.values()) - 2 * weights.total() - SLACK
    many = len(weights) - MANY
    chosen: set[int] = set()
    for segment, weight in sorted(weights.items(), key=lambda item: item[1] / sizes[item[0]]):
        if (waste <= 0 and many <= 0) or (weight > room and chosen):
            break
        chosen.add(segment)
        waste, many, room = waste - (sizes[segment] - weight), many - 1, room - weight
    found = {name: one.series_in(chosen) for name, one in live.items()} if chosen else {}
    return {name: keys for name, keys in found.items() if len(keys)}
