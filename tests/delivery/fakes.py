"""A receiver that remembers, refuses and hangs as told; it stands for a broker where the broker does not matter."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Self

from agent.alerts.alert import Kind, Message
from agent.sinks import RejectedError, SinkError

ALL: frozenset[Kind] = frozenset({"alert", "raw", "state", "status", "health", "metric", "reply", "discovery"})


@dataclass
class Receiver:
    kinds: frozenset[Kind] = ALL
    got: list[Message] = field(default_factory=list)
    away: bool = False
    fail_sends: int = 0
    hang: bool = False
    refuse: frozenset[str] = frozenset()
    batch_size: ClassVar[int] = 500
    opened: int = 0
    closed: int = 0

    def __post_init__(self) -> None:
        self.arrived = asyncio.Event()
        self.tried = asyncio.Event()

    async def __aenter__(self) -> Self:
        self.tried.set()
        if self.away:
            raise SinkError("away")
        self.opened += 1
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.closed += 1

    async def send(self, messages: Sequence[Message]) -> None:
        if self.hang:
            await asyncio.Event().wait()
        if self.away:
            raise SinkError("away")
        if self.fail_sends:
            self.fail_sends -= 1
            self.got += messages[: len(messages) // 2]
            self.arrived.set()
            raise SinkError("cut in the middle")
        bad = [m.id for m in messages if m.id in self.refuse]
        if bad:
            raise RejectedError("too large", bad)
        self.got += messages
        self.arrived.set()

    def ids(self) -> list[str]:
        return [m.id for m in self.got]

    async def until(self, count: int, seconds: float = 10.0) -> None:
        """Wait for so many messages."""
        async with asyncio.timeout(seconds):
            while len(self.got) < count:
                self.arrived.clear()
                await self.arrived.wait()


def message(
    number: int, kind: Kind = "alert", machine: str = "m", name: str = "", body: bytes | None = None
) -> Message:
    if body is None:
        body = b'{"n":%d}' % number
    return Message(f"{kind}-{number}", kind, machine, name, body, number)
