"""Numbers as people and their programs write them: decimal marks, groups of thousands, units, words for no value."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from itertools import compress
from typing import Any, Literal

import numpy as np

from sensors.batch import Floats
from sensors.source import Counters, short

Units = Literal["refuse", "strip"]

_PLAIN = {int, float}
_NUMBER = re.compile(r"\s*[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?\s*", re.ASCII)
_ODD = re.compile(r"[^0-9.eE+-]")  # what `float` may read though it is no number as we mean it
_GAPS = " \u00a0\u2009\u202f'\u2019"
"""What stands between groups of three digits and can be no decimal mark."""
_SYMBOLS = '%\u2030\u00b0\ufffd\u00b5$\u20ac\u00a3"'
_UNIT = rf"(?!x)(?:1/)?(?:[^\W\d_]|[{_SYMBOLS}])(?:[^\W\d_]|[{_SYMBOLS}/.*\u00b7^\u00b2\u00b3])*[23]?"
_MEANT = re.compile(rf"[+-]?[0-9][0-9.]*(?:,[0-9.]+)+|[+-]?[0-9]{{1,3}}(?:[{_GAPS}][0-9]{{3}})+(?:[.,][0-9]+)?")
"""What is no text, although the marks of numbers are others."""
_WITH_UNIT = re.compile(rf"\s*[+-]?[0-9]+(?:[.,][0-9]+)?\s?{_UNIT}\s*")
_BEGINS = frozenset("+-\u2212.0123456789")
_MOST = 4096
"""Columns whose unit is remembered."""


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


def _meant(column: list[Any]) -> list[str]:
    """Texts that were meant as numbers, whatever their marks."""
    near = [value.strip() for value in column if type(value) is str and value.lstrip()[:1] in _BEGINS]
    return [value for value in near if _MEANT.fullmatch(value)]


def pattern(decimal: str) -> re.Pattern[str]:
    """Numbers with this decimal mark: digits, or groups of three, a fraction, an exponent, a unit."""
    other = re.escape("," if decimal == "." else ".")
    return re.compile(
        rf"(?P<sign>[+-]?)(?P<whole>[0-9]{{1,3}}(?P<gap>[{_GAPS}])[0-9]{{3}}(?:(?P=gap)[0-9]{{3}})*"
        rf"|[1-9][0-9]{{0,2}}(?P<groups>(?:{other}[0-9]{{3}})+)|[0-9]*)"
        rf"(?:{re.escape(decimal)}(?P<part>[0-9]*))?(?P<power>[eE][+-]?[0-9]+)?(?:\s*(?P<unit>{_UNIT}))?"
    )


_PATTERNS = {mark: pattern(mark) for mark in ".,"}


@dataclass
class NumberReader:
    """Columns of numbers, by the marks that are configured; what does not keep to them is missing and counted.

    A group of three digits is read by itself where it can be nothing else: `1,234.5`, `1,234,567`, `1 234`. Whether
    `1,234` is a thousand or one and a bit has to be said.

    Attributes:
        decimal: the decimal mark.
        thousands: mark between groups of three digits; empty = not said.
        units: whether a unit behind a number is taken off; another one than the first of its column is refused.
        invalid: numbers and texts that say that there is no value.
        counters: of the codec.
    """

    decimal: str
    thousands: str
    units: Units
    invalid: list[float | str]
    counters: Counters
    _unit_of: dict[str, str] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        if self.decimal not in _PATTERNS:
            raise ValueError(f"decimal = {self.decimal!r} must be '.' or ','")
        if self.thousands not in ("", ".", ",", *_GAPS) or self.thousands == self.decimal:
            raise ValueError(
                f"thousands = {self.thousands!r} must be the other mark than decimal, a blank, or empty"
            )
        if self.units not in ("refuse", "strip"):
            raise ValueError(f"units = {self.units!r} must be 'refuse' or 'strip'")
        self._words = {value.strip() for value in self.invalid if isinstance(value, str)}
        self._sentinels = np.array([value for value in self.invalid if not isinstance(value, str)], np.float64)
        self._usual = self.decimal == "." and self.units == "refuse" and not self.thousands
        self._simple = self.decimal == "." and not self.invalid
        self._other = "," if self.decimal == "." else "."

    def read(self, name: str, column: list[Any], *, plain: bool = False) -> Floats:
        """The column as `(n,)` finite numbers or NaN; `plain`: all are known to be int or float."""
        if self._simple:
            result, bad = numbers(column, plain=plain)
            if not bad:
                return result
        column = self._without_words(column)
        result, bad = self._direct(column, plain)
        if bad:
            advice = self._again(name, column, result)
            self._note(name, column, result, advice)
        return self._without_sentinels(result)

    def found(self, name: str, column: list[Any], *, plain: bool = False) -> Floats | None:
        """As `read`, of a column that nobody has named; None if it is one of texts or lists."""
        if self._simple and (plain or type(column[0]) is not str or number(column[0]) == number(column[0])):
            result, bad = numbers(column, plain=plain)
            if not bad:
                return result
        column = self._without_words(column)
        texts = type(column[0]) is str and type(column[-1]) is str and self._usual
        if texts and not any(number(value) == number(value) for value in column):
            meant = _meant(column)
            if all(math.isnan(self._text(name, value)[0]) for value in meant):
                self._look(name, column, meant)
                return None
        result, bad = self._direct(column, plain)
        advice = self._again(name, column, result) if bad else ""
        if bad and np.isnan(result).all():
            # texts or lists may stand in any field, but a NaN was meant as a number
            odd = [value for value in column if type(value) is float and value - value != 0]
            self.counters.note_value(len(odd), name, next(iter(odd), None))
            if not self._usual:
                self._look(name, column, _meant(column))
            return None
        if bad:
            self._note(name, column, result, advice)
        return self._without_sentinels(result)

    def _direct(self, column: list[Any], plain: bool) -> tuple[Floats, int]:
        """What `float` reads at once; `_again` sees to the rest."""
        if self.decimal == "." or plain or str not in set(map(type, column)):
            return numbers(column, plain=plain)
        return numbers(
            [
                value if type(value) is not str else value.replace(",", ".") if "." not in value else "?"
                for value in column
            ]
        )

    def _again(self, name: str, column: list[Any], result: Floats) -> str:
        """Read what is missing by the marks that are configured; what would help with the first that is no number."""
        first = ""
        if str not in set(map(type, column)):
            return first
        for row in np.flatnonzero(np.isnan(result)).tolist():
            value = column[row]
            if type(value) is str:
                result[row], advice = self._text(name, value)
                first = first or advice
        return first

    def _text(self, name: str, text: str) -> tuple[float, str]:
        """The number that a text is; NaN, and what would help, if it is none."""
        text = text.strip().replace("\u2212", "-")
        found = _PATTERNS[self.decimal].fullmatch(text)
        digits = found is not None and (found["whole"] or found["part"])
        if found is None or not digits:
            swapped = _PATTERNS[self._other].fullmatch(text)
            if swapped is not None and (swapped["whole"] or swapped["part"]):
                return math.nan, f'set decimal = "{self._other}"'
            if text[:1] in _BEGINS:
                return math.nan, f'it is no number with decimal = "{self.decimal}"'
            return math.nan, f"if it says that there is no value, set invalid = [{short(text)}]"
        groups, part, unit = found["groups"] or "", found["part"], found["unit"]
        whole = "".join(filter(str.isdigit, found["whole"]))
        unsure = self.thousands or (part is None and len(groups) == 4)
        if groups and self.thousands != self._other and unsure:
            return math.nan, f'it may be {whole}: set thousands = "{self._other}", or else decimal'
        if unit and self.units == "refuse":
            return math.nan, f'set units = "strip" to take off {unit!r}'
        if unit:
            if len(self._unit_of) > _MOST:
                self._unit_of.clear()
            usual = self._unit_of.setdefault(name, unit)
            if usual != unit:
                return math.nan, f"its unit was {usual!r} before"
            self.counters.note(f"unit {name}", f"{name} is in {unit}, which is taken off")
        value = float(f"{found['sign']}{whole or 0}.{part or 0}{found['power'] or ''}")
        return (value, "") if math.isfinite(value) else (math.nan, "")

    def _look(self, name: str, column: list[Any], meant: list[str]) -> None:
        """Point out what was meant as a number in a column that is taken for one of texts."""
        if meant:
            self.counters.note_value(len(meant), name, meant[0], self._text(name, meant[0])[1])
            return
        for value in column:
            if type(value) is str and value[:1] in _BEGINS and _WITH_UNIT.fullmatch(value):
                said = f'{name} has numbers with a unit, such as {short(value)}; units = "strip" takes it off'
                self.counters.note(f"unit {name}", said)
                return

    def _note(self, name: str, column: list[Any], result: Floats, advice: str) -> None:
        odd = [value for value in compress(column, np.isnan(result).tolist()) if value is not None]
        self.counters.note_value(len(odd), name, next(iter(odd), None), advice)

    def _without_words(self, column: list[Any]) -> list[Any]:
        """The column without the texts that say that there is no value."""
        words = self._words
        if not words:
            return column
        kept = [None if type(value) is str and value.strip() in words else value for value in column]
        self.counters.values_invalid += kept.count(None) - column.count(None)
        return kept

    def _without_sentinels(self, result: Floats) -> Floats:
        if len(self._sentinels):
            void = np.isin(result, self._sentinels)
            if void.any():
                self.counters.values_invalid += int(np.count_nonzero(void))
                result[void] = np.nan
        return result
