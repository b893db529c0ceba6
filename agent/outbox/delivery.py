"""The loop between the outbox and one sink: connect, send, confirm; wait and try again."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from agent.alerts.alert import Message
from agent.outbox import Outbox
from agent.outbox.cursor import MessageBatch
from agent.sinks import RejectedError, Sink, SinkError
from sensors.transport.backoff import Backoff

log = logging.getLogger(__name__)


@dataclass
class Delivery:
    """Keeps one sink supplied; `await Delivery(outbox, "broker", sink).run(stop)` returns only after `stop`.

    Attributes:
        replay_per_second: how fast a backlog is sent; what is new does not wait for it.
        drain_seconds: after `stop`, how long to go on sending what is left, if the sink is connected.
        connected: is the sink connected now.
        last_error: the sink's last error; empty after it took something.
    """

    outbox: Outbox
    name: str
    sink: Sink
    replay_per_second: float = 5000.0
    drain_seconds: float = 3.0
    backoff: Backoff = field(default_factory=Backoff)
    monotonic: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self.connected = False
        self.last_error = ""
        self.reconnects = 0
        self.sent = 0
        self._allowance, self._allowed_at = 0.0, self.monotonic()
        self._next_word = 0.0

    async def run(self, stop: asyncio.Event) -> None:
        """Deliver until `stop` is set and then, within bounds, what is left."""
        async with asyncio.TaskGroup() as tasks:
            work = tasks.create_task(self._run(stop), name=f"sink {self.name}")
            tasks.create_task(self._bound(work, stop))

    async def _bound(self, work: asyncio.Task[None], stop: asyncio.Event) -> None:
        """A receiver that hangs does not keep the agent from ending."""
        await stop.wait()
        await asyncio.wait({work}, timeout=self.drain_seconds + 1.0)
        work.cancel()

    async def _run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            up = self.monotonic()
            try:
                async with self.sink:
                    up = self.monotonic()
                    self._is_connected()
                    await self._supply(stop)
                return
            except SinkError as error:
                was_up = self.monotonic() - up if self.connected else 0.0
                self._is_down(error)
            self.reconnects += 1
            await _sleep(self.backoff.next(was_up), stop)

    def _is_connected(self) -> None:
        self.connected = True
        log.info("sink %s: connected", self.name)

    def _is_down(self, error: SinkError) -> None:
        text = str(error)
        if text != self.last_error or self.monotonic() >= self._next_word:
            log.warning("sink %s: %s; trying again", self.name, text)
            self._next_word = self.monotonic() + 60.0
        self.connected, self.last_error = False, text

    async def _supply(self, stop: asyncio.Event) -> None:
        await self.outbox.begin(self.name)
        deadline: float | None = None
        while True:
            if stop.is_set() and deadline is None:
                deadline = self.monotonic() + self.drain_seconds
            if deadline is not None and self.monotonic() >= deadline:
                log.warning("sink %s: %d messages are left for the next start", self.name, self._left())
                return
            batch = await self.outbox.next(self.name, self.sink.batch_size, self._replay_allowance())
            if batch is not None:
                await self._send(batch)
            elif deadline is not None and not self._left():
                return
            else:
                await self.outbox.wait(self.name, 0.02 if self._left() else 0.5)
                if not self._left():
                    await self.sink.send(())  # a lost connection is found out also while there is nothing to send

    async def _send(self, batch: MessageBatch) -> None:
        messages: list[Message] = batch.messages
        while messages:
            try:
                await self.sink.send(messages)
                break
            except RejectedError as error:
                refused = [message for message in messages if message.id in error.ids]
                if not refused:
                    raise SinkError(f"rejected without naming a message: {error}") from error
                log.error("sink %s refused %d messages for good: %s", self.name, len(refused), error)
                self.outbox.reject(self.name, refused, str(error))
                messages = [message for message in messages if message.id not in error.ids]
        self.outbox.confirm(self.name, batch)
        self.sent += len(messages)
        self.last_error = ""
        if batch.replayed:
            self._allowance -= len(batch.messages)

    def _left(self) -> int:
        return self.outbox.lag(self.name)

    def _replay_allowance(self) -> int:
        """Messages that may be replayed now: a bucket that fills at `replay_per_second` and holds a tenth of it."""
        now = self.monotonic()
        self._allowance = min(
            self.replay_per_second / 10, self._allowance + (now - self._allowed_at) * self.replay_per_second
        )
        self._allowed_at = now
        return int(self._allowance)


async def _sleep(seconds: float, stop: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return
