"""Filter, deadman, rate, stuck and count: what each means, against plain code, however the stream is cut."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.core.rows import Rows
from agent.expressions import Expression
from agent.rules.count import Count
from agent.rules.deadman import Deadman
from agent.rules.filter import Filter
from agent.rules.rate import Rate
from agent.rules.stuck import Unchanged
from sensors.batch import Text
from sensors.units import Duration

S = 10**9
NAN = math.nan


def rows_of(values, keys=None, times=None, now=None, texts=None):
    n = len(values)
    time = (np.arange(n) if times is None else np.array(times, np.int64)) * S
    keys = np.zeros(n, np.int64) if keys is None else np.array(keys, np.int64)
    return Rows(
        keys, time, time, np.arange(n), {"v": np.array(values, float)}, (n if now is None else now) * S, texts or {}
    )


def changes(rule, rows):
    return [(str(item.change), item.at) for item in rule.process(rows).transitions]


def expression(text):
    return Expression.parse(text)


def test_a_filter_lets_through_what_is_true_and_keeps_texts():
    texts = {"status": Text(("FAIL", "OK"), np.array([1, 0, -1, 1], np.int32))}
    rows = rows_of([80, 80, NAN, 86], keys=[0, 0, 0, -1], texts=texts)
    raw = Filter(expression("status in ('FAIL') or v > 85")).process(rows).raw
    assert raw.at.tolist() == [1]
    assert raw.texts["status"].tolist() == ["FAIL"]


def test_a_rate_is_the_change_from_row_to_row():
    rule = Rate(expression("abs(rate) > 2"), metric="v")
    found = changes(rule, rows_of([1, 2, 5, NAN, 7, 3, 3, 3], times=[0, 1, 2, 3, 4, 5, 6, 6]))
    assert found == [("raised", 2), ("resolved", 4), ("raised", 5), ("resolved", 6)]


def test_a_rate_may_be_per_minute():
    assert changes(Rate(expression("rate >= 60"), metric="v", per=Duration("1m")), rows_of([1, 2, 2.9])) == [
        ("raised", 1),
        ("resolved", 2),
    ]


def test_a_stuck_value_raises_after_its_time_and_resolves_when_it_changes():
    rule = Unchanged(metric="v", after=Duration("3s"))
    found = rule.process(rows_of([1, 2, 2, 2, 2, 2, NAN, 3, 3, 3])).transitions
    assert [(str(item.change), item.at) for item in found] == [("raised", 4), ("resolved", 7)]
    assert rule.limit == "unchanged for 3s"


def test_a_small_step_may_count_as_no_change():
    rule = Unchanged(metric="v", after=Duration("3s"), tolerance=0.1)
    assert changes(rule, rows_of([1, 1.05, 1.1, 1.15, 2])) == [("raised", 3), ("resolved", 4)]
    assert changes(Unchanged(metric="v", after=Duration("2s")), rows_of([math.inf] * 3)) == [("raised", 2)]


def test_n_of_the_last_m_rows():
    rule = Count(expression("v > 10"), least=2, of=3)
    found = changes(rule, rows_of([11, 1, NAN, 11, 1, 1, 11, 11, 1, 1]))
    assert found == [("raised", 3), ("resolved", 4), ("raised", 7), ("resolved", 9)]


def test_a_count_may_clear_only_when_none_is_left():
    rule = Count(expression("v > 10"), expression("held = 0"), least=2, of=3)
    assert changes(rule, rows_of([11, 11, 1, 1, 1])) == [("raised", 1), ("resolved", 4)]


def test_a_silent_machine_is_missed_by_the_clock_and_found_again_by_a_row():
    rule = Deadman(Duration("10s"))
    rule.process(rows_of([1, 1], keys=[0, 1], now=0))
    rule.process(rows_of([1], keys=[1], times=[5], now=5))
    assert rule.process(rows_of([], now=9)).transitions == []
    (event,) = rule.process(rows_of([], now=10)).transitions
    assert (event.key, str(event.change), event.at, event.value, event.time) == (0, "raised", -1, 10.0, 10 * S)
    assert rule.process(rows_of([], now=11)).transitions == []
    (back,) = rule.process(rows_of([1], keys=[0], times=[12], now=12)).transitions
    assert (back.key, str(back.change), back.time) == (0, "resolved", 12 * S)
    assert [item.key for item in rule.process(rows_of([], now=15)).transitions] == [1]


def test_a_reading_without_the_value_is_no_sign_of_life_if_a_metric_is_named():
    rule = Deadman(Duration("10s"), metric="v")
    rule.process(rows_of([1], now=0))
    assert [str(item.change) for item in rule.process(rows_of([NAN], now=10)).transitions] == ["raised"]
    assert rule.process(rows_of([NAN], now=11)).transitions == []


def test_a_forgotten_series_is_not_missed():
    rule = Deadman(Duration("10s"))
    rule.process(rows_of([1], now=0))
    rule.evict(np.array([0]))
    assert rule.process(rows_of([], now=50)).transitions == []


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Deadman(Duration(0)), "longer than 0"),
        (lambda: Unchanged(metric="v", after=Duration(0)), "longer than 0"),
        (lambda: Unchanged(metric="v", after=Duration("1s"), tolerance=-1), "tolerance"),
        (lambda: Rate(expression("rate > 1")), "metric"),
        (lambda: Rate(expression("rate > 1"), metric="v", per=Duration(0)), "per"),
        (lambda: Count(expression("v > 1"), least=6, of=5), "least"),
    ],
)
def test_what_makes_no_sense_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_each_names_the_columns_it_needs():
    assert Rate(expression("rate > 1 and load > 2"), metric="v").inputs() == ("load", "v")
    assert Unchanged(metric="v", after=Duration("1s")).inputs() == ("v",)
    assert Count(expression("v > 1"), expression("held = 0")).inputs() == ("v",)
    assert Deadman(Duration("1s"), metric="v").inputs() == ("v",)
    assert Filter(expression("v > 1")).inputs() == ("v",)


def naive_stuck(values, times, after):
    since, last, up, found = None, None, False, []
    for at, (value, time) in enumerate(zip(values, times, strict=True)):
        if value != value:
            continue
        if value != last:
            since = time
        last = value
        now_up = time - since >= after
        if now_up != up:
            found.append(("raised" if now_up else "resolved", at))
        up = now_up
    return found


def naive_count(values, least, of):
    said, up, found = [], False, []
    for at, value in enumerate(values):
        if value != value:
            continue
        said.append(value > 1)
        now_up = sum(said[-of:]) >= least
        if now_up != up:
            found.append(("raised" if now_up else "resolved", at))
        up = now_up
    return found


def naive_rate(values, times, limit):
    last, up, found = None, False, []
    for at, (value, time) in enumerate(zip(values, times, strict=True)):
        if value != value:
            continue
        if last is not None and time > last[1]:
            now_up = (value - last[0]) / (time - last[1]) > limit
            if now_up != up:
                found.append(("raised" if now_up else "resolved", at))
            up = now_up
        last = (value, time)
    return found


series = st.lists(st.tuples(st.integers(0, 2), st.sampled_from([0, 1, 2, 2, NAN]), st.integers(0, 2)), max_size=25)
KINDS = {
    "stuck": lambda: Unchanged(metric="v", after=Duration("3s")),
    "count": lambda: Count(expression("v > 1"), least=2, of=4),
    "rate": lambda: Rate(expression("rate > 0.5"), metric="v"),
    "filter": lambda: Filter(expression("v > 1")),
    "deadman": lambda: Deadman(Duration("3s"), metric="v"),
}


def table(made):
    times = list(itertools.accumulate(step for _, _, step in made))
    return rows_of([value for _, value, _ in made], [key for key, _, _ in made], times), times


@settings(max_examples=60, deadline=None)
@given(series)
def test_each_kind_agrees_with_plain_code(made):
    rows, times = table(made)
    naive = {
        "stuck": lambda values, when: naive_stuck(values, when, 3),
        "count": lambda values, when: naive_count(values, 2, 4),
        "rate": lambda values, when: naive_rate(values, when, 0.5),
    }
    for kind, oracle in naive.items():
        found = [(item.key, str(item.change), item.at) for item in KINDS[kind]().process(rows).transitions]
        wanted = []
        for key in range(3):
            spots = [at for at, item in enumerate(made) if item[0] == key]
            told = oracle([made[at][1] for at in spots], [times[at] for at in spots])
            wanted += [(key, change, spots[at]) for change, at in told]
        assert found == sorted(wanted, key=lambda item: item[2]), kind


@pytest.mark.law2
@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), series), max_size=4), st.sampled_from(sorted(KINDS)), st.data())
def test_cuts_and_restarts_change_nothing(batches, kind, data):
    whole, pieces, now = KINDS[kind](), KINDS[kind](), 0
    for step, made in batches:
        now += step
        rows, _ = table(made)
        rows = Rows(rows.key, rows.start, rows.end, rows.at, rows.values, now * S)
        verdict = whole.process(rows)
        cuts = [0, *sorted(data.draw(st.lists(st.integers(0, len(made)), max_size=3))), len(made)]
        found, raw = [], []
        for low, high in itertools.pairwise(cuts):
            part = pieces.process(rows.take(np.arange(low, high)))
            found += part.transitions
            raw += [] if part.raw is None else part.raw.values["emission"].tolist()
            state, pieces = pieces.snapshot(), KINDS[kind]()
            pieces.restore(state)
        assert found == verdict.transitions
        assert raw == ([] if verdict.raw is None else verdict.raw.values["emission"].tolist())


def test_a_jump_beyond_all_numbers_is_a_change_and_no_warning():
    values = [-1.7e308, 1.7e308, 1.7e308]
    assert changes(Rate(expression("abs(rate) > 2"), metric="v"), rows_of(values)) == [
        ("raised", 1),
        ("resolved", 2),
    ]
    assert changes(Unchanged(metric="v", after=Duration("1s")), rows_of(values)) == [("raised", 2)]
