"""How far the work on files has come, and how long it will take, on a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from typing import TypeVar

Item = TypeVar("Item")

PATIENCE = 3.0
"""Seconds of work that pass without a word."""
_PAUSE = 0.2
_LOOK = 0.5
"""Seconds after which the rest can be estimated."""


class Meter:
    """A line on stderr that is written anew; none where that is no terminal, or the work will be done soon.

    Args:
        what: is being done.
        total: amount of it, in any unit.
        shown: whether it may be; not where what comes out goes to the terminal itself.
    """

    def __init__(self, what: str, total: float, *, shown: bool = True) -> None:
        self._what, self._total = what, max(total, 1e-9)
        self._began = self._written = time.monotonic()
        self._terminal = shown and sys.stderr.isatty()
        self._shown = False

    def update(self, done: float) -> None:
        """So much is done by now."""
        now = time.monotonic()
        spent = now - self._began
        if not self._terminal or done <= 0 or spent < _LOOK or now - self._written < _PAUSE:
            return
        left = spent * max(0.0, self._total - done) / done
        if spent + left < PATIENCE:
            return
        self._written, self._shown = now, True
        sys.stderr.write(f"\r\x1b[K{self._what}: {min(1.0, done / self._total):.0%}, about {_span(left)} left")
        sys.stderr.flush()

    def close(self) -> None:
        """Take the line away."""
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
            self._shown = False


def progress(items: Sequence[Item], what: str = "evaluating") -> Iterator[Item]:
    """The items, with a line about how many there still are."""
    meter = Meter(what, len(items))
    try:
        for done, item in enumerate(items, 1):
            yield item
            if done < len(items):
                meter.update(done)
    finally:
        meter.close()


def _span(seconds: float) -> str:
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60} min {whole % 60} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60} min"
