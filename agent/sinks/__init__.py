"""Where messages go. A sink confirms or raises; what to send again is the outbox's business."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Self

from agent.alerts.alert import Identity, Kind, Message
from sensors.source import Source


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


class Sink(ABC):
    """A receiver: `async with sink: await sink.send(messages)`.

    A dataclass whose fields are its configuration; constructing has no effect. Entering connects (and may be
    tried again after an error), leaving says good-bye, also twice. Every wait inside has a time-out.

    Attributes:
        kinds: the classes of message it takes.
        identity: whose messages it sends.
    """

    kinds: frozenset[Kind]
    identity: Identity = Identity()

    batch_size: ClassVar[int] = 500
    """Most messages it is handed at once; they are confirmed together."""

    def signed(self, identity: Identity) -> Self:
        """This sink, as that of this agent; called once, before it is opened."""
        self.identity = identity
        return self

    def known_as(self, client: str) -> None:  # noqa: B027 - optional hook
        """Told once, before it is opened: a name that no other sink of any agent has, for brokers that want one."""

    def claims(self) -> tuple[str, ...]:
        """What it uses that nobody else can use at the same time, in words, such as a client id at a broker."""
        return ()

    @abstractmethod
    async def __aenter__(self) -> Self: ...

    @abstractmethod
    async def __aexit__(self, *exc: object) -> None: ...

    @abstractmethod
    async def send(self, messages: Sequence[Message]) -> None:
        """Return when the receiver has confirmed all of them, in order per machine.

        Called without messages now and then: a chance to notice that the connection is lost.

        Raises:
            SinkError: not all are confirmed; the same messages come again after it was opened anew.
            RejectedError: the receiver will never take some of them; the others come again at once.
        """

    def command_source(self) -> Source | None:
        """A source of commands (see `agent.alerts.commands`) from where this sink publishes; None = it takes none."""
        return None
