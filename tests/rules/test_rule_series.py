"""Every rule of the registry: its series can be taken out, put in, dropped and saved one by one."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agent.core.rows import Rows
from agent.settings.registry import REGISTRY, build
from sensors.batch import Text
from tests.series_contract import check_evicted, check_moved, check_restored, check_touched, of_rows

SECOND = 10**9
SERIES = 4
ALL = {
    "for": "1s",
    "hold": "1s",
    "cooldown": "2s",
    "every": "3s",
    "no_data": "4s",
    "flap_changes": 2,
    "flap_within": "6s",
}
CASES = {
    "threshold": {"when": "x > 1", "clear": "x < 1"},
    "threshold, all": {"when": "x > 0", "severity": "info", "levels": {"critical": "x > 1"}, **ALL},
    "threshold, raw": {"when": "x > 0", "mode": "raw", "digits": 1},
    "count": {"when": "x > 1", "least": 2, "of": 4, "for": "1s"},
    "rate": {"when": "rate > 0.5", "metric": "x", "every": "2s"},
    "stuck": {"metric": "x", "after": "2s", "no_data": "3s"},
    "deadman": {"after": "2s", "metric": "x", "every": "3s"},
    "filter": {"where": "x > 0"},
    "having": {"when": "x > 0"},
    "having, some": {"when": "x > 0", "columns": ["word"]},
    "pattern": {"steps": ["a", "b+: > a", "c: < last(b)"], "metric": "x", "most_rows": 6},
    "pattern, in order": {"steps": ["a", "b+?: > a", "c: <= a"], "metric": "x", "within": "4s", "delay": "1s", "idle": "1s",
                          "measures": {"word": "last(c.word)", "all": "list(b)"}, "after_match": "to next row"},
}  # fmt: skip


def make(name):
    return build("rule", "rule.r", {"type": name.partition(",")[0]} | CASES[name])


def stream(seed, batches=10, most=12):
    """Batches of a few series with missing values, texts and evidence, and silences that only the clock ends."""
    rng = np.random.default_rng(seed)
    now, made = 1_700_000_000 * SECOND, []
    for _ in range(batches):
        n = int(rng.integers(0, most))
        now += int(rng.choice([0, 1, 1, 4])) * SECOND + n * SECOND // 5
        time = now + np.sort(rng.integers(-n, 1, n)) * SECOND // 5
        time -= np.where(rng.random(n) < 0.2, rng.integers(0, 2 * SECOND, n), 0)
        words = tuple(rng.permutation(["egg", "tuna", "ham"]).tolist())
        x = rng.integers(0, 3, n).astype(float)
        made.append(
            Rows(
                key=rng.integers(-1, SERIES, n),
                start=time,
                end=time,
                at=np.arange(n),
                values={"x": np.where(rng.random(n) < 0.1, np.nan, x), "score": x / 2},
                texts={"word": Text(words, rng.integers(-1, 3, n).astype(np.int32))},
                lists={
                    "evidence": [{"view": k % 2} if k % 3 else None for k in range(n)],
                    "seen": [(k % 2,) for k in range(n)],
                },
                now=now,
            )
        )
    return made


def results(verdict):
    told = [(item.key, repr(replace(item, key=0))) for item in verdict.transitions]
    return told if verdict.raw is None else told + of_rows(verdict.raw)


seeds, places = st.integers(0, 10_000), st.integers(0, 10)
some = st.lists(st.integers(0, SERIES - 1), unique=True, min_size=1)
rows = st.lists(st.integers(0, 20), unique=True, min_size=SERIES, max_size=SERIES)
every_rule = pytest.mark.parametrize("name", CASES)
quick = settings(max_examples=20, deadline=None)


def test_every_rule_of_the_registry_is_tested_here():
    assert {name.partition(",")[0] for name in CASES} == set(REGISTRY["rule"])


@every_rule
@given(seed=seeds, at=places, keys=some, to=rows, used=st.booleans())
@example(seed=1704, at=0, keys=[0], to=[0, 1, 2, 3], used=False)  # a text measure without a value in any match
@quick
def test_series_go_on_in_another_rule(name, seed, at, keys, to, used):
    check_moved(lambda: make(name), stream(seed), at, keys, to[: len(keys)], used, results)


@every_rule
@given(seed=seeds, at=places)
@quick
def test_a_restored_rule_goes_on(name, seed, at):
    check_restored(lambda: make(name), stream(seed), at, results)


@every_rule
@given(seed=seeds, at=places, keys=some)
@quick
def test_what_is_evicted_is_as_new(name, seed, at, keys):
    check_evicted(lambda: make(name), stream(seed), at, keys, results)


@every_rule
@given(seed=seeds, steps=st.lists(places, max_size=2))
@quick
def test_what_changes_was_touched(name, seed, steps):
    check_touched(lambda: make(name), stream(seed), SERIES, steps, results)


@every_rule
def test_each_case_has_something_to_say(name):
    rule, said = make(name), []
    for batch in stream(1, 40):
        said += results(rule.process(batch))
    assert len(said) > 3


@pytest.mark.parametrize("name", [name for name in CASES if name.startswith("pattern")])
def test_what_a_pattern_drops_is_counted(name):
    rule = make(name)
    for batch in stream(2, 30):
        rule.process(batch)
    assert set(rule.stats()) == {"late", "overflowed"}
    assert (rule.stats()["late"] > 0) == ("in order" in name)
