"""Readings from a TCP connection: a client of a device server, or a server that devices connect to."""

from __future__ import annotations

import asyncio
import socket
import time
from dataclasses import dataclass, field
from typing import Self

from sensors.batch import Batch
from sensors.codecs import Codec
from sensors.codecs.json_lines import JsonLines
from sensors.source import Source, SourceError
from sensors.transport.byte_queue import ByteQueue
from sensors.units import Duration

_READ_SIZE = 65_536


@dataclass(kw_only=True)
class TcpSource(Source):
    """Lines or frames from a TCP connection.

    Attributes:
        host: to connect to, or, listening, the address to listen at.
        port: its number; listening, 0 = any free one (see `address`).
        codec: how frames are written.
        listen: wait for a device to connect instead of connecting. One device at a time: when another connects,
            it takes the place of the first, whose connection is closed.
        connect_timeout: longest wait for the connection.
        silence_timeout: silence after which the connection is taken for dead; `0s` = never.
        buffer_bytes: most bytes kept while the agent is busy; then the sender has to wait.
    """

    host: str = "127.0.0.1"
    port: int
    codec: Codec = field(default_factory=JsonLines)
    listen: bool = False
    connect_timeout: Duration = field(default_factory=lambda: Duration("10s"))
    silence_timeout: Duration = field(default_factory=lambda: Duration("0s"))
    buffer_bytes: int = 1 << 20

    def __post_init__(self) -> None:
        if not 0 <= self.port < 65_536 or self.buffer_bytes < _READ_SIZE:
            raise ValueError(f"port must be 0 to 65535, buffer_bytes at least {_READ_SIZE}")
        self.counters = self.codec.counters
        self._link: _Link | None = None
        self._server: asyncio.Server | None = None

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        if self._server is None:
            return self.host, self.port
        host, port = self._server.sockets[0].getsockname()[:2]
        return str(host), int(port)

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self.codec.reset()
        link = _Link(self)
        try:
            async with asyncio.timeout(self.connect_timeout.seconds):
                if self.listen:
                    self._server = await loop.create_server(lambda: _Connection(link), self.host, self.port)
                else:
                    await loop.create_connection(lambda: _Connection(link), self.host, self.port)
        except TimeoutError as error:
            raise SourceError(f"{self.host}:{self.port}: no answer in {self.connect_timeout}") from error
        except OSError as error:
            raise SourceError(f"{self.host}:{self.port}: {error.strerror or error}") from error
        self._link = link
        return self

    async def __aexit__(self, *exc: object) -> None:
        link, self._link = self._link, None
        server, self._server = self._server, None
        if server is not None:
            server.close()
        if link is not None:
            link.close()
        if server is not None:
            await server.wait_closed()

    def outputs(self) -> tuple[str, ...] | None:
        return self.codec.outputs()

    async def __anext__(self) -> Batch:
        if self._link is None:
            raise RuntimeError("read a source inside `async with`")
        silence = self.silence_timeout.seconds or None
        try:
            async with asyncio.timeout(silence):
                return await self._link.queue.take()
        except TimeoutError as error:
            raise SourceError(f"{self.host}:{self.port}: silent for {self.silence_timeout}") from error


class _Link:
    """The connection of the moment and the bytes it brought."""

    def __init__(self, source: TcpSource) -> None:
        self.source = source
        self.queue = ByteQueue(source.codec, Duration(0), source.buffer_bytes, "pause", self._watch)
        self._transport: asyncio.Transport | None = None
        self._paused = False

    def begin(self, transport: asyncio.Transport) -> None:
        """A connection is made; it takes the place of another."""
        before, self._transport = self._transport, transport
        if before is not None:
            before.abort()
            self.queue.cut()
        if self._paused:
            transport.pause_reading()
        peer = transport.get_extra_info("socket")
        if peer is not None:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def end(self, transport: asyncio.BaseTransport | None, error: Exception | None) -> None:
        """A connection is lost."""
        if transport is not self._transport:
            return
        self._transport = None
        source = self.source
        if source.listen:
            self.queue.cut()
            return
        reason = "closed by the other side"
        if error is not None:
            reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        self.queue.fail(SourceError(f"{source.host}:{source.port}: {reason}"))

    def owns(self, transport: asyncio.BaseTransport | None) -> bool:
        """Whether this is the connection of the moment."""
        return transport is self._transport

    def close(self) -> None:
        """Let go of the connection."""
        self.queue.close()
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()

    def _watch(self, on: bool) -> None:
        self._paused = not on
        if self._transport is not None and not self._transport.is_closing():
            if on:
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()


class _Connection(asyncio.Protocol):
    def __init__(self, link: _Link) -> None:
        self._link = link
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.Transport):
            self._transport = transport
            self._link.begin(transport)

    def data_received(self, data: bytes) -> None:
        if self._link.owns(self._transport):
            self._link.queue.put(data, time.time_ns())

    def connection_lost(self, exc: Exception | None) -> None:
        self._link.end(self._transport, exc)
