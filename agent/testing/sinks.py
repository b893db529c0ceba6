# ruff: noqa: D103 - the name of a check says what it checks
"""What sinks keep: `send` returns when all is confirmed, and raises nothing but `SinkError` and `RejectedError`."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, get_args

from agent.alerts.alert import Identity, Kind, Message
from agent.sinks import Sink, SinkError
from agent.testing.subject import Check, bound, holds, is_documented, keeps_the_protocol

SECONDS = 60.0
"""Longest wait for a sink, and for a receiver that was told that it has something."""

Make = Callable[[], Sink]
Received = Callable[[], Awaitable[list[bytes]]]
World = Callable[[], AbstractAsyncContextManager[tuple[Make, Received]]]


@dataclass(frozen=True)
class SinkSubject:
    """A sink under test; the fields are those of `check_sink`."""

    make: Make
    world: World
    away: Make | None


def messages(first: int, count: int, kind: Kind = "alert") -> list[Message]:
    """Messages of two machines, with bodies that can be told apart."""
    return [
        Message(f"{kind}-{n}", kind, f"machine-{n % 2}", "", b'{"n":%d}' % n, 1_710_856_626 * 10**9 + n)
        for n in range(first, first + count)
    ]


async def it_keeps_the_protocol(subject: SinkSubject) -> None:
    keeps_the_protocol("sink", subject.make)


async def it_is_documented(subject: SinkSubject) -> None:
    is_documented(subject.make)


async def making_one_has_no_effect(subject: SinkSubject) -> None:
    threads, tasks = threading.active_count(), len(asyncio.all_tasks())
    made: Any = subject.make()
    sink = dataclasses.replace(made)
    await asyncio.sleep(0)
    holds(threading.active_count() == threads, "making a sink starts a thread")
    holds(len(asyncio.all_tasks()) == tasks, "making a sink starts a task")
    holds(
        sink.kinds <= {*get_args(Kind)}, f"kinds has {sorted(sink.kinds - {*get_args(Kind)})}, which are no kinds"
    )
    holds(sink.batch_size > 0, "it takes no message at once")


async def it_is_signed(subject: SinkSubject) -> None:
    identity = Identity("plant-1", "gateway-1")
    sink = subject.make()
    holds(sink.signed(identity) is sink, "signed() has to return the sink")
    holds(sink.identity == identity, "signed() has to keep the identity")


async def what_was_sent_has_arrived(subject: SinkSubject) -> None:
    async with subject.world() as (make, received), asyncio.timeout(SECONDS):
        sink = make()
        async with sink as opened:
            holds(opened is sink, "__aenter__ has to return the sink")
            await sink.send(messages(0, 3))
            await sink.send(messages(3, 40))
            await sink.send([])
        await _arrives(received, 0, 43)


async def it_opens_and_closes_again_and_again(subject: SinkSubject) -> None:
    async with subject.world() as (make, received), asyncio.timeout(SECONDS):
        sink = make()
        await sink.__aexit__(None, None, None)
        for n in range(3):
            async with sink:
                await sink.send(messages(n, 1))
            await sink.__aexit__(None, None, None)
        await _arrives(received, 0, 3)


async def what_is_not_open_cannot_send(subject: SinkSubject) -> None:
    try:
        async with asyncio.timeout(SECONDS):
            await subject.make().send(messages(0, 1))
    except SinkError:
        return
    raise AssertionError("it takes messages before it was opened; raise SinkError")


async def a_receiver_that_is_away_is_a_sink_error_each_time(subject: SinkSubject) -> None:
    if subject.away is None:
        return
    sink = subject.away()
    for _ in range(2):
        try:
            async with asyncio.timeout(SECONDS), sink:
                await sink.send(messages(0, 1))
        except SinkError as error:
            holds(str(error), "a SinkError without a word; name the receiver")
        else:
            raise AssertionError("a receiver that is away is no SinkError")
    await sink.__aexit__(None, None, None)


async def _arrives(received: Received, first: int, count: int) -> None:
    """The receiver has what was confirmed, in order for each machine, and each at least once."""
    wanted = [message.body for message in messages(first, count)]
    got: list[bytes] = []
    for _ in range(200):
        got = [body for body in await received() if body in wanted]
        if len(got) >= count:
            break
        await asyncio.sleep(0.05)
    holds(set(got) == set(wanted), f"{count} messages are confirmed, {len(set(got))} have arrived")
    for machine in (0, 1):
        mine = [body for body in wanted if (wanted.index(body) + first) % 2 == machine]
        once = list(dict.fromkeys(body for body in got if body in mine))
        holds(once == mine, "messages of one machine have arrived in another order")


_CHECKS: tuple[Callable[[SinkSubject], Awaitable[None]], ...] = (
    it_keeps_the_protocol,
    it_is_documented,
    making_one_has_no_effect,
    it_is_signed,
    what_was_sent_has_arrived,
    it_opens_and_closes_again_and_again,
    what_is_not_open_cannot_send,
    a_receiver_that_is_away_is_a_sink_error_each_time,
)


def check_sink(
    make: Make, received: Received | None = None, world: World | None = None, away: Make | None = None
) -> list[Check]:
    """The checks of a sink.

    Args:
        make: makes one, always of the same configuration; it is not opened.
        received: bodies that the receiver has, in order; needed unless there is a world.
        world: a context with a receiver in it; gives what makes a sink there, and `received`. Left out: what `make`
            makes can be opened as it is.
        away: makes one whose receiver is not there.
    """

    @asynccontextmanager
    async def plain() -> AsyncIterator[tuple[Make, Received]]:
        if received is None:
            raise AssertionError("check_sink needs to know what was received: give `received` or `world`")
        yield make, received

    return bound(_CHECKS, SinkSubject(make, world or plain, away))
