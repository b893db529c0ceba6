"""Series taken out of a running engine go on in another as if they had never moved: every window, detector and rule."""

import dataclasses
import re

import numpy as np
import pytest

from agent.alerts.alert import Identity
from agent.alerts.commands import Command, command_batch
from agent.core.operator import Operator
from agent.engine.engine import Engine, Limits
from agent.rules import Rule
from agent.runtime.messages import encode
from agent.settings.registry import REGISTRY, Registry, build
from sensors.batch import Batch, Text
from tests.detectors.detector_cases import CASES, make, rows_for

SECOND = 10**9
START = 1_700_000_000 * SECOND
IDENTITY = Identity("s", "a")
MACHINES = ("a", "b", "c", "d")
WINDOWS = {
    "tumbling": {"size": "3s"},
    "hopping": {"size": "3s", "step": "1s", "closing": "partition", "idle": "2s"},
    "cumulate": {"size": "4s", "step": "2s", "grace": "1s"},
    "count": {"count": 5, "step": 2},
    "running": {},
    "session": {"gap": "2s", "idle": "4s"},
    "sliding": {"size": "2s"},
}
RULES = {
    "threshold": {
        "when": "x > 1", "for": "1s", "no_data": "9s", "every": "5s", "flap_changes": 3, "levels": {"critical": "x > 2"}
    },
    "count": {"when": "x > 1", "least": 2, "of": 4},
    "rate": {"when": "abs(rate) > 2", "metric": "x"},
    "stuck": {"metric": "x", "after": "3s"},
    "deadman": {"after": "4s"},
    "filter": {"where": "x > 2", "by": ["machine", "word"]},
    "having": {"when": "mean > 1", "on": "running"},
    "pattern": {"steps": ["a", "b+?: > a", "c: <= a"], "metric": "x", "within": "9s", "delay": "1s", "idle": "3s"},
}  # fmt: skip


def engine(name=""):
    """Of one detector with rules on it, or of all windows and rules."""
    if name:
        limit = f"score >= {CASES[name].options.get('limit', 0.5)}"
        rules = {"r": build("rule", "r", {"type": "threshold", "on": "d", "when": limit, "metric": "score"})}
        return Engine({"d": make(name)}, rules, IDENTITY, Limits(max_future=None))
    steps = {
        kind: build("window", kind, table | {"type": kind, "metric": "x", **_mean(kind)})
        for kind, table in WINDOWS.items()
    }
    rules = {f"r {kind}": build("rule", kind, {"type": kind} | table) for kind, table in RULES.items()}
    for kind in WINDOWS:
        rules[f"on {kind}"] = build(
            "rule", kind, {"type": "threshold", "on": kind, "when": "mean > 1", "every": "6s"}
        )
    return Engine(steps, rules, IDENTITY, Limits(idle=20 * SECOND))


def _mean(kind):
    return {"aggregates": ["mean", "count"]} if "aggregates" in Registry().keys_of("window", kind) else {}


def stream(seed, name="", batches=14):
    """Batches of four machines; machines fall silent, and commands come."""
    rng = np.random.default_rng(seed)
    if name:
        rows = rows_for(name, series=4, seed=seed, wild=False)
        parts = np.array_split(np.arange(len(rows)), batches)
        return [
            Batch(MACHINES, rows.key[part].astype(np.int32), rows.end[part],
                  {column: values[part] for column, values in rows.values.items()}, int(rows.end[part[-1]]))
            for part in parts
        ]  # fmt: skip
    now, made = START, []
    for number in range(batches):
        n = int(rng.integers(0, 30))
        now += int(rng.choice([1, 2, 6])) * SECOND
        time = now - np.sort(rng.integers(0, 3 * SECOND, n))[::-1]
        awake = np.arange(4)[rng.random(4) < 0.7]
        machine = rng.choice(awake if len(awake) else [0], n).astype(np.int32)
        word = Text(("egg", "ham"), rng.integers(-1, 2, n).astype(np.int32))
        values = {"x": np.where(rng.random(n) < 0.1, np.nan, rng.integers(0, 4, n).astype(float))}
        made.append(Batch(MACHINES, machine, time, values, now, {"word": word}))
        if number % 4 == 3:
            verb = ("ack", "silence", "unsilence")[int(rng.integers(3))]
            made.append(command_batch([Command(verb, "c", machine=str(rng.choice(MACHINES)), seconds=7.0)], now))
    return made


def told(engine, batches, machines, finish=True):
    """What goes out about these machines; the numbers of alerts tell of the others, too."""
    decisions = [engine.process(batch) for batch in batches] + ([engine.finish()] if finish else [])
    found = [message for made in decisions for message in encode(made, engine, IDENTITY, metrics=True)]
    return [
        (message.id, message.name, re.sub(rb'"sequence": *"?\d+"?', b"", message.body))
        for message in found
        if message.machine in machines
    ]


def strangers(batches):
    """What another engine has seen before: other machines, at the same times."""
    return [dataclasses.replace(batch, machines=tuple(f"z{name}" for name in batch.machines)) for batch in batches]


@pytest.mark.parametrize("name", ["", *CASES])
@pytest.mark.parametrize("seed", range(3))
def test_series_that_move_do_not_notice(name, seed):
    rng = np.random.default_rng(seed)
    at, used = int(rng.integers(3, 12)), seed > 0
    moved = set(rng.choice(MACHINES, int(rng.integers(1, 5)), replace=False).tolist())
    gone = {"za", "zc"} if seed > 1 else set()
    batches = stream(seed, name)
    one, other = engine(name), engine(name)
    told(one, batches[:at], moved, finish=False)
    if used:
        told(other, strangers(batches[:at]), moved, finish=False)
        other.evict(other.series_of(gone))
    assert other.merge(one.extract(one.series_of(moved))) == {}
    assert told(other, batches[at:], moved) == told(one, batches[at:], moved)


@pytest.mark.parametrize("seed", range(4))
def test_an_engine_may_be_taken_apart_and_put_together(seed):
    batches, at = stream(seed), 3 + 2 * seed
    whole, other = engine(), engine()
    told(whole, batches[:at], MACHINES, finish=False)
    for machine in MACHINES:
        other.merge(whole.extract(whole.series_of({machine})))
    assert other.incidents.snapshot() == whole.incidents.snapshot()
    ours, theirs = told(other, batches[at:], MACHINES), told(whole, batches[at:], MACHINES)
    assert sorted(ours) == sorted(theirs)  # of one instant, series come in the order of their rows


def test_what_was_evicted_is_new_and_counted():
    one = engine()
    told(one, stream(3), MACHINES, finish=False)
    known = one.stats()["keys.machine"]
    one.evict(one.series_of({"a", "never seen"}))
    assert one.stats()["keys.machine"] == {**known, "evicted": known["evicted"] + 1, "series": known["series"] - 1}
    assert one.series_of({"a"}) == {("machine",): [], ("machine", "word"): []}


def test_more_series_than_there_is_room_for_are_refused_before_anything_changes():
    one, small = engine(), engine()
    told(one, stream(3), MACHINES, finish=False)
    small.tables["machine",].cap = 2
    before = small.snapshot()
    with pytest.raises(ValueError, match=r"machine: 4 series more than the 0 there are .* raise it, or take fewer"):
        small.merge(one.extract(one.series_of(MACHINES)))
    np.testing.assert_equal(small.snapshot(), before)


def test_a_part_that_does_not_fit_takes_the_series_as_new():
    one, other = engine(), engine()
    told(one, stream(3), MACHINES, finish=False)
    state = one.extract(one.series_of(MACHINES))
    state["rules"]["r threshold"]["life"].pop("level")
    assert other.merge(state) == {"r threshold": "KeyError('level')"}
    assert other.rules["r threshold"].life.firing().tolist() == []
    assert other.rules["on tumbling"].life.firing().tolist() == one.rules["on tumbling"].life.firing().tolist()


def test_a_bug_in_restore_is_no_state_that_does_not_fit():
    one, other = engine(), engine()

    def broken(state):
        raise AttributeError("a bug")

    other.rules["r count"].restore = broken
    with pytest.raises(AttributeError, match="a bug"):
        other.restore(one.snapshot())


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda keys: keys.update(seen=keys["seen"][:-1]), "names, times and free rows"),
        (lambda keys: keys["names"].append(["a"]), "two series have the name"),
        (lambda keys: keys["names"].append(["new", "one"]), "the name of a series is .'new', 'one'"),
        (lambda keys: keys["names"].append(None), "names, times and free rows"),
        (lambda keys: keys["free"].append(0), "rows of state are free that have a series"),
    ],
)
def test_a_damaged_key_table_is_refused_by_name(damage, message):
    one, other = engine(), engine()
    told(one, stream(3), MACHINES, finish=False)
    state = one.snapshot()
    damage(state["tables"][0]["keys"])
    with pytest.raises(ValueError, match=f"machine: {message}"):
        other.restore(state)


def test_every_part_of_the_registry_is_in_a_test_here_and_moves():
    assert set(WINDOWS) == set(REGISTRY["window"])
    assert set(CASES) == set(REGISTRY["detector"])
    assert set(RULES) == set(REGISTRY["rule"])
    for part in (*engine().steps.values(), *(engine(name).steps["d"] for name in CASES)):
        assert isinstance(part, Operator)
    assert all(isinstance(rule, Rule) for rule in engine().rules.values())
    assert all(part.versions() == {} for part in (*engine().steps.values(), *engine().rules.values()))


def test_stats_name_every_part_and_its_counters():
    one = engine()
    told(one, stream(3), MACHINES, finish=False)
    stats = one.stats()
    assert stats["engine"]["readings"] == sum(len(batch) for batch in stream(3) if not batch.source)
    assert {"window.hopping", "rule.on hopping", "keys.machine", "keys.machine/word", "rule.r pattern"} < set(stats)
    assert stats["keys.machine"]["series"] == 4
    assert stats["rule.r pattern"]["late"] > 0
    assert all(isinstance(count, int) for counts in stats.values() for count in counts.values())


def test_whoever_watches_a_grouping_learns_which_series_change():
    one = engine()
    changes = one.tables["machine",].changes
    batch = next(batch for batch in stream(3) if len(batch))
    assert changes.take().tolist() == []
    one.process(batch)
    assert changes.take().tolist() == list(range(len(np.unique(batch.machine))))
    one.process(dataclasses.replace(batch.slice(0, 0), read_at=batch.read_at))
    assert changes.take().tolist() == []
