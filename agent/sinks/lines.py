"""To a file or the console: one JSON line a message."""

from __future__ import annotations

import asyncio
import errno
import os
import select
import stat
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from agent.alerts.alert import Kind, Message
from agent.sinks import Sink, SinkError
from sensors.units import Duration

_PIPE = 4096  # bytes that a pipe which is writable takes at once


@dataclass
class LinesSink(Sink):
    """Appends bodies, one a line. A message without a body (the end of a retained state) is left out.

    Attributes:
        path: the file; `-` is standard output.
        max_bytes: a file that is longer is renamed to `NAME.1`, older ones to `NAME.2` and so on; 0 = never.
        keep: how many old files are kept.
        sync: whether each write waits for the disk.
        timeout: bound of a write, such as to a pipe that nobody reads.
        kinds: the classes of message it takes.
    """

    path: str = "-"
    max_bytes: int = 0
    keep: int = 5
    sync: bool = False
    timeout: Duration = Duration("10s")
    kinds: frozenset[Kind] = frozenset({"alert", "raw"})

    def __post_init__(self) -> None:
        self._file: int | None = None
        self._left = threading.Event()  # whoever waited for a write does not any more
        self._regular = False  # neither console nor pipe: it has a length, and can be cut and renamed

    async def __aenter__(self) -> Self:
        try:
            await asyncio.to_thread(self._open)
        except OSError as error:
            raise SinkError(f"{self.path}: {error.strerror}") from error
        return self

    async def __aexit__(self, *exc: object) -> None:
        file, self._file = self._file, None
        if file is not None and self.path != "-":
            os.close(file)

    async def send(self, messages: Sequence[Message]) -> None:
        block = b"".join([message.body + b"\n" for message in messages if message.body])
        if not block:
            return
        if self._file is None:
            raise SinkError(f"{self.path}: not open")
        self._left.clear()
        try:
            async with asyncio.timeout(self.timeout.seconds):
                await asyncio.to_thread(self._write, self._file, block)
        except TimeoutError:
            raise SinkError(f"{self.path}: nobody reads") from None
        except OSError as error:
            raise SinkError(f"{self.path}: {error.strerror}") from error
        finally:
            self._left.set()

    def _open(self) -> int:
        if self.path == "-":
            self._file = sys.__stdout__.fileno() if sys.__stdout__ is not None else 1
        else:
            Path(self.path).parent.mkdir(parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            # a pipe that nobody reads is an error now, not a thread that hangs
            self._file = os.open(self.path, flags | os.O_NONBLOCK, 0o644)
            self._regular = stat.S_ISREG(os.fstat(self._file).st_mode)
        return self._file

    def _write(self, file: int, block: bytes) -> None:
        length = os.fstat(file).st_size if self._regular else 0
        if self._regular and self.max_bytes and length and length + len(block) > self.max_bytes:
            os.close(file)
            self._shift()
            file, length = self._open(), 0
        left = memoryview(block)
        try:
            while left:
                if not self._regular:
                    self._writable(file)
                left = left[os.write(file, left if self._regular else left[:_PIPE]) :]
            if self.sync and self._regular:
                os.fsync(file)
        except OSError:
            if self._regular:  # no half line stays behind, as when the disk is full
                os.ftruncate(file, length)
            raise

    def _writable(self, file: int) -> None:
        """Wait until a pipe or terminal takes something, as long as somebody waits for it."""
        ready = select.poll()
        ready.register(file, select.POLLOUT)
        while not ready.poll(100):
            if self._left.is_set():
                raise BlockingIOError(errno.EAGAIN, "nobody reads")

    def _shift(self) -> None:
        """`NAME` becomes `NAME.1`, `NAME.1` becomes `NAME.2`, ...; the oldest goes."""
        for number in range(self.keep - 1, 0, -1):
            if os.path.exists(f"{self.path}.{number}"):
                os.replace(f"{self.path}.{number}", f"{self.path}.{number + 1}")
        if self.keep > 0:
            os.replace(self.path, f"{self.path}.1")
        else:
            os.unlink(self.path)
