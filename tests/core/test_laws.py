"""The laws of the house, on whole configurations: the cut changes nothing, and a restored engine goes on exactly."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensors.batch import Batch
from tests.core.streams import cuts, pieces, pipeline, said, streams

HOPPING = {
    "window": {
        "mean": {
            "type": "hopping", "metric": "x", "size": "5s", "step": "1s", "aggregates": ["mean", "min", "max", "std"],
        }
    },
    "rule": {"hot": {"on": "mean", "when": "round(mean, 2) >= 90", "clear": "mean < 85", "severity": "critical"}},
}  # fmt: skip
CONFIGURATIONS = {
    "current": {**HOPPING, "window": {"mean": {**HOPPING["window"]["mean"], "emit": "current"}}},
    "final": {**HOPPING, "window": {"mean": {**HOPPING["window"]["mean"], "emit": "final", "grace": "2s"}}},
    "readings": {"rule": {"hot": {"when": "x >= 90", "clear": "x < 80", "for": "2s"}}},
    "raw": {**HOPPING, "rule": {"hot": {"on": "mean", "when": "mean >= 90", "mode": "raw"}}},
}


@pytest.mark.law2
@pytest.mark.parametrize("name", CONFIGURATIONS)
@given(stream=streams(), data=st.data())
@settings(max_examples=30, deadline=None)
def test_how_a_stream_is_cut_changes_nothing(name, stream, data):
    one, many = pipeline(CONFIGURATIONS[name]), pipeline(CONFIGURATIONS[name])
    places = data.draw(cuts(len(stream)))
    assert said(many.engine(), many.identity, pieces(stream, places)) == said(one.engine(), one.identity, [stream])


@pytest.mark.parametrize("name", CONFIGURATIONS)
@given(stream=streams(), data=st.data())
@settings(max_examples=20, deadline=None)
def test_a_restored_engine_goes_on_exactly(name, stream, data):
    place = data.draw(st.integers(0, len(stream)))
    before, after = pieces(stream, [place])
    whole, first, second = (pipeline(CONFIGURATIONS[name]) for _ in range(3))
    engine, resumed, straight = first.engine(), second.engine(), whole.engine()
    engine.process(before)
    straight.process(before)
    resumed.restore(engine.snapshot())
    assert said(resumed, second.identity, [after]) == said(straight, whole.identity, [after])


def test_the_end_of_the_input_closes_what_is_open():
    found = pipeline(CONFIGURATIONS["final"])
    engine = found.engine()
    start = 1_700_000_000 * 10**9
    engine.process(Batch(("m",), np.zeros(1, np.int32), np.array([start]), {"x": np.array([95.0])}, start))
    decisions = engine.finish()
    assert len(decisions.results["mean"]) == 5
    assert [alert.change for alert in decisions.alerts] == ["raised"]


INHIBITED = {
    "rule": {
        "hot": {"when": "x >= 90", "clear": "x < 80", "no_data": "3s"},
        "quiet": {"type": "deadman", "after": "2s"},
    }
}


@pytest.mark.law2
@given(
    values=st.lists(st.tuples(st.integers(0, 2), st.sampled_from([50.0, 95.0])), min_size=1, max_size=12),
    data=st.data(),
)
@settings(max_examples=40, deadline=None)
def test_flags_do_not_depend_on_the_cut(values, data):
    one, many = pipeline(INHIBITED), pipeline(INHIBITED)
    engine, cut = one.engine(), many.engine()
    for step in range(4):
        now = 1_700_000_000 * 10**9 + step * data.draw(st.sampled_from([1, 4])) * 10**9
        machine = np.array([m for m, _ in values], np.int32)
        batch = Batch(
            ("a", "b", "c"), machine, np.full(len(values), now), {"x": np.array([v for _, v in values])}, now
        )
        places = data.draw(cuts(len(values)))
        assert said(cut, many.identity, pieces(batch, places)) == said(engine, one.identity, [batch])
