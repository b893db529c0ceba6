"""Times at the edge: text and numbers in many units become int64 nanoseconds since the epoch, UTC."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from typing import Literal

TimeUnit = Literal["ns", "us", "ms", "s", "iso"]

NANOSECONDS: dict[str, int] = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9}

EXACT = 2.0**53
"""Nanoseconds up to which a double holds each one; beyond, it is good for microseconds."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_FRACTION = re.compile(r"([.,])([0-9]+)")
_ZONE = re.compile(r"\s*(?:UTC|GMT|Z)$|\s+(?=[+-][0-9]{2}:?[0-9]{0,2}$)", re.IGNORECASE)
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", re.ASCII)


def split_iso(text: str) -> tuple[datetime, int]:
    """An ISO 8601 time without the fraction of its second, and the fraction in ns, up to nine digits.

    Args:
        text: such as `2026-01-31T12:00:00.123456789Z`, `2026-01-31 13:00:00,5 +0100` or `2026-01-31 12:00 UTC`.

    Raises:
        ValueError: if it is no time.
    """
    body, digits = text.strip(), ""
    point = body.find(".", 15) if len(body) > 20 else -1  # `fromisoformat` knows short ones
    if point < 0 and len(body) > 20:
        point = body.find(",", 15)
    if point > 0:
        end = point + 1
        while end < len(body) and body[end].isdigit():
            end += 1
        digits, body = body[point + 1 : end], body[:point] + body[end:]
    try:
        moment = datetime.fromisoformat(body)
    except ValueError:
        zone = _ZONE.search(body)
        if zone is None:
            raise
        moment = datetime.fromisoformat(body[: zone.start()] + (body[zone.end() :] or "Z"))
    return moment, int(digits[:9].ljust(9, "0")) if digits else 0


def nanoseconds(moment: datetime) -> int:
    """Since the epoch, of a time with a zone."""
    return (moment - _EPOCH) // _MICROSECOND * 1000


def from_iso(text: str, zone: tzinfo | None = None) -> int:
    """Nanoseconds since the epoch of an ISO 8601 time, up to nine digits of a second.

    Args:
        text: as for `split_iso`.
        zone: of a text without an offset.

    Raises:
        ValueError: if it is no time, or has no offset and `zone` is None.
    """
    moment, fraction = split_iso(text)
    if moment.tzinfo is None:
        if zone is None:
            raise ValueError(f"{text!r} has no offset from UTC; set time_zone")
        moment = moment.replace(tzinfo=zone)
    return nanoseconds(moment) + fraction


def from_float(value: float, factor: int) -> int:
    """Nanoseconds of a number of units of `factor` ns, exact to the microsecond, or the nanosecond if it holds that.

    Raises:
        ValueError, OverflowError: if it is no finite number.
    """
    if abs(value * factor) < EXACT:
        return round(value * factor)
    return round(value * (factor / 1000)) * 1000


def from_digits(text: str, factor: int) -> int:
    """Nanoseconds of the digits of a number in units of `factor` ns, to the last of them.

    Raises:
        ValueError: if the text is no number, or one beyond all times.
    """
    text = text.strip()
    if text.count(",") == 1 and "." not in text:
        text = text.replace(",", ".")
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"{text!r} is no number")
    value = Decimal(text)
    if value.adjusted() > 20:
        raise ValueError(f"{text!r} is beyond all times")
    return round(value * factor)


def moment(text: str) -> int:
    """A configured point in time: an ISO time with offset, or empty for now. Nanoseconds since the epoch."""
    return from_iso(text) if text else time.time_ns()
