"""The life of incidents against a naive model, however the stream is cut and wherever it is restarted."""

import itertools

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.alerts.alert import Change
from agent.core.rows import Rows
from agent.rules.lifecycle import Lifecycle
from tests.naive_rules import NaiveLifecycle

SEVERITIES = ("info", "warning", "critical")
FIELDS = ("for_", "hold", "cooldown", "every", "no_data", "flap_changes", "flap_within")


def rows_of(chunk, now):
    columns = list(zip(*chunk, strict=True)) or [[]] * 5
    key, time, direction, level, at = (np.array(column, np.int64) for column in columns)
    words = {
        "evidence": [None if t % 5 == 0 else {"at": t, "by": [{"share": np.float64(t / 7)}]} for t in time.tolist()]
    }
    return Rows(key, time, time, at, {"score": time / 3.0}, now, lists=words), direction, time.astype(float), level


def told(transition):
    return (
        transition.key, transition.at, str(transition.change), SEVERITIES.index(transition.severity), transition.time,
        transition.started_at, transition.incident, transition.repeat, "flapping" in transition.flags,
    )  # fmt: skip


batches = st.lists(
    st.tuples(
        st.integers(0, 8),  # by how much the clock moves
        st.lists(
            st.tuples(st.integers(0, 2), st.integers(-1, 3), st.sampled_from([-1, -1, 0, 1, 1]), st.integers(0, 2)),
            max_size=12,
        ),
    ),
    max_size=8,
)
configurations = st.fixed_dictionaries(
    {}, optional={name: st.integers(0, 3) if name == "flap_changes" else st.integers(0, 9) for name in FIELDS}
)


def script(made):
    """Batches of (key, time, direction, level, at) with the host time of each."""
    now, time, found = 1000, 0, []
    for step, items in made:
        now += step
        batch = []
        for at, (key, ahead, direction, level) in enumerate(items):
            time += ahead
            batch.append((key, time, direction, level, at))
        found.append((now, batch))
    return found


@settings(max_examples=100, deadline=None)
@given(batches, configurations, st.booleans())
def test_it_agrees_with_the_naive_model(made, configuration, levels):
    life = Lifecycle(**configuration, severities=SEVERITIES)
    naive = NaiveLifecycle(**configuration)
    for now, batch in script(made):
        rows, direction, value, level = rows_of(batch, now)
        found = [told(item) for item in life.process(rows, direction, value, level if levels else None)]
        wanted = list(naive.tick(now))
        for key, time, push, height, at in batch:
            wanted += naive.row(key, at, time, push, height if levels else 0)
        assert found == wanted


@pytest.mark.law2
@settings(max_examples=60, deadline=None)
@given(batches, configurations, st.data())
def test_cuts_and_restarts_change_nothing(made, configuration, data):
    whole = Lifecycle(**configuration, severities=SEVERITIES)
    pieces = Lifecycle(**configuration, severities=SEVERITIES)
    for now, batch in script(made):
        rows, direction, value, level = rows_of(batch, now)
        wanted = whole.process(rows, direction, value, level)
        cuts = [0, *sorted(data.draw(st.lists(st.integers(0, len(batch)), max_size=4))), len(batch)]
        found = []
        for low, high in itertools.pairwise(cuts):
            part = slice(low, high)
            found += pieces.process(rows.take(np.arange(low, high)), direction[part], value[part], level[part])
            if data.draw(st.booleans()):
                state = pieces.snapshot()
                pieces = Lifecycle(**configuration, severities=SEVERITIES)
                pieces.restore(state)
        assert [item for item in found if item.value == item.value] == [
            item for item in wanted if item.value == item.value
        ]
        assert len(found) == len(wanted)


def run(life, *steps):
    """Feed (time, direction) or, for the clock alone, a number; tell the changes."""
    found = []
    for step in steps:
        if isinstance(step, int):
            found += life.tick(step)
        else:
            time, push = step
            chunk = rows_of([(0, time, push, 0, 0)], time)
            found += life.process(*chunk[:3])
    return [(str(item.change), item.time) for item in found]


def test_a_condition_must_hold_for_so_long():
    assert run(Lifecycle(for_=10), (0, 1), (9, 1), (10, 1), (11, -1)) == [("raised", 10), ("resolved", 11)]
    assert run(Lifecycle(for_=10), (0, 1), (9, -1), (10, 1), (19, 1)) == []


def test_the_clock_raises_what_a_silent_machine_left_pending():
    assert run(Lifecycle(for_=10), (0, 1), 9, 10, 11) == [("raised", 10)]


def test_what_the_clock_raises_says_what_the_last_row_said_and_keeps_it_over_restarts():
    life = Lifecycle(for_=10, every=50)
    for time, push in ((1, 1), (6, 1)):
        life.process(*rows_of([(0, time, push, 0, 0)], time)[:3])
    again = Lifecycle(for_=10, every=50)
    again.restore(orjson.loads(orjson.dumps(life.snapshot(), option=orjson.OPT_SERIALIZE_NUMPY)))
    (raised,) = again.tick(30)
    assert (raised.change, raised.score, raised.at) == (Change.RAISED, 2.0, -1)
    assert raised.evidence == {"at": 6, "by": [{"share": 6 / 7}]}
    taken_over = Lifecycle(for_=10, every=50)
    taken_over.adopt(0, orjson.loads(orjson.dumps(again.incident(0))))
    (reminder,) = taken_over.tick(200)
    assert (reminder.change, reminder.score, reminder.evidence) == (Change.UPDATED, None, raised.evidence)
    (acked,) = taken_over.acknowledge(0)
    assert acked.evidence == raised.evidence
    (resolved,) = taken_over.process(*rows_of([(0, 201, -1, 0, 0)], 201)[:3])
    assert resolved.evidence["at"] == 201
    assert taken_over.incident(0)["said"] == {}


def test_a_run_that_ended_before_its_time_leaves_nothing_behind():
    life = Lifecycle(for_=10)
    for time, push in ((1, 1), (6, -1)):
        life.process(*rows_of([(0, time, push, 0, 0)], time)[:3])
    assert life.incident(0)["said"] == {}


def test_the_clock_waits_for_a_row_that_is_only_a_little_late():
    assert run(Lifecycle(for_=10), (0, 1), (9, 1), 10, (11, -1), 40) == []


def test_it_must_be_clear_for_so_long():
    assert run(Lifecycle(hold=5), (0, 1), (1, -1), (5, 1), (6, -1), (11, -1)) == [("raised", 0), ("resolved", 11)]


def test_silence_freezes_and_never_resolves():
    life = Lifecycle(no_data=5, hold=20)
    assert run(life, (0, 1), (1, -1), 6, 500) == [("raised", 0), ("no_data", 6)]
    assert run(life, (501, -1)) == [("updated", 501), ("resolved", 501)]


def test_a_firing_incident_is_told_again():
    life = Lifecycle(every=10)
    found = run(life, (0, 1), 9, 10, 15, 20)
    assert found == [("raised", 0), ("updated", 0), ("updated", 0)]
    life.acknowledge(0)
    assert run(life, 30, 60) == []


def test_an_incident_is_acknowledged_once():
    life = Lifecycle()
    assert life.acknowledge(0) == []
    run(life, (0, 1))
    (event,) = life.acknowledge(0, note="Ann")
    assert (event.change, event.flags, event.note, event.incident) == (Change.ACKED, ("acked",), "Ann", 1)
    assert life.acknowledge(0) == []
    assert run(life, (1, -1), (2, 1)) == [("resolved", 1), ("raised", 2)]
    assert life.firing().tolist() == [0]


def test_a_thousand_crossings_a_minute_are_a_few_messages():
    crossings = [(i * 60, 1 if i % 2 else -1) for i in range(1000)]
    plain = run(Lifecycle(), *crossings)
    calm = run(Lifecycle(flap_changes=3, flap_within=600_000), *crossings, (60_000, -1), (660_000, -1))
    assert len(plain) == 999  # the first one down changes nothing
    assert len(calm) == 8
    assert calm[-1] == ("resolved", 660_000)


def test_a_forgotten_series_starts_anew():
    life = Lifecycle(flap_changes=2, flap_within=10)
    run(life, (0, 1))
    life.evict(np.array([0, 99]))
    assert run(life, (5, -1), (6, 1)) == [("raised", 6)]


@pytest.mark.parametrize("n", [1, 3])
def test_a_restart_raises_nothing_twice_and_resolves_what_cleared(n):
    life = Lifecycle()
    run(life, *[(time, 1) for time in range(n)])
    again = Lifecycle()
    again.restore(life.snapshot())
    assert run(again, (n, 1), (n + 1, -1)) == [("resolved", n + 1)]
