"""Readings from a serial line: the port's file descriptor on the event loop, no thread, no stream reader."""

from __future__ import annotations

import asyncio
import errno
import os
import termios
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self

import serial
from serial.tools import list_ports

from sensors.batch import Batch
from sensors.codecs import Codec
from sensors.codecs.json_lines import JsonLines
from sensors.source import Source, SourceError
from sensors.transport.byte_queue import ByteQueue, WhenFull
from sensors.units import Duration

_READ_SIZE = 65_536


@dataclass(kw_only=True)
class SerialSource(Source):
    """Lines or frames from a serial port.

    What has arrived is handed over at once; at high rates, at most every half millisecond, all that has come together.

    Attributes:
        port: path; a name under `/dev/serial/by-id` or `by-path` outlives replugging, `/dev/ttyUSB0` does not.
        codec: how frames are written.
        baud: any rate the driver can make.
        bytesize: data bits.
        parity: N, E, O, M (mark) or S (space).
        stopbits: 1, 1.5 or 2.
        rtscts: hardware flow control.
        xonxoff: software flow control.
        exclusive: refuse to share the port with another program that locks it.
        dtr_on_open: leave DTR raised on opening; many boards restart when it changes.
        settle: time after opening during which the device restarts; what it says meanwhile is thrown away.
        discard_first: what comes before the first delimiter after opening is the rest of a frame; throw it away.
        gap: silence within a frame after which the rest will not come; `0s` = any.
        buffer_bytes: most bytes kept while the agent is busy.
        when_full: leave further bytes to the driver (`pause`) or forget the oldest (`drop`, counted).
    """

    port: str
    codec: Codec = field(default_factory=JsonLines)
    baud: int = 115_200
    bytesize: Literal[5, 6, 7, 8] = 8
    parity: Literal["N", "E", "O", "M", "S"] = "N"
    stopbits: float = 1
    rtscts: bool = False
    xonxoff: bool = False
    exclusive: bool = True
    dtr_on_open: bool = True
    settle: Duration = field(default_factory=lambda: Duration("0s"))
    discard_first: bool = True
    gap: Duration = field(default_factory=lambda: Duration("0s"))
    buffer_bytes: int = 1 << 20
    when_full: WhenFull = "pause"

    def __post_init__(self) -> None:
        if self.baud <= 0 or self.stopbits not in (1, 1.5, 2) or self.buffer_bytes < _READ_SIZE:
            raise ValueError(f"baud must be above zero, stopbits 1, 1.5 or 2, buffer_bytes at least {_READ_SIZE}")
        self.counters = self.codec.counters
        self._port: serial.Serial | None = None
        self._queue: ByteQueue | None = None
        self._reading = False

    async def __aenter__(self) -> Self:
        port = self._open()
        try:
            if self.settle:
                await asyncio.sleep(self.settle.seconds)
                port.reset_input_buffer()
        except (OSError, termios.error) as error:
            port.close()
            raise SourceError(f"{self.port}: {_reason(error)}") from error
        except BaseException:
            port.close()
            raise
        self._port = port
        self.codec.reset(discard=self.discard_first)
        self._queue = ByteQueue(self.codec, self.gap, self.buffer_bytes, self.when_full, self._watch)
        self._watch(True)
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._watch(False)
        port, self._port = self._port, None
        if self._queue is not None:
            self._queue.close()
        if port is not None:
            port.close()

    def outputs(self) -> tuple[str, ...] | None:
        return self.codec.outputs()

    async def __anext__(self) -> Batch:
        if self._queue is None:
            raise RuntimeError("read a source inside `async with`")
        return await self._queue.take()

    def _open(self) -> serial.Serial:
        port = serial.Serial()
        try:
            port.port, port.baudrate, port.bytesize, port.parity = self.port, self.baud, self.bytesize, self.parity
            port.stopbits, port.rtscts, port.xonxoff = self.stopbits, self.rtscts, self.xonxoff
            port.timeout, port.exclusive, port.dtr = 0, self.exclusive, self.dtr_on_open
            port.open()
        except (OSError, ValueError, termios.error) as error:  # SerialException is an OSError, termios.error none
            port.close()
            raise SourceError(f"{self.port}: {_reason(error)}") from error
        return port

    def _watch(self, on: bool) -> None:
        """Begin or cease to read when bytes arrive."""
        if self._port is None or on == self._reading:
            return
        loop, self._reading = asyncio.get_running_loop(), on
        if on:
            loop.add_reader(self._port.fileno(), self._readable)
        else:
            loop.remove_reader(self._port.fileno())

    def _readable(self) -> None:
        if self._port is None or self._queue is None:
            return
        try:
            data = os.read(self._port.fileno(), _READ_SIZE)
        except BlockingIOError:
            return
        except OSError as error:
            self._lost(_reason(error))
            return
        if not data:
            self._lost("hung up")
            return
        self._queue.put(data, time.time_ns())

    def _lost(self, reason: str) -> None:
        self._watch(False)
        if self._queue is not None:
            self._queue.fail(SourceError(f"{self.port}: {reason}"))


@dataclass(frozen=True, slots=True)
class Port:
    """A serial port of this machine.

    Attributes:
        device: such as `/dev/ttyUSB0`; changes with the order of plugging in.
        text: what the device calls itself.
        by_id: name that follows the device; empty if there is none.
        by_path: name that follows the socket; for devices without a serial number, which share their by-id name.
        advice: the name to put in the configuration.
    """

    device: str
    text: str
    by_id: str
    by_path: str
    advice: str


def ports(root: Path = Path("/dev/serial")) -> list[Port]:
    """The ports of this machine with the names that outlive replugging."""
    found = []
    for info in sorted(list_ports.comports(), key=lambda info: info.device):
        by_id, by_path = (_alias(root / folder, info.device) for folder in ("by-id", "by-path"))
        steady = by_id if info.serial_number else by_path or by_id
        found.append(Port(info.device, info.description or "", by_id, by_path, steady or info.device))
    return found


def _alias(folder: Path, device: str) -> str:
    if not folder.is_dir():
        return ""
    target = Path(device).resolve()
    return next((str(link) for link in sorted(folder.iterdir()) if link.resolve() == target), "")


def _reason(error: Exception) -> str:
    number = error.errno if isinstance(error, OSError) else error.args[0] if error.args else None
    if number in (errno.EAGAIN, errno.EBUSY):
        return "another program has it open"
    if number == errno.EACCES:
        return "permission denied; the user of the agent has to be in the group of the port (dialout, as a rule)"
    return os.strerror(number) if isinstance(number, int) else str(error)
