"""Who looks on while the agent runs: the live view, a printer of lines, a recorder.

Each observer has a thread of its own behind a bounded queue, so that one which is slow, blocks or raises costs only
itself: deciding does not wait for it, and nothing it raises ends the agent. What is left out is counted, and logged
once.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
import traceback
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Protocol

from agent.alerts.alert import Label, Message
from agent.core.keys import Name
from agent.engine.engine import Decisions, Engine
from sensors.batch import Batch

log = logging.getLogger(__name__)

MOST_ROWS = 200_000
"""Rows that wait for an observer, a batch counting as `BATCH_ROWS` more; beyond that the queue is full."""
BATCH_ROWS = 20
MOST_ERRORS = 10
"""Errors one after the other that an observer may raise before it is left alone."""


class SeriesNames(NamedTuple):
    """Names of the series of one grouping: they are right for the rows beside them, also after an eviction."""

    by: tuple[str, ...]
    names: Sequence[Name | None]

    def name(self, key: int) -> Name:
        """The name of a series."""
        name = self.names[key]
        return name if name is not None else ("",) * len(self.by)


@dataclass(frozen=True, slots=True)
class Observation:
    """One batch, as it was decided on. Nobody changes what it holds.

    Attributes:
        messages: that go out for the decisions.
        labels: of the rules; another mapping means another engine, after a reload.
        series: name of a step or rule that has rows in the decisions -> the names of its series.
    """

    batch: Batch
    decisions: Decisions
    messages: Sequence[Message]
    labels: Mapping[str, Label]
    series: Mapping[str, SeriesNames]

    @classmethod
    def of(
        cls, engine: Engine, batch: Batch, decisions: Decisions, messages: Sequence[Message] = ()
    ) -> Observation:
        """What there is to see right after `engine` has decided on `batch`."""
        tables = {name: engine.series(name) for name in (*decisions.results, *decisions.raw)}
        series = {name: SeriesNames(table.by, table.names) for name, table in tables.items()}
        return cls(batch, decisions, messages, engine.labels, series)


class Observer(Protocol):
    """Someone who looks on."""

    def update(self, observation: Observation) -> None:
        """See one batch, in the order of deciding. Called in a thread of its own; it may take its time."""


class WhenFull(StrEnum):
    """What happens when an observer does not keep up."""

    DROP = "drop"
    """The oldest batches are left out, as in a picture of now."""
    END = "end"
    """The observer ends there: what it has, such as a recording, is whole up to its end."""
    WAIT = "wait"
    """Deciding waits (back-pressure): where showing all of it is the purpose, and nothing else hangs on it."""


@dataclass(slots=True)
class ObserverCounters:
    """What became of the batches handed to an observer."""

    seen: int = 0
    dropped: int = 0
    errors: int = 0


class Observers:
    """All who look on, by name."""

    def __init__(self) -> None:
        self._workers: dict[str, _Worker] = {}

    def __len__(self) -> int:
        return len(self._workers)

    def add(self, name: str, observer: Observer, when_full: WhenFull = WhenFull.DROP) -> None:
        """From the next batch on `observer` looks on, too."""
        self._workers[name] = _Worker(name, observer, when_full)

    def put(self, observation: Observation) -> None:
        """Show a batch to all; returns at once."""
        for worker in self._workers.values():
            worker.put(observation)

    async def room(self) -> None:
        """Wait for those who are waited for."""
        for worker in self._workers.values():
            while worker.is_waited_for():  # noqa: ASYNC110  the queue belongs to another thread
                await asyncio.sleep(0.005)

    def counters(self) -> dict[str, ObserverCounters]:
        """What became of the batches, by observer."""
        return {name: worker.counters for name, worker in self._workers.items()}

    def close(self, seconds: float = 5.0) -> None:
        """Let all see what still waits, within `seconds`. Blocks."""
        deadline = time.monotonic() + seconds
        for worker in self._workers.values():
            worker.close()
        for worker in self._workers.values():
            worker.join(max(0.0, deadline - time.monotonic()))


class _Worker:
    """One observer, its queue and its thread."""

    def __init__(self, name: str, observer: Observer, when_full: WhenFull) -> None:
        self.counters = ObserverCounters()
        self._name, self._observer, self._when_full = name, observer, when_full
        self._queue: deque[Observation] = deque()
        self._rows = 0
        self._errors = 0  # one after the other
        self._closing = False  # no more comes; what waits is still shown
        self._ended = False  # nothing is shown any more
        self._changed = threading.Condition()
        # a thread that hangs does not keep the process from ending
        self._thread = threading.Thread(target=self._work, name=f"observer {name}", daemon=True)
        self._thread.start()

    def put(self, observation: Observation) -> None:
        with self._changed:
            if self._ended or self._closing:
                self.counters.dropped += 1
                return
            self._queue.append(observation)
            self._rows += _weight(observation)
            if self._is_full():
                self._leave_out()
            self._changed.notify()

    def is_waited_for(self) -> bool:
        return self._when_full is WhenFull.WAIT and not self._ended and not self._closing and self._is_full()

    def close(self) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify()

    def join(self, seconds: float) -> None:
        self._thread.join(seconds)
        if self._thread.is_alive():
            log.warning(
                "observer %s: still busy with what it saw; %d batches are left out", self._name, len(self._queue)
            )

    def _is_full(self) -> bool:
        return self._rows > MOST_ROWS and len(self._queue) > 1

    def _leave_out(self) -> None:
        if self._when_full is WhenFull.END:
            self._end("does not keep up")
        while self._when_full is WhenFull.DROP and self._is_full():
            self._rows -= _weight(self._queue.popleft())
            if not self.counters.dropped:
                log.warning(
                    "observer %s: does not keep up; what it shows has gaps, what is decided and sent has none",
                    self._name,
                )
            self.counters.dropped += 1

    def _end(self, why: str) -> None:
        log.error(
            "observer %s: %s; it ends here after %d batches, the agent goes on", self._name, why, self.counters.seen
        )
        self._ended = True
        self.counters.dropped += len(self._queue)
        self._queue.clear()
        self._rows = 0

    def _work(self) -> None:
        while True:
            with self._changed:
                while not (self._queue or self._ended or self._closing):
                    self._changed.wait()
                if not self._queue:
                    return
                observation = self._queue.popleft()
                self._rows -= _weight(observation)
            try:
                self._observer.update(observation)
            except BaseException as error:  # whatever it is, it is the observer's own; also sys.exit
                self._failed(error)
            else:
                self.counters.seen += 1
                self._errors = 0

    def _failed(self, error: BaseException) -> None:
        with self._changed:
            self.counters.errors += 1
            self._errors += 1
            place = traceback.extract_tb(error.__traceback__)[-1]
            text = " ".join(
                traceback.format_exception_only(error)[-1].split()
            )  # also of one that cannot be printed
            text = text.removeprefix(f"{type(error).__module__}.")[:500]
            what = f"{text} ({place.filename}:{place.lineno})"
            if self._ended:
                return
            if self._when_full is WhenFull.END or self._errors >= MOST_ERRORS:
                self._end(what)
            elif self.counters.errors == 1:
                log.error("observer %s: %s; it goes on with the next batch", self._name, what)


def _weight(observation: Observation) -> int:
    return len(observation.batch) + BATCH_ROWS
