"""What the agent says of recordings, and after an old checkpoint, is byte for byte what it said when they were made."""

import gzip
import json
import re
from itertools import islice

import numpy as np
import pytest

from agent.cli.main import main
from agent.settings.registry import REGISTRY
from sensors.drivers.recording import Recorder, batches
from tests.golden.replaying import HERE, RECORDINGS, pipeline_of, plain, processor, replayed, resume, said, unpacked


def lines_of(name):
    """The alerts of then. A zero had a sign then, where a sensor gave it one; since then no zero in the engine has."""
    lines = gzip.decompress((HERE / f"{name}.alerts.jsonl.gz").read_bytes()).splitlines()
    return [re.sub(rb"(?<=[\[,:])-0\.0(?=[\],}])", b"0.0", line) for line in lines]


def results_of(name):
    return json.loads((HERE / f"{name}.results.json").read_text())


ANYWHERE = ("machines",)
"""Recordings of which nothing needs more than addition, multiplication and order: the same on every processor."""
ILL = {("old", "auto"), ("old", "mains")}
"""Whether two rows are as unusual as each other, and what is left of harmonics in a wave that is none, hang on the last
bit: on another processor these results are not compared."""


def strict(name):
    """Whether every byte has to be as it was: the fixtures are of this processor, or all would give the same."""
    return name in ANYWHERE or results_of(name)["processor"] == processor()


def compare_alerts(name, lines, expected):
    for number, (now, then) in enumerate(zip(lines, expected, strict=False)):
        if strict(name):
            assert now == then, f"line {number + 1} of {name}"
        elif now != then:  # nine digits of each number, and all that is no number
            assert plain(json.loads(now)) == plain(json.loads(then)), f"line {number + 1} of {name}"
    assert len(lines) == len(expected)


def compare(name, found):
    """The results first: they say which window or detector is not as it was; then each alert by itself."""
    alerts, results = found
    before = results_of(name)
    assert ["processor", *results] == list(before)
    states = results.pop("states and replies") == before.pop("states and replies")
    steps = [step for step in results if strict(name) or (name, step) not in ILL]
    changed = {step: differing(before[step], results[step]) for step in steps}
    assert {step: columns for step, columns in changed.items() if columns} == {}, "these say something else"
    compare_alerts(name, alerts.splitlines(), lines_of(name))
    assert states or not strict(name), "the alerts are the same, the retained states or replies to commands are not"


def differing(before, now):
    """Columns of a step that are not as they were; first of all its number of rows."""
    return [column for column in {**before, **now} if before.get(column) != now.get(column)]


@pytest.mark.parametrize("name", RECORDINGS)
def test_a_recording_of_before_gives_the_same_alerts_and_results(name, tmp_path):
    pipeline = pipeline_of(name)
    compare(name, replayed(pipeline.engine(), pipeline, unpacked(f"{name}.rec", tmp_path)))


def test_the_command_replay_prints_these_alerts(tmp_path, capfdbinary):
    start = tmp_path / "start.rec"
    with Recorder(start) as recorder:
        for batch in islice(batches(unpacked("metrics.rec", tmp_path)), 60):
            recorder.write(batch)
    assert main(["replay", str(start), "-c", str(HERE / "metrics.toml")]) == 0
    lines = capfdbinary.readouterr().out.splitlines()
    assert len(lines) > 20
    compare_alerts("metrics", lines, lines_of("metrics")[: len(lines)])


def test_an_agent_that_goes_on_from_an_old_checkpoint_says_the_same(tmp_path):
    pipeline = pipeline_of("old")
    engine = pipeline.engine()
    unknown, unfit = resume(engine, pipeline, unpacked("old.checkpoint", tmp_path))
    assert unknown == set(), "to these their own configuration is another: they would start without memory"
    assert unfit == {}
    compare("old", replayed(engine, pipeline, unpacked("old.rec", tmp_path)))


def test_the_old_checkpoint_holds_what_is_hard_to_go_on_from(tmp_path):
    pipeline = pipeline_of("old")
    engine = pipeline.engine()
    resume(engine, pipeline, unpacked("old.checkpoint", tmp_path))
    assert set(engine.incidents.silences.by_id) == {"s1"}
    machines = engine.series("auto")
    assert machines.names == [("a",), ("b",), ("c",), ("d",), ("e",), ("f",)], "g is forgotten, and f has its row"
    firing = {name for name, rule in engine.rules.items() if rule.life is not None and len(rule.life.firing())}
    assert {"hot", "flapping", "count_rule", "deadman"} <= firing


@pytest.mark.parametrize("kind", ["window", "detector", "rule"])
def test_the_recordings_and_the_checkpoint_have_every_kind(kind):
    def types(name):
        default = {"rule": "threshold", "detector": "auto"}.get(kind)
        return {table.get("type", default) for table in getattr(pipeline_of(name).settings, kind).values()}

    assert types("old") == set(REGISTRY[kind])
    assert set().union(*map(types, RECORDINGS)) == set(REGISTRY[kind])


@pytest.mark.parametrize("name", [*RECORDINGS, "old"])
def test_every_rule_has_said_something_and_every_step_has_rows(name):
    lines = [json.loads(line) for line in lines_of(name)]
    rules = {line["data"]["rule"]["id"] for line in lines if isinstance(line, dict)}
    settings = pipeline_of(name).settings
    bare = {rule for rule, table in settings.rule.items() if table.get("payload") == "value"}
    assert bool(bare) == any(not isinstance(line, dict) for line in lines)
    assert set(settings.rule) - bare <= rules
    results = results_of(name)
    assert all(results[step]["rows"] for step in (*settings.window, *settings.detector))


def test_a_changed_digit_a_missing_row_and_another_word_are_noticed():
    column = np.array([1.0, 1 / 3, np.nan, 0.0])
    assert said(column) == said(column + np.array([0, 1e-12, 0, 1e-12])), "processors differ so much"
    assert said(column) != said(column + np.array([0, 1e-8, 0, 0]))
    assert said(column) != said(column[:-1])
    assert said(["a", None]) != said(["a", ""])
    assert said([({"bin": 1.0},)]) != said([({"bin": 2.0},)])
