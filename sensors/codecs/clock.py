"""The time column: numbers, texts and local times become ns since the epoch; what can only be a mistake is refused."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import numpy.typing as npt

from sensors.batch import Ints, Text
from sensors.source import Counters, short
from sensors.time_formats import AmbiguousTimeError, TimeTexts
from sensors.times import EXACT, NANOSECONDS, TimeUnit, from_digits, from_float, from_iso, nanoseconds, split_iso
from sensors.units import SECOND

Bools = npt.NDArray[np.bool_]

_DIGITS = re.compile(r"[0-9]+")
_MISSING = -(2**63)
_MINUTE = 60 * SECOND
_TIMELY = 20 * _MINUTE
"""A device whose time is this near to the time of reading has its clock right."""
_DISORDER = 5 * _MINUTE
"""A step back that is shorter comes from rows in disorder, not from a clock that was set back an hour."""
_SLOW = 30 * _MINUTE
"""A sender of so few rows may step back by so little, or not at all, and mean the next hour."""
_LONG_AGO = 24 * 60 * _MINUTE
_MOST = 65_536
"""Machines whose last local time is remembered."""


@dataclass
class Clock:
    """Reads the time column, and refuses times that can only be a mistake.

    A local time of the hour that autumn repeats is told by the time of reading where that is near; by the order of
    the rows of its machine otherwise: one that lies before the row before it is the second.

    Attributes:
        unit: of numbers; `iso` = text.
        zone: name of the time zone of texts without an offset; empty = such texts are refused.
        earliest: first believable time, ISO 8601.
        latest: last believable time.
        format: of texts, as of `strptime`; empty = ISO 8601 and the common exports.
        counters: of the codec.
        reason: what was wrong with the last time that was refused.
    """

    unit: TimeUnit
    zone: str
    earliest: str
    latest: str
    format: str = ""
    counters: Counters = field(default_factory=Counters)
    reason: str = field(default="", init=False)

    def __post_init__(self) -> None:
        if self.unit not in (*NANOSECONDS, "iso"):
            raise ValueError(f"time_unit = {self.unit!r} is unknown; known: ns, us, ms, s, iso")
        if self.format and self.unit not in ("ns", "iso"):
            raise ValueError(f"time_format reads texts, time_unit = {self.unit!r} numbers; leave one of them out")
        self._is_text = self.unit == "iso" or bool(self.format)
        self._texts = TimeTexts(self.format, lambda said: self.counters.note("time", said))
        self._zone: tzinfo | None = None
        if self.zone:
            try:
                self._zone = ZoneInfo(self.zone)
            except (ZoneInfoNotFoundError, ValueError, OSError) as error:
                raise ValueError(f"time_zone = {self.zone!r} is unknown") from error
        self._from, self._to = from_iso(self.earliest), from_iso(self.latest)
        self._day, self._changes = 0, False  # ordinal of a day, and whether the offset changes about it
        self._unsure: dict[int, datetime] = {}  # row -> local time on such a day
        self._before: dict[str, tuple[int, int]] = {}  # machine -> its last time on such days, and the step to it

    def reset(self) -> None:
        """The rows that come next do not follow those before."""
        self._before.clear()

    def times(
        self,
        column: list[Any],
        *,
        plain: bool = False,
        machines: Text | None = None,
        near: int | Sequence[int] = 0,
    ) -> tuple[Ints, Bools]:
        """`(n,)` ns since the epoch and `(n,)` whether it is a believable time; `reason` says what is wrong.

        Args:
            column: as sent.
            plain: all are known to be int or float.
            machines: of each row.
            near: the time of reading, of all or each, ns; 0 = not known.
        """
        exact = None if self._is_text else self._numbers(column, plain)
        if exact is None:
            self._unsure.clear()
            exact = np.array([self._one(value, row) for row, value in enumerate(column)], np.int64)
            if self._unsure:
                self._settle(exact, machines, near)
        good: Bools = (exact >= self._from) & (exact <= self._to)
        if not good.all():
            worst = int(np.flatnonzero(~good)[-1])
            self.reason = self._explain(column[worst], int(exact[worst]))
        return exact, good

    def _numbers(self, column: list[Any], plain: bool) -> Ints | None:
        """The column at once, if all are integers, or all are floats, and none is beyond all times."""
        factor = NANOSECONDS[self.unit]
        raw = _whole(column, plain)
        if raw is not None:
            fits = int(np.abs(raw).max()) <= 2**63 // factor - 1
            if not fits:
                return None
            return raw if factor == 1 else raw * np.int64(factor)
        if set(map(type, column)) != {float}:
            return None
        values = np.array(column)
        size = np.abs(values).max() * factor
        if not size < 2.0**63:
            return None
        if size < EXACT:
            whole: Ints = np.rint(values * factor).astype(np.int64)
            return whole
        if np.abs(values).min() * factor < EXACT:
            return None
        micros: Ints = np.rint(values * (factor / 1000)).astype(np.int64)
        return micros * np.int64(1000)

    def _one(self, value: object, row: int) -> int:
        if isinstance(value, bool):
            return _MISSING
        try:
            if self._is_text:
                return self._text(value, row) if isinstance(value, str) else _MISSING
            factor = NANOSECONDS[self.unit]
            if isinstance(value, str):
                digits = value.strip().lstrip("+-").isdigit()
                return _within(int(value) * factor if digits else from_digits(value, factor))
            if isinstance(value, int):
                return _within(value * factor)
            if isinstance(value, float) and math.isfinite(value):
                return _within(from_float(value, factor))
        except (ValueError, OverflowError, TypeError, ArithmeticError):
            pass
        return _MISSING

    def _text(self, value: str, row: int) -> int:
        try:
            moment, fraction = self._texts.read(value) if self.format else split_iso(value)
        except ValueError:
            moment, fraction = self._texts.read(value)
        if moment.tzinfo is None:
            if self._zone is None:
                return _MISSING
            moment = moment.replace(tzinfo=self._zone)
            day = moment.toordinal()
            if day != self._day:
                self._day, self._changes = day, _changes(moment)
            if self._changes:
                self._unsure[row] = moment
        return _within(nanoseconds(moment) + fraction)

    def _settle(self, exact: Ints, machines: Text | None, near: int | Sequence[int]) -> None:
        """Local times of days on which the clocks change: those that are twice, and those that are not at all."""
        names = None if machines is None else machines.tolist()
        for row, moment in self._unsure.items():
            instant = int(exact[row])
            if instant == _MISSING:
                continue
            turn = _offset(moment) - _offset(moment.replace(fold=1))
            machine = (names[row] if names is not None else "") or ""
            before, step = self._before.get(machine, (0, 0))
            if abs(instant - before) > _LONG_AGO:
                before = step = 0
            if turn > 0:
                clock = near if isinstance(near, int) else near[row]
                instant = _which(instant, instant + turn, before, step, clock)
                exact[row] = instant
                self.counters.note(
                    "repeated hour",
                    f"the clocks of {self.zone} were set back: whether local times such as {moment:%Y-%m-%d %H:%M:%S} "
                    "are the first or the second of that name is told by the order of the rows",
                )
            elif turn < 0:
                self.counters.times_nonexistent += 1
                if not self.counters.bad_time:
                    later = datetime.fromtimestamp(instant // SECOND, self._zone)
                    self.counters.bad_time = (
                        f"{moment:%Y-%m-%d %H:%M:%S} in {self.zone}, read as {later:%H:%M:%S}; "
                        "set time_zone to that of the sender"
                    )
            if len(self._before) >= _MOST:
                self._before.clear()
            self._before[machine] = (instant, instant - before if before and instant > before else step)

    def _explain(self, value: object, time: int) -> str:
        if value is None:
            return "no time in the frame"
        shown = short(value)
        unit = self.format or self.unit
        wrong = f"{shown} in {unit} is {_date(time)}" if time != _MISSING else f"{shown} is no time in {unit}"
        if isinstance(value, int | float) and not isinstance(value, bool):
            for unit, factor in NANOSECONDS.items():
                if self._from <= value * factor <= self._to:
                    return f"{wrong}; is its unit {unit}?"
        if time != _MISSING:
            return f"{wrong}, which is not between {self.earliest} and {self.latest}"
        return f"{wrong}{self._advice(value)}" if isinstance(value, str) else wrong

    def _advice(self, value: str) -> str:
        try:
            moment, _ = (self._texts if self._is_text else TimeTexts()).read(value)
        except AmbiguousTimeError as error:
            return f": {error}"
        except (ValueError, OverflowError, TypeError):
            return "; set time_format" if self._is_text and not self.format else ""
        if not self._is_text:
            return '; set time_unit = "iso"'
        return " (local times need time_zone)" if moment.tzinfo is None and self._zone is None else ""


def _which(first: int, second: int, before: int, step: int, clock: int) -> int:
    """Of the two times that a local time may mean, the one it does."""
    nearer = first if abs(clock - first) <= abs(clock - second) else second
    if clock and (not before or abs(clock - nearer) <= _TIMELY):
        return nearer
    back = before - first
    if back < 0 or not before:
        return first
    if back < _DISORDER and step < _SLOW:
        return first
    return second


def _changes(moment: datetime) -> bool:
    """Whether the offset of the zone changes about this day."""
    noon = moment.replace(hour=12, minute=0, second=0, fold=0)
    try:
        return (noon - timedelta(1)).utcoffset() != (noon + timedelta(1)).utcoffset()
    except OverflowError:
        return False


def _offset(moment: datetime) -> int:
    offset = moment.utcoffset()
    return 0 if offset is None else offset // timedelta(seconds=1) * SECOND


def _whole(column: list[Any], plain: bool) -> Ints | None:
    """The column as integers if all are, or are texts of digits; `plain`: all are known to be int or float."""
    if plain:
        found = np.array(column)
        return found if found.dtype == np.int64 else None
    kinds = set(map(type, column))
    try:
        if kinds == {int}:
            return np.array(column, np.int64)
        if kinds == {str} and _DIGITS.fullmatch("".join(column)):
            return np.array(list(map(int, column)), np.int64)
    except (OverflowError, ValueError):
        pass
    return None


def _within(time: int) -> int:
    return time if -(2**63) < time < 2**63 else _MISSING


def _date(time: int) -> str:
    try:
        return datetime.fromtimestamp(time // 10**9, UTC).isoformat()
    except (ValueError, OverflowError, OSError):  # pragma: no cover - int64 ns are all within datetime's range
        return f"{time} ns"
