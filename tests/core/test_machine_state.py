"""A machine in short: the worst of what is open, offline, stale or ok; the same after a restart."""

import json

from agent.runtime.machine_state import MachineState
from sensors.batch import tick
from tests.core.streams import pipeline
from tests.core.test_control import SECOND, START, reading

TABLES = {
    "rule": {
        "hot": {"when": "x >= 90", "severity": "critical", "no_data": "60s"},
        "warm": {"when": "x >= 80", "severity": "warning", "no_data": "60s"},
    }
}


def told(summary, engine, batch):
    messages = summary.update(engine.process(batch).alerts, engine)
    return [(message.machine, json.loads(message.body)["state"]) for message in messages]


def test_the_worst_open_alert_is_the_state_until_all_are_resolved():
    found = pipeline(TABLES)
    engine, summary = found.engine(), MachineState(found.identity)
    assert told(summary, engine, reading(95, 0)) == [("m", "critical")]
    assert told(summary, engine, reading(85, 1)) == [("m", "warning")]
    assert told(summary, engine, tick(START + 120 * SECOND)) == [("m", "stale")]
    assert told(summary, engine, reading(50, 121))[-1] == ("m", "ok")


def test_a_silent_machine_is_offline_and_a_restart_knows_it():
    tables = {"rule": {**TABLES["rule"], "quiet": {"type": "deadman", "after": "10s"}}}
    found = pipeline(tables)
    engine, summary = found.engine(), MachineState(found.identity)
    told(summary, engine, reading(95, 0))
    assert told(summary, engine, tick(START + 20 * SECOND)) == [("m", "offline")]
    after = pipeline(tables)
    resumed, other = after.engine(), MachineState(after.identity)
    resumed.restore(engine.snapshot())
    other.resume(resumed)
    back = other.update(resumed.process(reading(95, 30)).alerts, resumed)
    assert json.loads(back[-1].body)["open_count"] == 2
    assert json.loads(back[-1].body)["state"] == "critical"
