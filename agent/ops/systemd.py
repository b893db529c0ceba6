"""A good service: what systemd hears, what the watchdog sees, and what signals do.

The watchdog is fed only while every critical task makes progress: each calls `Progress.beat` once a round, also in
its back-off, so that a broker that is away is no reason for a restart and a task that hangs is one.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Notifier:
    """Notifies systemd how the service is (the protocol of sd_notify(3)). Without systemd it does nothing.

    Attributes:
        address: where systemd listens; a leading `@` means an abstract socket. Empty: nobody listens.
        watchdog_seconds: systemd restarts a service that is silent this long; 0 = no watchdog.
    """

    address: str = ""
    watchdog_seconds: float = 0.0

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Notifier:
        """What systemd set when it started this process."""
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
            logger.warning("systemd could not be notified: %s", error)


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


def survive_early_signals() -> None:
    """A reload before there is anything to reload must not end the process. Call it first thing in `main`."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


def end_in_peace() -> None:
    """All is saved: one more signal, while the interpreter ends, must not turn the exit code into a failure."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
