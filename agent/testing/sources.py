# ruff: noqa: D103 - the name of a check says what it checks
"""What sources keep: opened and closed at will, cancelled at will, and never an error but `SourceError`."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from agent.testing.streams import rows_of, wrong_in
from agent.testing.subject import Check, bound, holds, is_documented, keeps_the_protocol
from sensors.batch import Batch
from sensors.source import Counters, Positioned, Source, SourceError

SECONDS = 30.0
"""Longest wait for a source."""

Make = Callable[[], Source]
World = Callable[[], AbstractAsyncContextManager[Make]]


@dataclass(frozen=True)
class SourceSubject:
    """A source under test; the fields are those of `check_source`."""

    world: World
    make: Make
    broken: Make | None
    repeats: bool

    async def read(self, source: Source, most: int = 5) -> list[Batch]:
        """The next few batches, fewer if it ends."""
        found: list[Batch] = []
        async with asyncio.timeout(SECONDS):
            async for batch in source:
                found.append(batch)
                if len(found) >= most:
                    break
        return found


async def it_keeps_the_protocol(subject: SourceSubject) -> None:
    keeps_the_protocol("source", subject.make)


async def it_is_documented(subject: SourceSubject) -> None:
    is_documented(subject.make)


async def making_one_has_no_effect(subject: SourceSubject) -> None:
    threads, tasks = threading.active_count(), len(asyncio.all_tasks())
    source: Any = subject.make()
    dataclasses.replace(source)
    await asyncio.sleep(0)
    holds(threading.active_count() == threads, "making a source starts a thread")
    holds(len(asyncio.all_tasks()) == tasks, "making a source starts a task")
    holds(isinstance(source.counters, Counters), "counters has to be Counters")
    holds(source.counters == Counters(), "a source that was just made has counted something")


async def what_is_not_open_cannot_be_read(subject: SourceSubject) -> None:
    try:
        async with asyncio.timeout(SECONDS):
            await anext(subject.make())
    except (SourceError, RuntimeError):
        return
    except StopAsyncIteration:
        raise AssertionError("it ends before it was opened") from None
    raise AssertionError("it gives a batch before it was opened")


async def batches_are_well_formed_and_counted(subject: SourceSubject) -> None:
    async with subject.world() as make:
        source = make()
        async with source as opened:
            holds(opened is source, "__aenter__ has to return the source")
            batches = await subject.read(source)
    holds(sum(map(len, batches)) > 0, "no row comes; give a world in which some do")
    for batch in batches:
        holds(not (wrong := wrong_in(batch)), f"a batch is malformed: {wrong}")
    rows = sum(map(len, batches))
    holds(source.counters.rows >= rows, f"counters.rows is {source.counters.rows} after {rows} rows")
    columns = source.outputs()
    if columns is not None:
        given = {name for batch in batches for name in (*batch.values, *batch.texts)}
        holds(given <= set(columns), f"outputs() says {sorted(columns)}, it gives {sorted(given)}")


async def it_opens_and_closes_again_and_again(subject: SourceSubject) -> None:
    async with subject.world() as make:
        source = make()
        await source.__aexit__(None, None, None)
        for _ in range(3):
            async with asyncio.timeout(SECONDS), source:
                pass
            await source.__aexit__(None, None, None)
        async with source:
            holds(await subject.read(source, 1), "opened again, it gives nothing")


async def a_cancelled_read_loses_nothing(subject: SourceSubject) -> None:
    async with subject.world() as make:
        found: list[Batch] = []
        source = make()
        async with source:
            for number in range(60):
                try:
                    async with asyncio.timeout(0.0 if number % 2 else 0.02):
                        found.append(await anext(source))
                except TimeoutError:
                    continue
                except StopAsyncIteration:
                    break
            if not found:
                found += await subject.read(source, 1)
        holds(found, "after reads were cancelled nothing comes any more")
        if subject.repeats:
            async with make() as other:
                plain = rows_of(await subject.read(other, 100))
            rows = rows_of(found)
            holds(rows == plain[: len(rows)], "reads that were cancelled have lost rows, or given them twice")


async def a_failure_is_a_source_error_each_time(subject: SourceSubject) -> None:
    if subject.broken is None:
        return
    source = subject.broken()
    for _ in range(2):
        try:
            async with asyncio.timeout(SECONDS), source:
                await anext(source)
        except SourceError as error:
            holds(str(error), "a SourceError without a word; name the port, file or broker")
        else:
            raise AssertionError("what cannot be read is no SourceError")
    await source.__aexit__(None, None, None)


async def it_goes_on_from_a_position(subject: SourceSubject) -> None:
    if not isinstance(subject.make(), Positioned):
        return
    async with subject.world() as make:
        first, second = make(), make()
        if not isinstance(first, Positioned) or not isinstance(second, Positioned):
            raise AssertionError("it is positioned only sometimes")
        async with first:
            begin = await subject.read(first, 2)
            place: dict[str, Any] = json.loads(json.dumps(dict(first.position())))
            rest = rows_of(await subject.read(first, 100 if subject.repeats else 1))
            await first.commit(place)
        holds(begin, "no batch comes; give a world in which some do")
        second.seek(place)
        holds(dict(second.position()) == place, "position() is not where seek() was told to go")
        async with second:
            again = rows_of(await subject.read(second, 100 if subject.repeats else 1))
        common = min(len(rest), len(again))
        holds(again[:common] == rest[:common], "from a position it gives other rows than it went on with")
        holds(not subject.repeats or len(rest) == len(again), "from a position it gives more or fewer rows")


_CHECKS: tuple[Callable[[SourceSubject], Awaitable[None]], ...] = (
    it_keeps_the_protocol,
    it_is_documented,
    making_one_has_no_effect,
    what_is_not_open_cannot_be_read,
    batches_are_well_formed_and_counted,
    it_opens_and_closes_again_and_again,
    a_cancelled_read_loses_nothing,
    a_failure_is_a_source_error_each_time,
    it_goes_on_from_a_position,
)


def check_source(
    make: Make, world: World | None = None, broken: Make | None = None, *, repeats: bool = False
) -> list[Check]:
    """The checks of a source.

    Args:
        make: makes one, always of the same configuration; it is not opened.
        world: a context in which sources can be opened and rows come, such as a server on a free port; gives what makes
            one there. Left out: what `make` makes can be opened as it is.
        broken: makes one that cannot be opened, or fails when it is read.
        repeats: each one that is made gives the same rows, and then ends.
    """

    @asynccontextmanager
    async def plain() -> AsyncIterator[Make]:
        yield make

    return bound(_CHECKS, SourceSubject(world or plain, make, broken, repeats))
