"""A state that is whole but of something else is refused with a reason, wherever in it the foreign part is."""

from __future__ import annotations

import contextlib
import copy
import itertools

import numpy as np
import pytest

from agent.alerts.commands import Command, command_batch
from agent.core.series import Field, SeriesState
from agent.core.series_records import SeriesRecords
from agent.engine.state import UNFIT
from agent.rules.row_evidence import RowEvidence
from agent.settings.build import build_pipeline
from agent.settings.settings import Settings
from sensors.batch import Batch
from tests.rules.test_rule_series import CASES, SECOND, SERIES, make, stream

NONSENSE = (
    None,
    3,
    "text",
    [],
    [1, 2],
    {},
    {"x": {}},
    {"0": []},
    {"0": [1, 2, [[0]]]},
    {"99": {}},
    np.zeros((3, 3)),
)


def paths(state, above=()):
    """All places in a state, the state itself among them."""
    yield above
    if isinstance(state, dict):
        for name, part in state.items():
            yield from paths(part, (*above, name))
    elif isinstance(state, list):
        for place, part in enumerate(state[:3]):
            yield from paths(part, (*above, place))


def replaced(state, path, value):
    if not path:
        return value
    state = copy.deepcopy(state)
    at = state
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = value
    return state


@pytest.mark.parametrize("name", CASES)
def test_a_rule_restores_or_refuses_but_does_not_fail(name):
    rule, batches = make(name), stream(11)
    for rows in batches:
        rule.process(rows)
    saved, keys = rule.snapshot(), np.arange(SERIES)
    assert saved
    for path, value in itertools.product(paths(saved), NONSENSE):
        foreign = replaced(saved, path, value)
        for take in (make(name).restore, lambda state: make(name).merge(keys, state)):
            with contextlib.suppress(*UNFIT):
                take(copy.deepcopy(foreign))


@pytest.mark.parametrize("name", CASES)
def test_a_rule_goes_on_from_what_it_did_not_refuse(name):
    batches = stream(11)
    rule = make(name)
    for rows in batches:
        rule.process(rows)
    taken = 0
    for path, value in itertools.product(paths(rule.snapshot()), NONSENSE):
        other = make(name)
        try:
            other.restore(replaced(rule.snapshot(), path, value))
        except UNFIT:
            continue
        taken += 1
        for rows in batches:
            other.process(rows)
    assert taken


def engine_of_a_machine():
    tables = {"rule": {"hot": {"when": "x >= 90"}, "gone": {"type": "deadman", "after": "1m"}}}
    return build_pipeline(Settings(agent={"site": "s", "name": "a"}, **tables)).engine()


def test_an_engine_goes_on_from_what_it_did_not_refuse():
    engine = engine_of_a_machine()
    one = np.zeros(1, np.int32)
    reading = Batch(("m",), one, np.array([SECOND]), {"x": np.array([95.0])}, SECOND)
    later = Batch(("m",), one, np.array([2 * SECOND]), {"x": np.array([1.0])}, 2 * SECOND)
    assert engine.process(reading).alerts
    assert engine.process(command_batch([Command("silence", "1", seconds=60.0)], SECOND)).replies[0].count == 1
    saved = engine.snapshot()
    refused = 0
    for path, value in itertools.product(paths(saved), NONSENSE):
        other = engine_of_a_machine()
        try:
            other.restore(replaced(saved, path, value))
        except UNFIT:
            refused += 1
            continue
        other.process(later)
        other.process(command_batch([Command("ack", "2")], 2 * SECOND))
    assert refused


@pytest.mark.parametrize(
    ("leaf", "state", "message"),
    [
        (SeriesRecords(), [1, 2], "a state has entries by name, this is a list"),
        (SeriesRecords(), None, "this is a NoneType"),
        (RowEvidence(), [1, 2], "this is a list"),
        (RowEvidence(), {"0": {"x": 1}}, "no evidence of a row"),
        (RowEvidence(), {"0": {"evidence": [1]}}, "no evidence of a row"),
        (SeriesState(count=Field(np.int64)), {"count": 3}, "'count' is one int, not a value a series"),
    ],
)
def test_a_leaf_names_what_is_wrong(leaf, state, message):
    for take in (leaf.restore, lambda state: leaf.merge(np.arange(1), state)):
        with pytest.raises((TypeError, ValueError), match=message):
            take(state)


def test_a_record_beyond_the_series_is_refused():
    for leaf in (SeriesRecords(), RowEvidence()):
        with pytest.raises(ValueError, match="of the series 7 of 2"):
            leaf.merge(np.arange(2), {"7": {}})


@pytest.mark.parametrize(
    "record",
    [
        [],
        {},
        3,
        [1, 2],
        [1, 99, [[0]]],
        [1, 0, [[0]]],
        [1, 1, 3],
        [1, 1, [[]]],
        [1, 1, [[1]]],
        [1, 1, [[0, 0, 0, 0]]],
    ],
)
def test_an_open_match_that_is_not_about_the_rows_kept_is_refused(record):
    rule = make("pattern")
    for rows in stream(11):
        rule.process(rows)
    saved = rule.snapshot()
    assert saved["search"]["open"]
    saved["search"]["open"] = dict.fromkeys(saved["search"]["open"], record)
    with pytest.raises(ValueError, match="open match"):
        make("pattern").restore(saved)
