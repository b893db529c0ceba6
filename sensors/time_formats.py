"""Times as exports write them: by a format, or recognised where they can be nothing else."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone

from sensors.source import short
from sensors.times import split_iso

_CLOCK = r"""
    (?:(?:,?\s+|T|:)                                                    # a blank, or Apache's colon
      (?P<hour>\d{1,2})[:.](?P<minute>\d{2})(?:[:.](?P<second>\d{2})(?:[.,](?P<part>\d+))?)?
      (?:\s*(?P<half>[ap])\.?m\.?)?(?:\s*Uhr)?
      (?:\s*(?P<zone>UTC|GMT|Z|[+-]\d{2}:?\d{2}))?
    )?"""
_WEEKDAY = r"(?:[^\W\d]{2,10}\.?,?\s+)?"
_KINDS: dict[str, re.Pattern[str]] = {
    name: re.compile(_WEEKDAY + date + _CLOCK, re.VERBOSE | re.IGNORECASE | re.ASCII)
    for name, date in {
        "year, month, day": r"(?P<y>\d{4})(?P<sign>[-/.])(?P<m>\d{1,2})(?P=sign)(?P<d>\d{1,2})",
        "day.month.year": r"(?P<d>\d{1,2})\.\s?(?P<m>\d{1,2})\.\s?(?P<y>\d{4}|\d{2})",
        "two numbers and the year": r"(?P<a>\d{1,2})(?P<sign>[-/])(?P<b>\d{1,2})(?P=sign)(?P<y>\d{4}|\d{2})",
        "day, name of the month, year": r"(?P<d>\d{1,2})\.?[\s/-]+(?P<name>[a-zä]{3,9})\.?[\s/-]+(?P<y>\d{4}|\d{2})",
        "name of the month, day, year": r"(?P<name>[a-zä]{3,9})\.?\s+(?P<d>\d{1,2}),?\s+(?P<y>\d{4})",
    }.items()
}
_CTIME = re.compile(r"[a-z]{3}\s+[a-z]{3}\s+\d{1,2}\s+\d{1,2}:\d{2}:\d{2}\s+\d{4}", re.IGNORECASE)
_MONTHS = {
    name: number
    for number, names in enumerate(
        ("jan", "feb", "mar mär mrz", "apr", "may mai", "jun", "jul", "aug", "sep", "oct okt", "nov", "dec dez"), 1
    )
    for name in names.split()
}
_LONG = re.compile(r"([.,][0-9]{6})([0-9]{1,3})[0-9]*")
_SAMPLE = datetime(2026, 12, 31, 13, 45, 59, tzinfo=UTC)


class AmbiguousTimeError(ValueError):
    """A time that can be read in two ways; says what to do."""


@dataclass
class TimeTexts:
    """Texts that are times.

    Attributes:
        format: as of `strptime`; empty = ISO 8601, or one of the common exports.
        note: told once how times that are no ISO 8601 are read.
    """

    format: str = ""
    note: Callable[[str], None] = lambda _: None
    _order: str = field(default="", init=False)  # of day and month, once a time has shown it

    def __post_init__(self) -> None:
        if not self.format:
            return
        try:
            again = datetime.strptime(_SAMPLE.strftime(self.format), self.format)  # noqa: DTZ007
        except (ValueError, re.error) as error:
            raise ValueError(f"time_format = {self.format!r} is no format: {error}") from error
        if again.date() != _SAMPLE.date():
            raise ValueError(f"time_format = {self.format!r} does not say year, month and day")
        if "%I" in self.format and "%p" not in self.format:
            raise ValueError(f"time_format = {self.format!r} has hours of twelve (%I), but no %p")

    def read(self, text: str) -> tuple[datetime, int]:
        """The time without the fraction of its second, and the fraction in ns; without a zone, if it has none.

        Raises:
            ValueError: if it is no time.
        """
        if self.format:
            return self._formatted(text.strip())
        try:
            return split_iso(text)
        except ValueError:
            return self._recognised(text.strip())

    def _formatted(self, text: str) -> tuple[datetime, int]:
        long = _LONG.search(text) if "%f" in self.format else None
        beyond = 0
        if long is not None:  # strptime knows six digits
            beyond = int(long[2].ljust(3, "0"))
            text = text[: long.end(1)] + text[long.end() :]
        moment = datetime.strptime(text, self.format)  # noqa: DTZ007 - the zone is the codec's
        if moment.tzinfo is None and "%Z" in self.format:
            moment = moment.replace(tzinfo=UTC)  # strptime takes UTC and GMT, and says nothing of it
        return moment.replace(microsecond=0), moment.microsecond * 1000 + beyond

    def _recognised(self, text: str) -> tuple[datetime, int]:
        if len(text) > 64:
            raise ValueError("too long for a time")
        for name, kind in _KINDS.items():
            found = kind.fullmatch(text)
            if found is not None:
                day, month, how = self._date(found, name, text)
                moment = _moment(found, day, month)
                self.note(f"times such as {short(text)} are read as {how}")
                return moment
        if _CTIME.fullmatch(text):
            whole = datetime.strptime(" ".join(text.split()), "%a %b %d %H:%M:%S %Y")  # noqa: DTZ007
            self.note(f"times such as {short(text)} are read as those of ctime")
            return whole, 0
        raise ValueError(f"{short(text)} is no time")

    def _date(self, found: re.Match[str], name: str, text: str) -> tuple[int, int, str]:
        """Day and month, and the words for their order."""
        parts = found.groupdict()
        if "name" in parts:
            return int(parts["d"]), _MONTHS.get(parts["name"][:3].lower(), 0), name
        if "a" not in parts:
            return int(parts["d"]), int(parts["m"]), name
        first, second = int(parts["a"]), int(parts["b"])
        if len(parts["y"]) == 2 and first > 12:
            raise AmbiguousTimeError(f"{short(text)} may begin with the day or the year; set time_format")
        order = "day/month/year" if first > 12 else "month/day/year" if second > 12 else self._order
        if not order:
            raise AmbiguousTimeError(
                f"{short(text)} may begin with the day or the month; "
                'set time_format, such as "%d/%m/%Y %H:%M:%S" or "%m/%d/%Y %I:%M:%S %p"'
            )
        if self._order and order != self._order:
            raise AmbiguousTimeError(f"{short(text)} is no {self._order}, as times before were; set time_format")
        self._order = order
        return (first, second, order) if order[0] == "d" else (second, first, order)


def _moment(found: re.Match[str], day: int, month: int) -> tuple[datetime, int]:
    year = int(found["y"])
    if len(found["y"]) == 2:
        year += 2000 if year < 69 else 1900  # as strptime has it
    hour = int(found["hour"] or 0)
    if found["half"]:
        if not 1 <= hour <= 12:
            raise ValueError("no hour of twelve")
        hour = hour % 12 + (12 if found["half"].lower() == "p" else 0)
    moment = datetime(year, month, day, hour, int(found["minute"] or 0), int(found["second"] or 0))  # noqa: DTZ001
    zone = (found["zone"] or "").upper()
    if zone:
        sign, digits = zone[0], zone[1:].replace(":", "")
        away = timedelta(hours=int(digits[:2]), minutes=int(digits[2:])) if sign in "+-" else timedelta(0)
        moment = moment.replace(tzinfo=timezone(-away if sign == "-" else away))
    return moment, int((found["part"] or "0")[:9].ljust(9, "0"))
