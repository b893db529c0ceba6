"""Acknowledge, silence, and the hush around a machine that is offline."""

import numpy as np

from agent.alerts.commands import Command, command_batch
from sensors.batch import Batch, tick
from tests.core.streams import pipeline

SECOND = 10**9
START = 1_700_000_000 * SECOND
TABLES = {
    "rule": {
        "hot": {"when": "x >= 90", "no_data": "60s"},
        "quiet": {"type": "deadman", "after": "10s"},
    }
}


def reading(value, second, machine="m"):
    time = START + second * SECOND
    return Batch((machine,), np.zeros(1, np.int32), np.array([time]), {"x": np.array([float(value)])}, time)


def command(second, **fields):
    return command_batch([Command(**{"id": "c1", **fields})], START + second * SECOND)


def changes(decisions):
    return [(alert.rule, alert.machine, str(alert.change), alert.flags) for alert in decisions.alerts]


def engine_of():
    return pipeline(TABLES).engine()


def test_an_acknowledged_incident_says_so_once_and_keeps_its_flag():
    engine = engine_of()
    engine.process(reading(95, 0))
    told = engine.process(command(1, verb="ack", machine="m", note="Ana looks"))
    assert changes(told) == [("hot", "m", "acked", ("acked",))]
    assert told.alerts[0].note == "Ana looks"
    assert told.replies[0].count == 1
    assert engine.process(command(2, verb="ack")).replies[0].count == 0
    assert changes(engine.process(reading(50, 3))) == [("hot", "m", "resolved", ("acked",))]


def test_a_silence_flags_what_it_covers_until_it_ends_and_then_tells_what_still_fires():
    engine = engine_of()
    engine.process(reading(95, 0))
    told = engine.process(command(1, verb="silence", machine="m", rule="h*", seconds=5.0))
    assert changes(told) == [("hot", "m", "silenced", ("silenced",))]
    assert changes(engine.process(reading(95, 2, "other"))) == [("hot", "other", "raised", ())]
    assert changes(engine.process(reading(50, 3))) == [("hot", "m", "resolved", ("silenced",))]
    assert changes(engine.process(reading(95, 4))) == [("hot", "m", "raised", ("silenced",))]
    after = engine.process(tick(START + 6 * SECOND))
    assert changes(after) == [("hot", "m", "updated", ())]
    assert after.silences == {"silences": []}


def test_a_silence_is_ended_by_its_id():
    engine = engine_of()
    engine.process(command(0, verb="silence", id="night", seconds=3600.0))
    assert engine.process(command(1, verb="unsilence", id="night")).replies[0].count == 1
    assert "there is no silence" in engine.process(command(2, verb="unsilence", id="night")).replies[0].error


def test_a_wrong_command_is_refused_with_a_reason():
    engine = engine_of()
    for fields, said in [
        ({"verb": "explode"}, "unknown verb 'explode'"),
        ({"verb": "silence"}, "a silence of 0.0 s"),
        ({"verb": "silence", "seconds": 1e12}, "at most a year"),
        ({"verb": "ack", "id": ""}, "id is missing"),
    ]:
        assert said in engine.process(command(0, **fields)).replies[0].error


def test_a_machine_that_is_offline_inhibits_its_other_alerts():
    engine = engine_of()
    engine.process(reading(95, 0))
    silent = engine.process(tick(START + 20 * SECOND))
    assert ("quiet", "m", "raised", ()) in changes(silent)
    later = engine.process(tick(START + 90 * SECOND))
    assert changes(later) == [("hot", "m", "no_data", ("inhibited",))]


def test_silences_are_kept_with_the_state():
    engine, other = engine_of(), engine_of()
    engine.process(command(0, verb="silence", id="night", seconds=3600.0))
    other.restore(engine.snapshot())
    assert changes(other.process(reading(95, 1))) == [("hot", "m", "raised", ("silenced",))]


def test_how_commands_are_batched_changes_nothing():
    commands = [
        Command("ack", "a", rule="warm"),
        Command("silence", "s", seconds=60.0),
        Command("ack", "b", rule="hot"),
        Command("unsilence", "s"),
    ]
    tables = {"rule": {"hot": {"when": "x >= 90"}, "warm": {"when": "x >= 50"}}}
    together, apart = pipeline(tables).engine(), pipeline(tables).engine()
    now = START + SECOND
    for engine in (together, apart):
        engine.process(reading(95, 0))
    at_once = together.process(command_batch(commands, now))
    one_by_one = [apart.process(command_batch([each], now)) for each in commands]
    assert at_once.alerts == [alert for decisions in one_by_one for alert in decisions.alerts]
    assert at_once.replies == [reply for decisions in one_by_one for reply in decisions.replies]
    assert at_once.silences == one_by_one[-1].silences == {"silences": []}
    assert together.incidents.snapshot() == apart.incidents.snapshot()


def test_an_open_incident_is_not_forgotten_with_its_idle_series():
    engine = pipeline({**TABLES, "agent": {"idle": "1h"}}).engine()
    engine.process(reading(50, 0))
    engine.process(reading(50, 0, "fine"))
    engine.process(reading(95, 0, "hot"))
    offline = engine.process(tick(START + 20 * SECOND))
    assert ("quiet", "m", "raised", ()) in changes(offline)
    for hour in range(1, 6):
        engine.process(tick(START + hour * 3600 * SECOND))
    back = changes(engine.process(reading(50, 5 * 3600 + 1)))
    assert [change[:3] for change in back] == [("quiet", "m", "resolved")]
    cooler = {change[:3] for change in changes(engine.process(reading(50, 5 * 3600 + 2, "hot")))}
    assert {("hot", "hot", "resolved"), ("quiet", "hot", "resolved")} <= cooler


def test_a_series_that_fires_is_not_forgotten_however_long_it_is_silent():
    day = 86400
    engine = pipeline(
        {"agent": {"site": "s", "name": "a", "idle": "7d"}, "rule": {"hot": {"when": "x >= 90"}}}
    ).engine()
    engine.process(reading(95, 0))
    engine.process(reading(50, 0, "calm"))
    engine.process(tick(START + 10 * day * SECOND))
    assert [name for name in engine.series("hot").names if name] == [("m",)]
    assert changes(engine.process(reading(50, 10 * day + 1))) == [("hot", "m", "resolved", ())]
