"""An incident outlives a crash: what is noted beside its alerts is enough to go on without raising it again."""

import json

from tests.core.streams import pipeline

TABLES = {"rule": {"hot": {"when": "x >= 90", "clear": "x < 80", "for": "1s"}}}
SECOND = 10**9


def feed(engine, values, start):
    import numpy as np

    from sensors.batch import Batch

    found = []
    for step, value in enumerate(values):
        time = start + step * SECOND
        batch = Batch(("m",), np.zeros(1, np.int32), np.array([time]), {"x": np.array([float(value)])}, time)
        found.append(engine.process(batch))
    return found


def noted(decisions):
    """The newest note of each incident, as it comes back from disk."""
    notes = {}
    for decision in decisions:
        notes |= decision.incidents
    return {key: json.loads(json.dumps(saved)) for key, saved in notes.items()}


def test_an_adopted_incident_is_not_raised_twice_and_is_resolved_with_the_same_id():
    start = 1_700_000_000 * SECOND
    first = pipeline(TABLES)
    decisions = feed(first.engine(), [95, 95, 95], start)
    raised = [alert for decision in decisions for alert in decision.alerts]
    assert [alert.change for alert in raised] == ["raised"]

    engine = pipeline(TABLES).engine()  # after kill -9, with no checkpoint
    for (rule, series), saved in noted(decisions).items():
        engine.adopt(rule, series, saved)
    later = [alert for decision in feed(engine, [95, 95, 70, 70], start + 60 * SECOND) for alert in decision.alerts]
    assert [alert.change for alert in later] == ["resolved"]
    assert later[0].incident == raised[0].incident
    assert later[0].sequence == raised[0].sequence + 1


def test_an_incident_of_a_rule_that_is_gone_is_passed_over():
    start = 1_700_000_000 * SECOND
    notes = noted(feed(pipeline(TABLES).engine(), [95, 95, 95], start))
    other = pipeline({"rule": {"cold": {"when": "x < 0"}}}).engine()
    for (rule, series), saved in notes.items():
        other.adopt(rule, series, saved)
    assert feed(other, [95], start + 60 * SECOND)[0].alerts == []
