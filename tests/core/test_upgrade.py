"""A checkpoint that an older agent wrote: what still means the same is gone on from, and nothing else is lost.

`upgrade/engine.checkpoint.gz` was written by the agent as it was before states had versions (ddb1091): two machines,
400 readings each, the configuration beside it; m1 is hot since the reading 380, and the source stood at 4711.
"""

import gzip
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from agent.alerts.alert import Identity
from agent.core.series import Stateful
from agent.engine.engine import Engine
from agent.runtime.app import App
from agent.runtime.host_clock import HostClock
from agent.settings import settings
from agent.settings.build import build_pipeline
from agent.settings.fingerprints import fingerprints
from agent.settings.registry import Registry, build
from agent.storage.single_file import load
from sensors.batch import Batch
from sensors.source import Positioned
from tests.storage import single_file

HERE = Path(__file__).parent / "upgrade"
SECOND = 10**9
START = 1_700_000_000 * SECOND
NEW = {
    "kl", "mains", "pca", "neighbour", "seasonal", "combined", "calibrated", "auto", "cusum", "ewma", "noise_burst",
    "page_hinkley", "spike", "stuck",
}  # fmt: skip


def readings(rows):
    noise = np.random.default_rng(1)
    x = 50 + noise.normal(0, 2, (400, 2)).round(2)
    x[-20:, 0] = 60
    x = np.concatenate([x, 50 + noise.normal(0, 2, (200, 2))])
    x[500:, 0] = 30
    codes = np.arange(2, dtype=np.int32)
    for k in rows:
        time, values = START + k * SECOND, {"x": x[k], "y": x[k] + 1, "z": x[k] * 2}
        yield Batch(("m1", "m2"), codes, np.full(2, time), values, time)


class Place(Positioned):
    """A source that can be read again, as Kafka can."""

    def __init__(self):
        self.at = {}

    def position(self):
        return dict(self.at)

    def seek(self, position):
        self.at = dict(position)

    async def __aenter__(self):
        return self

    async def __aexit__(self, *exc):
        pass

    async def __anext__(self):
        raise StopAsyncIteration


@pytest.fixture
def started(tmp_path):
    """How an agent of today starts on the old state directory."""

    def start(change=lambda state: state):
        pipeline = build_pipeline(settings.load(HERE / "agent.toml"))
        pipeline.settings.agent.state = tmp_path
        pipeline.sources["line"] = Place()
        file = tmp_path / "engine.checkpoint"
        file.write_bytes(gzip.decompress((HERE / "engine.checkpoint.gz").read_bytes()))
        single_file.save(file, change(load(file)))
        return App(pipeline, clock=HostClock(wall=lambda: START + 400 * SECOND))

    return start


async def resumed(app):
    async with app.outbox:
        app.resume()
    return app


async def test_what_means_the_same_goes_on_and_only_the_rest_starts_anew(started, caplog, tmp_path):
    app = await resumed(started())
    assert {record.args[0] for record in caplog.records if "is new or changed" in record.message} == NEW
    assert not list(tmp_path.glob("*.corrupt-*"))
    assert app.pipeline.sources["line"].at == {"0": 4711}
    assert app.engine.incidents.sequence == 1
    always = build_pipeline(app.pipeline.settings).engine()
    for batch in readings(range(400)):
        always.process(batch)
    kept = app.engine.steps.keys() - NEW
    told = []
    for batch in readings(range(400, 600)):
        after, whole = app.engine.process(batch), always.process(batch)
        told += [(str(alert.change), alert.machine) for alert in after.alerts if alert.rule == "hot"]
        for name in kept:
            for column, values in whole.results[name].values.items():
                np.testing.assert_array_equal(after.results[name].values[column], values, err_msg=name)
    assert told == [("resolved", "m1")]


async def test_what_was_read_is_replaced_by_the_first_save_and_read_again_from_there(started, tmp_path):
    app = started()
    async with app.outbox:
        app.resume()
        await app.checkpointer.save()
    assert not (tmp_path / "engine.checkpoint").exists()
    again = App(build_pipeline(app.pipeline.settings), clock=HostClock(wall=lambda: START + 400 * SECOND))
    again.pipeline.sources["line"] = Place()
    async with again.outbox:
        again.resume()
    assert again.pipeline.sources["line"].at == {"0": 4711}
    theirs = again.engine.tracked()
    for name, (part, _) in app.engine.tracked().items():
        np.testing.assert_equal(theirs[name].part.extract(np.arange(16)), part.extract(np.arange(16)), err_msg=name)
    for batch in readings(range(400, 450)):
        after, whole = again.engine.process(batch), app.engine.process(batch)
        assert [alert.id for alert in after.alerts] == [alert.id for alert in whole.alerts]


async def test_a_part_that_does_not_fit_starts_anew_by_itself(started, caplog, tmp_path):
    def broken(state):
        steps, rules = state["engine"]["steps"], state["engine"]["rules"]
        steps["spatial"].pop("high")
        steps["robust_z"]["ring"] = steps["robust_z"]["ring"][:, :3]
        rules["odd"]["life"].pop("level")
        return state

    app = await resumed(started(broken))
    unfit = [record.args[0] for record in caplog.records if "does not fit" in record.message]
    assert sorted(unfit) == ["odd", "robust_z", "spatial"]
    assert not list(tmp_path.glob("*.corrupt-*"))
    assert app.pipeline.sources["line"].at == {"0": 4711}
    assert app.engine.rules["hot"].life.firing().tolist() == [0]
    fresh = build_pipeline(app.pipeline.settings)
    for name in unfit:  # nor is it half restored
        now, new = ({**app.engine.steps, **app.engine.rules}[name], {**fresh.steps, **fresh.rules}[name])
        np.testing.assert_equal(now.snapshot(), new.snapshot())


async def test_positions_and_numbers_outlast_an_engine_that_does_not_fit(started, tmp_path):
    def broken(state):
        del state["engine"]["tables"]
        return state

    app = await resumed(started(broken))
    assert list(tmp_path.glob("engine.checkpoint.corrupt-*"))
    assert app.pipeline.sources["line"].at == {"0": 4711}
    assert app.engine.incidents.sequence == 1


KINDS = [
    ("window", name, {"metric": "x", "aggregates": ["mean"], **more})
    for name, more in {
        "count": {"count": 10},
        "cumulate": {"size": "10s", "step": "5s"},
        "hopping": {"size": "10s", "step": "5s"},
        "running": {},
        "session": {"gap": "10s"},
        "sliding": {"size": "10s"},
    }.items()
] + [("detector", "missing", {"metric": "x"}), ("detector", "contexts", {"metric": "x"})]


@pytest.mark.parametrize("file", sorted(Path("config").glob("*.toml")), ids=str)
def test_the_parts_of_each_example_are_restored(file):
    engine = build_pipeline(settings.load(file)).engine()
    assert engine.restore(engine.snapshot()) == {}


@pytest.mark.parametrize(("kind", "type_", "table"), KINDS, ids=[name for _, name, _ in KINDS])
def test_each_other_kind_is_restored(kind, type_, table):
    table = {key: value for key, value in table.items() if key in Registry().keys_of(kind, type_)}
    engine = Engine({"part": build(kind, "part", {"type": type_, **table})}, {}, Identity("s", "a"))
    for batch in readings(range(50)):
        engine.process(batch)
    assert engine.restore(engine.snapshot()) == {}


@dataclass
class Part(Stateful):
    """A step or rule inside which there may be another."""

    remembers: ClassVar = {"inner": "inner"}
    inner: tuple = ()


def test_a_raised_version_changes_the_print_of_a_step_and_of_steps_on_it_but_of_no_rule_on_it():
    class Raised(Part):
        state_version = 2

    tables = {"d": {"type": "d"}, "on_d": {"type": "c", "on": "d"}, "rule": {"on": "on_d"}}

    def prints(part):
        return fingerprints(tables, {"d": part, "on_d": Part()}, {"rule": Part()})

    before, after, inside = prints(Part()), prints(Raised()), prints(Part((Part((Raised(),)), Part())))
    for other in (after, inside):
        assert {name for name in tables if before[name] != other[name]} == {"d", "on_d"}
