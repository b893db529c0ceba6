"""How the readings of a source arrive: how far their times are from the host's clock, and how far behind newer ones.

A device whose clock is an hour wrong is no error that anything could refuse: its readings have a believable time, and
yet nothing comes of them, or alerts an hour old. Only who knows both clocks can tell.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from sensors.batch import Batch, Ints
from sensors.units import SECOND

FAR = 60 * SECOND
"""A clock that is no further off is not worth a word."""

_MOST_MACHINES, _SAMPLE = 20, 512
_ZONE, _ZONE_TOLERANCE, _FURTHEST_ZONE = 900 * SECOND, 120 * SECOND, 14 * 3600 * SECOND


@dataclass(slots=True)
class _Lead:
    """How far the clock of a machine is ahead of the host's, ns; negative = behind.

    Attributes:
        first, last: host times of the readings looked at.
        least, most: leads of these.
        batches: in which they came.
    """

    first: int
    last: int
    least: int
    most: int
    batches: int = 1

    @property
    def steady(self) -> bool:
        """Whether it is a clock that is wrong: a backlog catches up, what is old comes faster than time goes by."""
        watched = self.last - self.first
        spread = min(30 * SECOND, max(2 * SECOND, watched // 4))
        return self.batches >= 3 and watched >= SECOND and self.most - self.least <= spread


@dataclass(slots=True)
class ArrivalWatch:
    """Looks at each batch of a source; costs two or three passes over its times.

    Attributes:
        ahead: readings further ahead of the host's clock than this are refused, ns; None = none are.
        keeps_time: whether the source keeps a time of its own, with which the host's has nothing to do.
        rows: readings.
        refused: how many were too far ahead, how far the furthest was, and of which machine.
        disorder: by how much a reading came after a newer one, at most, ns.
        empty: columns that came without a value so far.
    """

    ahead: int | None = None
    keeps_time: bool = False
    rows: int = 0
    refused: int = 0
    furthest: int = 0
    furthest_machine: str = ""
    disorder: int = 0
    empty: set[str] = field(default_factory=set)
    _columns: set[str] = field(default_factory=set)
    _newest: int = -(2**62)
    _leads: dict[str, _Lead] = field(default_factory=dict)

    def look(self, batch: Batch) -> None:
        """Note how the rows have come."""
        if not len(batch):
            return
        self.rows += len(batch)
        self._look_at_columns(batch)
        time, now = batch.time, batch.read_at
        low, high, sorted_ = _bounds(time)
        if self.ahead is not None and high > now + self.ahead:
            future = time > now + self.ahead
            self._refuse(batch, future, high - now)
            time = time[~future]
            if not len(time):
                return
            low, high, sorted_ = _bounds(time)
        if not sorted_:
            self.disorder = max(self.disorder, int((np.maximum.accumulate(time) - time).max()))
        self.disorder = max(self.disorder, min(self._newest - low, 2**62))
        self._newest = max(self._newest, high)
        if not self.keeps_time and (self._leads or low < now - FAR or high > now + FAR):
            self._look_at_clocks(batch)

    def wrong_clocks(self) -> Iterator[tuple[str, int]]:
        """Machines whose clock is wrong, and by how much it is ahead; what was seen of them is forgotten."""
        leads, self._leads = self._leads, {}
        for machine, lead in leads.items():
            if lead.steady:
                yield machine, lead.least if lead.least > 0 else lead.most

    def _refuse(self, batch: Batch, future: np.ndarray[tuple[int], np.dtype[np.bool_]], lead: int) -> None:
        self.refused += int(np.count_nonzero(future))
        if lead > self.furthest:
            self.furthest = lead
            self.furthest_machine = batch.machines[int(batch.machine[int(batch.time.argmax())])]

    def _look_at_clocks(self, batch: Batch) -> None:
        """Of a large batch, at a sample: a clock that is wrong is so in each reading."""
        step = 1 + len(batch) // _SAMPLE
        lead: Ints = batch.time[::step] - batch.read_at
        codes, index = np.unique(batch.machine[::step], return_inverse=True)
        least, most = np.full(len(codes), 2**62), np.full(len(codes), -(2**62))
        np.minimum.at(least, index, lead)
        np.maximum.at(most, index, lead)
        far = (least > FAR) | (most < -FAR)
        if self.ahead is not None:
            far &= most <= self.ahead  # these are refused, and told as such
        for code in codes[~far].tolist() if self._leads else ():
            self._leads.pop(batch.machines[code], None)
        for place in np.flatnonzero(far)[:_MOST_MACHINES].tolist():
            self._note(batch.machines[codes[place]], batch.read_at, int(least[place]), int(most[place]))

    def _note(self, machine: str, now: int, least: int, most: int) -> None:
        known = self._leads.get(machine)
        if known is None:
            if len(self._leads) < _MOST_MACHINES:
                self._leads[machine] = _Lead(now, now, least, most)
            return
        known.last, known.batches = now, known.batches + 1
        known.least, known.most = min(known.least, least), max(known.most, most)

    def _look_at_columns(self, batch: Batch) -> None:
        if not batch.values.keys() <= self._columns:
            self.empty |= batch.values.keys() - self._columns
            self._columns |= batch.values.keys()
        if self.empty:
            self.empty -= {
                name for name in self.empty & batch.values.keys() if not np.isnan(batch.values[name]).all()
            }


def _bounds(time: Ints) -> tuple[int, int, bool]:
    """The earliest, the latest, and whether each is no older than the one before."""
    if bool((time[1:] >= time[:-1]).all()):
        return int(time[0]), int(time[-1]), True
    return int(time.min()), int(time.max()), False


def in_words(duration: int) -> str:
    """A duration as people say it: `2 h`, `1 h 59 min`, `90 s`, `1.5 s`."""
    seconds = abs(duration) / SECOND
    if seconds < 120:
        return f"{seconds:.3g} s"
    minutes = round(seconds / 60)
    days, hours = divmod(minutes // 60, 24)
    parts = ((days, "d"), (hours, "h"), (minutes % 60 if not days else 0, "min"))
    return " ".join(f"{count} {unit}" for count, unit in parts if count)


def is_time_zone(lead: int) -> bool:
    """Whether a clock that is wrong by this much probably shows a local time."""
    size = abs(lead)
    off = min(size % _ZONE, _ZONE - size % _ZONE)
    return 2 * _ZONE - _ZONE_TOLERANCE <= size <= _FURTHEST_ZONE + _ZONE_TOLERANCE and off <= _ZONE_TOLERANCE
