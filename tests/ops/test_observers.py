"""Who looks on costs only himself: slow, blocking or raising, the agent decides and delivers as if he were not there."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import random
import threading

import numpy as np
import pytest

from agent.ops import observers
from agent.ops.observers import MOST_ERRORS, Observation, WhenFull
from agent.runtime.app import App
from agent.settings.build import build_pipeline
from agent.settings.settings import Settings
from sensors.batch import Batch
from sensors.drivers.recording import Recorder, batches
from sensors.source import Counters, Source
from tests.faults.test_garbage import everything

SECOND = 10**9
START = 1_700_000_000 * SECOND
READINGS = 60


class Line(Source):
    """A source of readings; the last one is hot, and then it goes on silently."""

    keeps_time = True

    def __init__(self):
        self.counters = Counters()
        self.at = 0

    async def __aenter__(self):
        return self

    async def __aexit__(self, *exc):
        pass

    async def __anext__(self):
        if self.at == READINGS:
            await asyncio.Event().wait()
        await asyncio.sleep(0.001)
        self.at += 1
        now = START + self.at * SECOND
        value = np.array([95.0 if self.at == READINGS else 50.0])
        return Batch(("m",), np.zeros(1, np.int32), np.array([now]), {"x": value}, now)


def app_at(folder) -> App:
    pipeline = build_pipeline(
        Settings(
            agent={"site": "s", "name": "a", "state": folder, "tick": "10ms"},
            rule={"hot": {"when": "x >= 90"}},
            sink={"file": {"type": "lines", "path": str(folder / "alerts.jsonl")}},
        )
    )
    pipeline.sources["line"] = Line()
    return App(pipeline)


async def run_until_delivered(app: App, folder, release: threading.Event | None = None) -> None:
    """Run until the alert of the last reading is at its receiver; `release` lets a blocking observer go then."""
    stop, alerts = asyncio.Event(), folder / "alerts.jsonl"
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        tasks.create_task(app.run(stop))
        while not alerts.exists() or b"hot" not in alerts.read_bytes():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        if release is not None:
            release.set()
        stop.set()


class Blocking:
    def __init__(self):
        self.release, self.seen = threading.Event(), []

    def update(self, observation):
        self.release.wait()
        self.seen.append(observation.batch.read_at)


class Raising:
    def update(self, observation):
        raise LookupError("no such picture")


@pytest.fixture
def _small_queue(monkeypatch):
    monkeypatch.setattr(observers, "MOST_ROWS", 10 * (observers.BATCH_ROWS + 1))


def said(caplog, level: int) -> list[str]:
    return [r.message for r in caplog.records if r.levelno == level and r.message.startswith("observer")]


@pytest.mark.usefixtures("_small_queue")
async def test_an_observer_that_blocks_holds_up_nothing_and_sees_the_newest_afterwards(tmp_path, caplog):
    app, blocking = app_at(tmp_path), Blocking()
    app.observers.add("picture", blocking)
    await run_until_delivered(app, tmp_path, blocking.release)
    counters = app.observers.counters()["picture"]
    assert counters.dropped > READINGS // 2
    assert counters.seen == len(blocking.seen)
    assert blocking.seen == sorted(blocking.seen)
    assert blocking.seen[-1] >= START + READINGS * SECOND
    assert said(caplog, logging.WARNING) == [
        "observer picture: does not keep up; what it shows has gaps, what is decided and sent has none"
    ]


async def test_an_observer_that_hangs_for_ever_does_not_keep_the_agent_from_ending(tmp_path, caplog):
    app, blocking = app_at(tmp_path), Blocking()
    app.observers.close = lambda close=app.observers.close: close(0.05)
    app.observers.add("picture", blocking)
    await run_until_delivered(app, tmp_path)
    assert blocking.seen == []
    assert ["still busy" in message for message in said(caplog, logging.WARNING)] == [True]
    blocking.release.set()


async def test_an_observer_that_raises_is_told_once_and_left_alone_after_some_errors(tmp_path, caplog):
    app, blocking = app_at(tmp_path), Blocking()
    blocking.release.set()
    app.observers.add("broken", Raising())
    app.observers.add("whole", blocking)
    await run_until_delivered(app, tmp_path)
    first, last = said(caplog, logging.ERROR)
    assert first.startswith("observer broken: LookupError: no such picture (")
    assert "test_observers.py:" in first
    assert "it ends here after 0 batches, the agent goes on" in last
    counters = app.observers.counters()
    assert counters["broken"].errors == MOST_ERRORS
    assert counters["broken"].errors + counters["broken"].dropped == counters["whole"].seen == len(blocking.seen)


class UnshowableError(Exception):
    def __str__(self):
        raise LookupError


@pytest.mark.usefixtures("_small_queue")
@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit, UnshowableError])
async def test_nothing_that_an_observer_raises_ends_it_unsaid_or_makes_deciding_wait_for_ever(
    tmp_path, caplog, error
):
    class Ending:
        def update(self, observation):
            raise error

    app = app_at(tmp_path)
    app.observers.add("lines", Ending(), WhenFull.WAIT)
    await run_until_delivered(app, tmp_path)
    first, last = said(caplog, logging.ERROR)
    assert error.__name__ in first
    assert "it ends here after 0 batches, the agent goes on" in last


async def test_an_error_now_and_then_costs_one_batch(tmp_path):
    class Shaky(Raising):
        def __init__(self):
            self.calls = 0

        def update(self, observation):
            self.calls += 1
            if self.calls % 2:
                super().update(observation)

    app, shaky = app_at(tmp_path), Shaky()
    app.observers.add("shaky", shaky)
    await run_until_delivered(app, tmp_path)
    counters = app.observers.counters()["shaky"]
    assert counters.errors > MOST_ERRORS
    assert counters.dropped == 0
    assert counters.seen + counters.errors == shaky.calls


@pytest.mark.usefixtures("_small_queue")
async def test_a_recording_that_does_not_keep_up_is_whole_up_to_its_end(tmp_path, caplog):
    class Slow:
        def __init__(self, recorder):
            self.recorder, self.release = recorder, threading.Event()

        def update(self, observation):
            self.recorder.write(observation.batch)
            if observation.batch.read_at == START + 5 * SECOND:
                self.release.wait()

    app = app_at(tmp_path)
    with Recorder(tmp_path / "short.rec") as recorder:
        slow = Slow(recorder)
        app.observers.add("recording", slow, WhenFull.END)
        await run_until_delivered(app, tmp_path, slow.release)
    kept = [batch.read_at for batch in batches(tmp_path / "short.rec") if len(batch) and batch.source == "line"]
    assert kept == [START + number * SECOND for number in range(1, 6)]
    assert ["does not keep up; it ends here after" in message for message in said(caplog, logging.ERROR)] == [True]


@pytest.mark.usefixtures("_small_queue")
async def test_who_is_waited_for_sees_everything_however_slow(tmp_path):
    class Slow(Blocking):
        def update(self, observation):
            self.release.wait(0.002)
            self.seen.append(observation.batch)

    app, slow = app_at(tmp_path), Slow()
    app.observers.add("lines", slow, WhenFull.WAIT)
    await run_until_delivered(app, tmp_path)
    read = [batch.read_at for batch in slow.seen if batch.source == "line"]
    assert read == [START + number * SECOND for number in range(1, READINGS + 1)]
    assert app.observers.counters()["lines"].dropped == 0


def arrays(observation: Observation):
    for rows in (*observation.decisions.results.values(), *observation.decisions.raw.values()):
        yield from (rows.key, rows.start, rows.end, rows.at, *rows.values.values())


def test_what_an_observer_was_shown_does_not_change_afterwards():
    """Of every window and detector there is: no result is a view of state that goes on."""
    chance, now = random.Random(1), START
    engine = build_pipeline(everything()).engine()
    shown = []
    for _ in range(60):
        n = chance.choice([1, 5, 40])
        rows = np.random.default_rng(chance.randrange(10**6))
        values = {name: rows.normal(5, 2, n) for name in "xyz"}
        times = now + np.arange(n) * 10**8
        now = int(times[-1]) + 10**8
        batch = Batch(("a", "b", "c"), rows.integers(0, 3, n).astype(np.int32), times, values, now, source="line")
        observation = Observation.of(engine, batch, engine.process(batch))
        shown.append((observation, [array.copy() for array in arrays(observation)]))
    assert sum(len(rows) for one, _ in shown for rows in one.decisions.results.values()) > 1000
    for observation, before in shown:
        for array, copy in zip(arrays(observation), before, strict=True):
            np.testing.assert_array_equal(array, copy)


def test_the_observations_of_one_engine_share_their_labels():
    engine = build_pipeline(everything()).engine()
    one, other = (Observation.of(engine, dataclasses.replace(EMPTY), engine.process(EMPTY)) for _ in range(2))
    assert one.labels is other.labels


EMPTY = Batch((), np.zeros(0, np.int32), np.zeros(0, np.int64), {}, START)
