"""Columns that never come are noted by the engine, whatever else does."""

import numpy as np

from agent.settings.build import build_pipeline
from agent.settings.settings import Settings
from sensors.codecs.json_lines import JsonLines

NOW = 1_700_000_000 * 10**9
TABLES = {
    "source": {"line": {"type": "tcp", "port": 1}, "other": {"type": "tcp", "port": 2}},
    "detector": {"any": {"metric": "presure"}, "its": {"metric": "flow", "on": "other"}},
    "rule": {"hot": {"when": "temp > 3 and state = 'run'"}},
}


def waiting(engine, on=""):
    return {(name, column) for name, column, _ in engine.awaited.columns(on)}


def test_a_column_is_waited_for_until_it_has_a_value():
    engine = build_pipeline(Settings(**TABLES)).engine()
    assert waiting(engine) == set()  # nothing was read: nothing is missing yet
    codec = JsonLines(values=["presure", "pressure", "temp"], texts=["state"])
    for line, left in (
        (b'{"pressure": 1}', {("any", "presure"), ("hot", "temp"), ("hot", "state")}),
        (b'{"pressure": 1, "temp": 2}', {("any", "presure"), ("hot", "state")}),
        (b'{"pressure": 1, "state": "run"}', {("any", "presure")}),
        (b'{"pressure": 1}', {("any", "presure")}),
    ):
        engine.process(codec.feed(line + b"\n", NOW))
        assert waiting(engine) == left
    assert waiting(engine, "other") == set()  # no reading of it came


def test_readings_of_another_source_do_not_count():
    engine = build_pipeline(Settings(**TABLES)).engine()
    batch = JsonLines().feed(b'{"flow": 1}\n', NOW)
    engine.process(batch)
    assert waiting(engine, "other") == set()
    empty = np.array([np.nan])
    engine.process(type(batch)(batch.machines, batch.machine, batch.time, {"flow": empty}, NOW, source="other"))
    assert waiting(engine, "other") == {("its", "flow")}
    engine.process(type(batch)(batch.machines, batch.machine, batch.time, batch.values, NOW, source="other"))
    assert waiting(engine, "other") == set()


def test_only_columns_that_had_a_value_are_said_to_have_come():
    engine = build_pipeline(Settings(**TABLES)).engine()
    codec = JsonLines(values=["presure", "temp", "druck"])
    engine.process(codec.feed(b'{"druck": 1, "other": 2}\n', NOW))
    assert {tuple(there) for _, _, there in engine.awaited.columns("")} == {("druck",)}
    empty = build_pipeline(Settings(**TABLES)).engine()
    empty.process(JsonLines(values=["presure", "temp"]).feed(b'{"other": 2}\n', NOW))
    assert ("any", "presure", []) in list(empty.awaited.columns(""))
