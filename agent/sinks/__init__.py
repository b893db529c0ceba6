"""Where messages go. A sink confirms or raises; what to send again is the outbox's business."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Protocol, Self

from agent.alerts import Kind, Message


class SinkError(Exception):
    """The receiver is away, refuses or did not confirm in time; the message names it. Send again later."""


class RejectedError(Exception):
    """The receiver refuses these messages for good (too large, no permission): dead-letter them.

    Attributes:
        ids: ids of the refused messages.
    """

    def __init__(self, reason: str, ids: Sequence[str]) -> None:
        super().__init__(reason)
        self.ids = tuple(ids)


class Sink(Protocol):
    """A receiver: `async with sink: await sink.send(messages)`.

    A dataclass whose fields are its configuration; constructing has no effect. Entering connects (and may be
    tried again after an error), leaving says good-bye. Every wait inside has a time-out.
    """

    kinds: frozenset[Kind]
    """The classes of message it takes."""

    portion: ClassVar[int]
    """Most messages it is handed at once; they are confirmed together."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *exc: object) -> None: ...

    async def send(self, messages: Sequence[Message]) -> None:
        """Return when the receiver has confirmed all of them, in order per machine.

        Called without messages now and then: a chance to notice that the connection is lost.
        """
