"""How the log is written: one line an event, in the journal's form where the journal reads it, and never a flood."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import TextIO

_PRIORITY = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}


class OneLine(logging.Formatter):
    """One line an event: for the journal with the level as `<N>`, else with the time in front."""

    def __init__(self, journal: bool) -> None:
        super().__init__("%(message)s" if journal else "%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S")
        self._journal = journal

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        if not self._journal:
            return line
        return f"<{_PRIORITY.get(record.levelno, 5)}>" + " | ".join(
            part for part in line.splitlines() if part.strip()
        )


class RateLimit(logging.Filter):
    """Lets a message through `burst` times in `period` seconds; the next one says how many were left out.

    A message is its constant text and its first argument (the port, the broker), so that one flapping port does
    not hide another. At most `known` messages are remembered.
    """

    def __init__(
        self, burst: int = 5, period: float = 30.0, known: int = 256, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__()
        self._burst, self._period, self._known, self._clock = burst, period, known, clock
        self._seen: OrderedDict[tuple[object, ...], tuple[float, int]] = OrderedDict()

    def filter(self, record: logging.LogRecord) -> bool:
        first = record.args[0] if isinstance(record.args, tuple) and record.args else None
        message = (record.name, record.levelno, record.msg, str(first))
        now = self._clock()
        since, count = self._seen.pop(message, (now, 0))
        left_out = 0
        if now - since >= self._period:
            left_out, since, count = max(0, count - self._burst), now, 0
        self._seen[message] = (since, count + 1)
        while len(self._seen) > self._known:
            self._seen.popitem(last=False)
        if count >= self._burst:
            return False
        if left_out:
            record.msg, record.args = f"{record.getMessage()} ({left_out} more like it were left out)", None
        return True


def log_to_stderr(level: str = "INFO", stream: TextIO | None = None) -> None:
    """Send the log to stderr, one line an event, in the journal's form if the journal reads it."""
    stream = stream or sys.stderr
    handler = logging.StreamHandler(stream)
    handler.setFormatter(OneLine(_read_by_journal(stream)))
    handler.addFilter(RateLimit())
    logging.basicConfig(level=level, handlers=[handler], force=True)


def _read_by_journal(stream: TextIO) -> bool:
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"
