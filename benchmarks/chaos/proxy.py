"""A TCP proxy that misbehaves as told: it stalls, delays, drops connections or cuts them in the middle of a packet."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import Self


@dataclass
class Proxy:
    """Listens on `port` of the loopback and passes bytes to `target` and back.

    Attributes:
        stalled: bytes are taken and go nowhere.
        refusing: connections are closed at once.
        delay: each block waits so many seconds.
        cut_after: each connection is cut after so many bytes towards the target; 0 = never.
    """

    target: int
    port: int = 0
    stalled: bool = False
    refusing: bool = False
    delay: float = 0.0
    cut_after: int = 0
    cuts: int = 0
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        self._tasks: set[asyncio.Task[None]] = set()
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._server.close()
        self.cut()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """Cut all connections now."""
        for writer in list(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or self.refusing:
            writer.transport.abort()
            return
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self.target)
            self._writers.add(back)
            try:
                async with asyncio.TaskGroup() as both:
                    both.create_task(self._pass(reader, back, writer, self.cut_after))
                    both.create_task(self._pass(there, writer, back, 0))
            finally:
                self._writers.discard(back)
                back.transport.abort()
        except (OSError, ExceptionGroup):
            pass
        finally:
            self._writers.discard(writer)
            writer.transport.abort()
            self._tasks.discard(task)

    async def _pass(
        self, reader: asyncio.StreamReader, to: asyncio.StreamWriter, other: asyncio.StreamWriter, cut_after: int
    ) -> None:
        passed = 0
        with contextlib.suppress(OSError, ConnectionError):
            while data := await reader.read(4096):
                if self.delay:
                    await asyncio.sleep(self.delay)
                while self.stalled:  # noqa: ASYNC110 a proxy for tests
                    await asyncio.sleep(0.02)
                if cut_after and passed + len(data) >= cut_after:
                    to.write(data[: cut_after - passed])
                    await to.drain()
                    self.cuts += 1
                    break
                passed += len(data)
                to.write(data)
                await to.drain()
        to.transport.abort() if cut_after and passed else to.close()
        other.transport.abort() if cut_after and passed else other.close()
