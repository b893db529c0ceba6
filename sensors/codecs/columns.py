"""Columns of whatever a sender wrote become numbers, texts and times; what cannot be read is missing."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import numpy.typing as npt

from sensors.batch import Floats, Ints
from sensors.times import NANOSECONDS, TimeUnit, from_iso

Bools = npt.NDArray[np.bool_]

_PLAIN = {int, float}
_NUMBER = re.compile(r"\s*[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?\s*", re.ASCII)
_ODD = re.compile(r"[^0-9.eE+-]")  # what `float` may read though it is no number as we mean it
_DIGITS = re.compile(r"[0-9]+")
_MISSING = -(2**63)


def number(value: object) -> float:
    """A number as it was meant: 12.5, "12.5" and true are 12.5, 12.5 and 1; NaN for anything else."""
    if isinstance(value, str):
        return float(value) if _NUMBER.fullmatch(value) else math.nan
    if isinstance(value, int | float):  # a bool is an int
        try:
            return float(value)
        except OverflowError:
            return math.inf
    return math.nan


def numbers(column: list[Any], *, plain: bool = False) -> tuple[Floats, int]:
    """The column as `(n,)` finite numbers or NaN, and how many values there were that are no such number.

    Null and absent values (None) are missing, which is no fault. `plain`: all are known to be int or float.
    """
    kinds = _PLAIN if plain else set(map(type, column))
    if kinds <= _PLAIN:
        try:
            result = np.array(column, np.float64)
        except OverflowError:
            result = np.array([number(value) for value in column], np.float64)
        absent = 0
    elif kinds == {str} and not _ODD.search("".join(column)):
        try:
            result = np.array(list(map(float, column)), np.float64)
        except ValueError:
            result = np.array([number(value) for value in column], np.float64)
        absent = 0
    else:
        result = np.array([number(value) for value in column], np.float64)
        absent = column.count(None)
    finite = np.isfinite(result)
    if finite.all():
        return result, 0
    result[~finite] = np.nan
    return result, len(column) - int(np.count_nonzero(finite)) - absent


def text(value: object) -> str | None:
    """A text as it was meant: numbers and true or false in their JSON form; None for anything else."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value) if abs(value) < 2**64 else None
    if isinstance(value, float) and math.isfinite(value):
        return repr(value)
    return None


@dataclass
class Clock:
    """Reads the time column, and refuses times that can only be a mistake.

    Attributes:
        unit: of numbers; `iso` = ISO 8601 text.
        zone: name of the time zone of texts without an offset; empty = such texts are refused.
        earliest: first believable time, ISO 8601.
        latest: last believable time.
    """

    unit: TimeUnit
    zone: str
    earliest: str
    latest: str
    reason: str = field(default="", init=False)

    def __post_init__(self) -> None:
        if self.unit not in (*NANOSECONDS, "iso"):
            raise ValueError(f"time_unit = {self.unit!r} is unknown; known: ns, us, ms, s, iso")
        self._zone: tzinfo | None = None
        if self.zone:
            try:
                self._zone = ZoneInfo(self.zone)
            except (ZoneInfoNotFoundError, ValueError, OSError) as error:
                raise ValueError(f"time_zone = {self.zone!r} is unknown") from error
        self._from, self._to = from_iso(self.earliest), from_iso(self.latest)

    def times(self, column: list[Any], *, plain: bool = False) -> tuple[Ints, Bools]:
        """`(n,)` ns since the epoch and `(n,)` whether it is a believable time; `reason` says what is wrong.

        `plain`: all are known to be int or float.
        """
        exact: Ints | None = None
        raw = None if self.unit == "iso" else _whole(column, plain)
        if raw is not None:
            factor = NANOSECONDS[self.unit]
            if int(np.abs(raw).max()) <= 2**63 // factor - 1:
                exact = raw if factor == 1 else raw * factor
        if exact is None:
            exact = np.array([self._one(value) for value in column], np.int64)
        good: Bools = (exact >= self._from) & (exact <= self._to)
        if not good.all():
            worst = int(np.flatnonzero(~good)[-1])
            self.reason = self._explain(column[worst], int(exact[worst]))
        return exact, good

    def _one(self, value: object) -> int:
        if isinstance(value, bool):
            return _MISSING
        try:
            if self.unit == "iso":
                return _within(from_iso(value, self._zone)) if isinstance(value, str) else _MISSING
            factor = NANOSECONDS[self.unit]
            if isinstance(value, str):
                value = int(value) if value.strip().lstrip("+-").isdigit() else number(value)
            if isinstance(value, int):
                return _within(value * factor)
            if isinstance(value, float) and math.isfinite(value):
                return _within(round(value * factor))
        except (ValueError, OverflowError):
            pass
        return _MISSING

    def _explain(self, value: object, time: int) -> str:
        if value is None:
            return "no time in the frame"
        shown = _short(value)
        wrong = (
            f"{shown} in {self.unit} is {_date(time)}" if time != _MISSING else f"{shown} is no time in {self.unit}"
        )
        if isinstance(value, int | float) and not isinstance(value, bool):
            for unit, factor in NANOSECONDS.items():
                if self._from <= value * factor <= self._to:
                    return f"{wrong}; is its unit {unit}?"
        if time == _MISSING:
            local = self.unit == "iso" and isinstance(value, str) and not self.zone and _is_time(value)
            return f"{wrong} (local times need time_zone)" if local else wrong
        return f"{wrong}, which is not between {self.earliest} and {self.latest}"


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


def _is_time(value: str) -> bool:
    """Whether it would be a time if its zone were known."""
    try:
        from_iso(value, UTC)
    except (ValueError, OverflowError):
        return False
    return True


def _within(time: int) -> int:
    return time if -(2**63) < time < 2**63 else _MISSING


def _date(time: int) -> str:
    try:
        return datetime.fromtimestamp(time // 10**9, UTC).isoformat()
    except (ValueError, OverflowError, OSError):  # pragma: no cover - int64 ns are all within datetime's range
        return f"{time} ns"


def _short(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."
