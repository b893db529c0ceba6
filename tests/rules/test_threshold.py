"""Threshold rules: what raises, what clears, what stays."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.core.rows import Rows
from agent.engine.wording import label
from agent.expressions import Expression, ExpressionError
from agent.rules.threshold import Threshold
from sensors.units import Duration

S = 10**9


def expression(text):
    return Expression.parse(text)


def rows_of(values, keys=None, now=None, start=0, **more):
    n = len(values)
    time = (np.arange(n) + start) * S
    keys = np.zeros(n, np.int64) if keys is None else np.array(keys, np.int64)
    columns = {"mean": np.array(values, float), **{name: np.array(column, float) for name, column in more.items()}}
    return Rows(keys, time - 5 * S, time, np.arange(n), columns, (start + n) * S if now is None else now)


def changes(rule, rows):
    return [(str(item.change), item.at, item.severity) for item in rule.process(rows).transitions]


def test_between_raise_and_clear_it_stays_as_it_is():
    rule = Threshold(expression("mean >= 90"), expression("mean < 88"), severity="critical")
    found = changes(rule, rows_of([89, 90, 89, 88, 91, 87.9, 89, 90]))
    assert found == [("raised", 1, "critical"), ("resolved", 5, "critical"), ("raised", 7, "critical")]


def test_without_a_clear_level_it_clears_when_the_condition_is_false():
    rule = Threshold(expression("mean >= 90"))
    assert [change for change, *_ in changes(rule, rows_of([90, 89.9, 90]))] == ["raised", "resolved", "raised"]


def test_a_missing_value_changes_nothing():
    rule = Threshold(expression("mean >= 90"))
    assert [change for change, *_ in changes(rule, rows_of([90, math.nan, math.nan, 95, math.nan]))] == ["raised"]


def test_a_refused_series_is_ignored():
    assert changes(Threshold(expression("mean >= 90")), rows_of([95, 95], keys=[-1, -1])) == []


def test_an_incident_escalates_and_keeps_the_highest_severity():
    rule = Threshold(
        expression("mean >= 80"), levels={"fatal": expression("mean >= 95"), "critical": expression("mean >= 90")}
    )
    found = changes(rule, rows_of([81, 91, 85, 92, 96, 79]))
    assert found == [
        ("raised", 0, "warning"),
        ("escalated", 1, "critical"),
        ("escalated", 4, "fatal"),
        ("resolved", 5, "fatal"),
    ]


def test_a_transition_tells_value_window_and_counts():
    rule = Threshold(expression("round(mean, 2) >= 90"))
    (event,) = rule.process(
        rows_of([89.994, 89.996], count=[5, 6], missing=[0, 1], score=[0.1, math.nan])
    ).transitions
    assert (event.value, event.start, event.end, event.count, event.missing, event.score) == (
        89.996,
        -4 * S,
        S,
        6,
        1,
        None,
    )


def test_raw_mode_gives_every_row_above_the_limit_and_numbers_them():
    rule = Threshold(expression("mean >= 90"), mode="raw")
    first = rule.process(rows_of([90, 89, 91, 95], keys=[0, 0, 1, 0])).raw
    second = rule.process(rows_of([90, 93], keys=[1, 0])).raw
    assert first.values["emission"].tolist() == [1, 1, 2]
    assert second.values["emission"].tolist() == [2, 3]
    assert rule.process(rows_of([])).raw is None


def test_it_says_what_it_is_about():
    rule = Threshold(expression("round(mean, 2) >= 90"), expression("mean < 88"), unit="°C")
    made = label("hot", rule, "Temperature_C")
    assert (made.metric, made.signal, made.limit, made.quantity()) == (
        "mean",
        "Temperature_C",
        ">= 90",
        "mean Temperature_C",
    )
    assert (made.raise_limit, made.clear_limit) == ("round(mean, 2) >= 90", "mean < 88")
    assert Threshold(expression("mean > -3")).limit == "> -3"
    assert Threshold(expression("mean > 3 or mean < 1")).limit == ""
    assert set(rule.inputs()) == {"mean"}


def test_what_makes_no_sense_is_refused():
    with pytest.raises(ExpressionError, match="not a condition"):
        Threshold(expression("mean + 1"))
    with pytest.raises(ValueError, match="not above the severity"):
        Threshold(expression("mean > 1"), severity="critical", levels={"warning": expression("mean > 2")})
    with pytest.raises(ValueError, match="flap_changes"):
        Threshold(expression("mean > 1"), flap_changes=-1)


values = st.lists(st.tuples(st.integers(0, 2), st.sampled_from([80.0, 88.5, 90.0, 95.0, math.nan])), max_size=25)


@pytest.mark.law2
@settings(max_examples=50, deadline=None)
@given(values, st.sampled_from(["incident", "raw"]), st.data())
def test_cuts_and_restarts_change_nothing(made, mode, data):
    def fresh():
        return Threshold(
            expression("mean >= 90"), expression("mean < 88"), mode=mode, for_=Duration("2s"), hold=Duration("1s"),
            levels={"critical": expression("mean > 92")}, flap_changes=2, flap_within=Duration("20s"),
        )  # fmt: skip

    rows = rows_of([value for _, value in made], [key for key, _ in made])
    verdict = fresh().process(rows)
    found, raw = in_pieces(fresh, rows, data)
    assert found == verdict.transitions
    assert raw == told(verdict.raw)


def told(raw):
    return [] if raw is None else list(zip(raw.at.tolist(), raw.values["emission"].tolist(), strict=True))


def in_pieces(fresh, rows, data):
    """Transitions and raw rows when the rows come in random pieces, with a restart between any two."""
    rule, found, raw = fresh(), [], []
    cuts = [0, *sorted(data.draw(st.lists(st.integers(0, len(rows)), max_size=5))), len(rows)]
    for low, high in itertools.pairwise(cuts):
        part = rule.process(rows.take(np.arange(low, high)))
        found += part.transitions
        raw += told(part.raw)
        state, rule = rule.snapshot(), fresh()
        rule.restore(state)
    return found, raw
