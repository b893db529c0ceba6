"""A good service: what systemd hears, what the watchdog sees, and how the log is written.

The watchdog is fed only while every critical task makes progress: each calls `Progress.beat` once a round, also in
its back-off, so that a broker that is away is no reason for a restart and a task that hangs is one.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TextIO

logger = logging.getLogger(__name__)

_PRIORITY = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}


@dataclass(frozen=True, slots=True)
class Notifier:
    """Tells systemd how the service is (the protocol of sd_notify(3)). Without systemd it does nothing.

    Attributes:
        address: where systemd listens; a leading `@` means an abstract socket. Empty: nobody listens.
        watchdog_seconds: systemd restarts a service that is silent this long; 0 = no watchdog.
    """

    address: str = ""
    watchdog_seconds: float = 0.0

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Notifier:
        """What systemd said when it started this process."""
        mine = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        limit = environment.get("WATCHDOG_USEC", "0") if mine else "0"
        seconds = int(limit) / 1e6 if limit.isdecimal() else 0.0
        return cls(environment.get("NOTIFY_SOCKET", ""), seconds)

    def ready(self, status: str = "") -> None:
        """Started, or done with a reload: configuration valid, sources and outbox open; brokers may be away."""
        self._send("READY=1", f"STATUS={status}" if status else "")

    def reloading(self) -> None:
        """Reading the configuration again; `ready` ends it. The time stamp must be in the same datagram."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """The stop has begun."""
        self._send("STOPPING=1", "STATUS=stopping")

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._send(f"STATUS={text}")

    def watchdog(self) -> None:
        """Still alive."""
        self._send("WATCHDOG=1")

    def _send(self, *lines: str) -> None:
        if not self.address:
            return
        address = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        text = "\n".join(line.replace("\n", " ") for line in lines if line)
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
                channel.setblocking(False)
                channel.connect(address)
                channel.send(text.encode())
        except OSError as error:
            logger.warning("systemd could not be told: %s", error)


@dataclass(slots=True)
class Progress:
    """Signs of life of the critical tasks, by name. A task is watched from its first beat until `done`.

    Attributes:
        limit_seconds: a task silent for longer hangs.
        clock: monotonic seconds.
    """

    limit_seconds: float
    clock: Callable[[], float] = time.monotonic
    _last: dict[str, float] = field(default_factory=dict)

    def beat(self, task: str) -> None:
        """One more round of the task is done, or it waits for something that has a time-out."""
        self._last[task] = self.clock()

    def done(self, task: str) -> None:
        """The task ended as it should; do not wait for it any more."""
        self._last.pop(task, None)

    def hanging(self) -> list[str]:
        """The tasks that were silent for too long."""
        now = self.clock()
        return [task for task, last in self._last.items() if now - last > self.limit_seconds]


async def feed_watchdog(notifier: Notifier, progress: Progress, status: Callable[[], str] | None = None) -> None:
    """Feed systemd's watchdog at a third of its time while all tasks progress; runs until cancelled.

    Without a watchdog it only keeps `status` up to date.

    Args:
        notifier: where to send.
        progress: who must make progress.
        status: makes the line that `systemctl status` shows.
    """
    if not notifier.address:
        return
    pause = notifier.watchdog_seconds / 3 if notifier.watchdog_seconds else 10.0
    known: list[str] = []
    while True:
        hanging = progress.hanging()
        if hanging and hanging != known:
            logger.error(
                "no progress for %g s, the watchdog is not fed: %s", progress.limit_seconds, ", ".join(hanging)
            )
        known = hanging
        if notifier.watchdog_seconds and not hanging:
            notifier.watchdog()
        if status is not None:
            notifier.status(f"hanging: {', '.join(hanging)}" if hanging else status())
        await asyncio.sleep(pause)


def tune_garbage_collector() -> None:
    """Look for reference cycles seldom: decoding makes dictionaries by the thousand and none of them is in a cycle.

    Measured on JSON lines: 0.7 us a line with the collector's defaults, 0.4 us so.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


def collect_young() -> None:
    """Free the circles of late. Counted in objects they are few, in bytes of their arrays they may be many."""
    gc.collect(1)


def survive_early_signals() -> None:
    """A reload before there is anything to reload must not end the process. Call it first thing in `main`."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


def end_in_peace() -> None:
    """All is saved: one more signal, while the interpreter ends, must not turn the exit code into a failure."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


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
