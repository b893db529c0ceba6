"""Every counter of every part is in the health report, in the table that says what it means, and told once if lost."""

from __future__ import annotations

import dataclasses
import logging

import numpy as np
import orjson
import pytest

from agent.core.operator import Operator
from agent.core.series_counter import SeriesCounter
from agent.ops import health
from agent.ops.counters import COUNTERS, about, losses
from agent.runtime.app import App
from agent.settings.build import build_pipeline
from agent.settings.settings import Settings
from sensors.batch import Batch
from sensors.drivers.simulated import Temperature
from tests.faults.test_garbage import everything

SECOND = 10**9
START = 1_700_000_000 * SECOND


class Looking:
    def update(self, observation):
        pass


@pytest.fixture
def app(tmp_path):
    """An agent of everything there is in the registry: each window, each detector, rules, a source, a sink."""
    settings = everything()
    settings.agent.state = tmp_path
    settings.sink["file"] = {"type": "lines", "path": str(tmp_path / "out")}
    pipeline = build_pipeline(settings)
    pipeline.sources["line"] = Temperature()
    app = App(pipeline)
    app.observers.add("picture", Looking())
    return app


async def test_each_counter_of_each_part_is_in_the_report_and_in_the_table(app):
    async with app.outbox, app._delivering():
        stats = app.stats()
        report = health.report(
            app.pipeline, app.pipeline.sources, app.engine, app.outbox, app.deliveries, stats, 1.0, 0
        )
    told = orjson.loads(health.message(report).body)["counters"]
    assert told == {part: dict(counters) for part, counters in stats.items()}
    for name, step in app.engine.steps.items():
        if isinstance(step, Operator):
            assert told[f"{step.kind}.{name}"] == step.stats()
    for name, rule in app.engine.rules.items():
        assert told[f"rule.{name}"] == rule.stats()
    assert {part.partition(".")[0] for part in told} >= {"engine", "keys", "source", "outbox", "sink", "observer"}
    unknown = [(part, name) for part, counters in told.items() for name in counters if not about(part, name).counts]
    assert unknown == []


async def test_a_counter_of_an_outside_part_is_in_the_report_and_ends_nothing(app):
    next(iter(app.engine.rules.values())).stats = lambda: {"of_its_own": 3}
    async with app.outbox:
        stats = app.stats()
        app._data_watch.look()
    assert {"of_its_own": 3} in stats.values()
    assert "of_its_own" not in str(app.counters())


async def test_no_counter_in_the_table_is_one_that_nothing_counts(app):
    async with app.outbox, app._delivering():
        stats = app.stats()
    counted = {f"{part.partition('.')[0]}.{name}" for part, counters in stats.items() for name in counters}
    own = {name for name in COUNTERS if "." in name}
    assert own <= counted


@dataclasses.dataclass
class Refusing(Operator):
    """Refuses every reading above 90 as late."""

    kind = "window"
    on: str = ""
    by: tuple[str, ...] = ("machine",)
    metric: str = "x"

    def __post_init__(self):
        self.late = SeriesCounter()

    def process(self, rows):
        self.late.add(rows.key[rows.values["x"] > 90] if "x" in rows.values else rows.key[:0])
        return rows

    def stats(self):
        return {"late": sum(self.late.worst(10**6).values())}

    def stats_by_series(self):
        return {"late": self.late}


async def test_the_series_that_lose_most_are_named_and_only_so_many(tmp_path, caplog):
    pipeline = build_pipeline(Settings(agent={"site": "s", "name": "a", "state": tmp_path}))
    pipeline.steps["w"] = Refusing()
    app = App(pipeline)
    machines = tuple(f"m{number}" for number in range(50))
    codes = np.array([7, 7, 7, *range(50)], np.int32)
    batch = Batch(machines, codes, np.full(53, START), {"x": np.full(53, 95.0)}, START)
    async with app.outbox:
        await app.decide(batch)
    app._data_watch.look()
    worst = health.worst_series(app.engine)
    assert list(worst) == ["window.w"]
    assert list(worst["window.w"]["late"].items())[:3] == [("m7", 4), ("m0", 1), ("m1", 1)]
    assert len(worst["window.w"]["late"]) == health.MOST_SERIES
    assert "window w: late 53, most of them of m7 (readings that came after" in caplog.text


async def test_the_series_whose_rows_come_too_late_for_a_pattern_are_named(tmp_path):
    tables = {"rule": {"falls": {"type": "pattern", "steps": ["a", "b: < a"], "metric": "x", "delay": "1s"}}}
    app = App(build_pipeline(Settings(agent={"site": "s", "name": "a", "state": tmp_path}, **tables)))
    times = START + SECOND * np.array([9, 1, 9, 2])
    batch = Batch(("m", "late"), np.array([0, 1, 0, 1], np.int32), times, {"x": np.zeros(4)}, START + 9 * SECOND)
    async with app.outbox:
        await app.decide(batch)
    assert health.worst_series(app.engine) == {"rule.falls": {"late": {"late": 2}}}


async def test_what_is_lost_is_told_once_with_what_to_do(tmp_path, caplog):
    app = App(build_pipeline(Settings(agent={"site": "s", "name": "a", "state": tmp_path, "max_future": "1m"})))
    future = np.array([START, START + 3600 * SECOND])
    batch = Batch(("a", "b"), np.array([0, 0], np.int32), future, {"x": np.zeros(2)}, START)
    async with app.outbox:
        for _ in range(3):
            await app.decide(batch)
            app._data_watch.look()
    assert list(losses(app.stats())) == [("engine", "refused_future", 3)]
    assert [record.message for record in caplog.records if record.levelno == logging.WARNING] == [
        "engine: refused_future 1 (readings refused, their time being more than `agent.max_future` ahead of the host's "
        "clock); set the clocks right (NTP) or raise `agent.max_future`"
    ]
    assert app.counters()["engine refused_future"] == 3
