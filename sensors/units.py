"""Durations as people write them."""

from __future__ import annotations

import re
from typing import Any, Self

_UNITS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "min": 60 * 10**9, "h": 3600 * 10**9,
          "d": 86400 * 10**9}  # fmt: skip
_PART = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([a-z]+)")

SECOND = 10**9
MILLISECOND = 10**6


LONGEST = 36_500 * 86_400 * SECOND
"""Nanoseconds that a duration has at most: added to any time of today it is still one."""


class Duration(int):
    """A length of time in nanoseconds, written as text: `"5s"`, `"100ms"`, `"1h 30m"`, `"7d"`.

    Raises:
        ValueError: if text has no unit or an unknown one, or the duration is negative.
    """

    __slots__ = ()

    def __new__(cls, value: str | int) -> Self:
        nanoseconds = _parse(value) if isinstance(value, str) else value
        if isinstance(value, bool) or not isinstance(nanoseconds, int):
            raise ValueError(f"{value!r} is not a duration; write it with its unit, as in '5s' or '100ms'")
        if nanoseconds < 0:
            raise ValueError(f"{value!r} is negative; a duration is zero or longer")
        if nanoseconds > LONGEST:
            raise ValueError(f"{value!r:.40} is too long; a duration is at most 36500d")
        return super().__new__(cls, nanoseconds)

    @property
    def seconds(self) -> float:
        """The duration in seconds."""
        return self / SECOND

    def __str__(self) -> str:
        for name in ("d", "h", "m", "s", "ms", "us"):
            if self and self % _UNITS[name] == 0:
                return f"{int(self) // _UNITS[name]}{name}"
        return f"{int(self)}ns"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        """How pydantic checks a field of this type; text only, since a bare number has no unit."""
        from pydantic_core import core_schema  # only configuration needs pydantic

        def check(value: object) -> Duration:
            if isinstance(value, cls):
                return value
            if not isinstance(value, str):
                raise ValueError(f"{value!r} has no unit; write a duration as text, as in '5s' or '100ms'")
            return cls(value)

        return core_schema.no_info_plain_validator_function(check)


def _parse(text: str) -> int:
    total, position = 0.0, 0
    exact = 0
    while position < len(text.rstrip()):
        part = _PART.match(text, position)
        if part is None or part[2] not in _UNITS:
            raise ValueError(f"{text!r} is not a duration; write number and unit ({', '.join(_UNITS)}), as in '5s'")
        number, unit = part[1], _UNITS[part[2]]
        if "." in number:
            total += min(float(number) * unit, 2.0 * LONGEST)
        else:
            exact += (int(number) if len(number) < 30 else 2 * LONGEST) * unit
        position = part.end()
    if position == 0:
        raise ValueError("an empty text is not a duration; write number and unit, as in '5s'")
    return exact + round(total)
