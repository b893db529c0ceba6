"""A misspelt column is told when the configuration is checked, wherever it is known what there is."""

import pytest

from agent.settings.build import build_pipeline
from agent.settings.registry import ConfigError
from agent.settings.settings import Settings

PUMP = {"type": "tcp", "port": 1, "codec": {"type": "json", "values": ["pressure", "flow"], "texts": ["state"]}}
CSV = {"type": "tcp", "port": 1, "codec": {"type": "csv", "columns": ["", "ts", "pressure", "flow"], "time": "ts"}}
ANY = {"any": {"metric": "pressure"}}


def problems(source, **tables):
    try:
        build_pipeline(Settings(source={"line": source}, **tables))
    except ConfigError as error:
        return error.problems
    return []


@pytest.mark.parametrize(
    ("source", "tables", "said"),
    [
        (PUMP, {"detector": {"any": {"metric": "presure"}}},
         'detector.any: "presure" is no column of the readings; did you mean "pressure"?'),
        (CSV, {"detector": {"any": {"metric": "ts"}}},
         'detector.any: "ts" is no column of the readings; known are flow, pressure'),
        (PUMP, {"detector": {"any": {"metric": "presure", "on": "line"}}},
         'detector.any: "presure" is no column of line; did you mean "pressure"?'),
        ({"type": "temperature"}, {"detector": {"any": {"metric": "Temprature_C"}}},
         'detector.any: "Temprature_C" is no column of the readings; did you mean "Temperature_C"?'),
        ({"type": "voltage"}, {"detector": {"wave": {"type": "mains", "metric": "voltge"}}},
         'detector.wave: "voltge" is no column of the readings; did you mean "voltage"?'),
        ({"type": "voltage", "labels": False}, {"rule": {"r": {"when": "is_anomaly"}}},
         "rule.r.when: unknown column 'is_anomaly'; there are end, start, voltage (at character 1)"),
        (PUMP, {"window": {"w": {"type": "tumbling", "metric": "flow", "size": "5s", "aggregates": ["mean"]}},
                "detector": {"d": {"on": "w", "metric": "maen"}}},
         'detector.d: "maen" is no column of w; did you mean "mean"?'),
        (PUMP, {"detector": {"together": {"type": "pca", "metrics": ["pressure", "flw"]}}},
         'detector.together: "flw" is no column of the readings; did you mean "flow"?'),
        (PUMP, {"detector": ANY, "rule": {"r": {"on": "any", "when": "scor >= 1"}}},
         "rule.r.when: unknown column 'scor'; did you mean 'score'?"),
        (PUMP, {"detector": ANY, "rule": {"r": {"on": "any", "when": "presure > 3"}}},
         "rule.r.when: unknown column 'presure'; did you mean 'pressure'?"),
        (PUMP, {"detector": ANY, "rule": {"r": {"on": "any", "when": "score >= 'a'"}}},
         'rule.r.when: "score" is a number in any; it cannot be compared with a text'),
    ],
)  # fmt: skip
def test_a_column_that_never_comes_is_a_problem(source, tables, said):
    (problem,) = problems(source, **tables)
    assert problem.startswith(said)


@pytest.mark.parametrize(
    ("source", "tables"),
    [
        ({"type": "tcp", "port": 1}, {"detector": {"any": {"metric": "presure"}}}),  # the sender decides
        (PUMP, {"detector": ANY, "rule": {"r": {"on": "any", "when": "view = 'near' or pressure > 3 or reason = 'x'"}}}),
        (PUMP, {"rule": {"r": {"when": "flow > 3 and state = 'run'"}}}),
        (CSV, {"window": {"w": {"type": "count", "metric": "flow", "count": 3}}}),
        ({"type": "orders"}, {"rule": {"r": {"type": "filter", "where": "topping = 'x'"}}}),
    ],
)  # fmt: skip
def test_what_may_come_is_no_problem(source, tables):
    assert problems(source, **tables) == []


@pytest.mark.parametrize(
    ("detector", "rule", "said"),
    [
        ({"metrc": "pressure"}, {"on": "any"}, 'detector.any.metrc: unknown key; did you mean "metric"?'),
        ({"type": "autoo", "metric": "pressure"}, {"on": "any"}, 'detector.any.type: unknown detector "autoo"'),
        ({"metric": "pressure", "memory": 10}, {"on": "any"}, "detector.any: "),
        ({"metric": "pressure"}, {"on": "anny"}, 'rule.strange.on: there is no window, detector or source "anny"'),
        ({"metric": "pressure"}, {"on": "any", "severity": "warn"},
         "rule.strange.severity: Input should be 'info', 'warning', 'critical' or 'fatal'; did you mean \"warning\"?"),
    ],
)  # fmt: skip
def test_one_mistake_is_one_problem(detector, rule, said):
    found = problems(PUMP, detector={"any": detector}, rule={"strange": rule})
    assert any(problem.startswith(said) for problem in found)
    assert len(found) == 1
