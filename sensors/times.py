"""Times at the edge: text and numbers in many units become int64 nanoseconds since the epoch, UTC."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Literal

TimeUnit = Literal["ns", "us", "ms", "s", "iso"]

NANOSECONDS: dict[str, int] = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9}

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def from_iso(text: str, zone: tzinfo | None = None) -> int:
    """Nanoseconds since the epoch of an ISO 8601 time, up to nine digits of a second.

    Args:
        text: such as `2026-01-31T12:00:00.123456789Z` or `2026-01-31 13:00:00+01:00`.
        zone: of a text without an offset.

    Raises:
        ValueError: if it is no time, or has no offset and `zone` is None.
    """
    body, digits, tail = text.strip(), "", ""
    point = body.find(".", 16)
    if point > 0:
        end = point + 1
        while end < len(body) and body[end].isdigit():
            end += 1
        digits, tail = body[point + 1 : end], body[end:]
        body = body[:point] + tail
    moment = datetime.fromisoformat(body)
    if moment.tzinfo is None:
        if zone is None:
            raise ValueError(f"{text!r} has no offset from UTC; set time_zone")
        moment = moment.replace(tzinfo=zone)
    whole = (moment - _EPOCH) // _MICROSECOND * 1000
    return whole + (int(digits[:9].ljust(9, "0")) if digits else 0)


def moment(text: str) -> int:
    """A configured point in time: an ISO time with offset, or empty for now. Nanoseconds since the epoch."""
    return from_iso(text) if text else time.time_ns()
