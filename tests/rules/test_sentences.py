"""What an alert of each kind of detector tells somebody who never read about detectors."""

import json
import re

import jsonschema
import numpy as np
import pytest

from agent.alerts.alert import Change
from agent.alerts.cloudevents import event
from agent.core.explanations import VIEWS as WORDS
from agent.core.explanations import reason
from agent.detectors.univariate.history.features import VIEWS
from agent.runtime.messages import encode
from agent.settings.registry import REGISTRY
from sensors.batch import Batch
from tests.core.streams import START, pipeline
from tests.integration.agent_process import ROOT

SCHEMA = json.loads((ROOT / "agent/alerts/schema/alert.v1.json").read_text())
RNG = np.random.default_rng(1)
N = 1000
NOISE = RNG.normal(50, 2, N)
PLACE = np.arange(N)
SHIFT = NOISE + 10 * (PLACE >= 700) * (PLACE < 800)
SPIKE = NOISE + 40 * (PLACE == 700)
GAP = np.where((PLACE >= 700) & (PLACE < 740), np.nan, NOISE)
STILL = np.where((PLACE >= 700) & (PLACE < 740), 51.0, NOISE)
REST = np.where((PLACE >= 700) & (PLACE < 716), NOISE + 8 * RNG.normal(0, 2, N), NOISE)
DAY = 50 + 10 * np.sin(2 * np.pi * PLACE / 50) + 0.1 * NOISE
ODD = DAY + 8 * (PLACE >= 700) * (PLACE < 703)
WAVE = 325 * np.sin(2 * np.pi * PLACE / 20) + 0.5 * NOISE
SAG = np.where((PLACE >= 700) & (PLACE < 760), 0.4 * WAVE, WAVE)
TONE = WAVE + 100 * np.sin(PLACE) * (PLACE >= 700) * (PLACE < 800)
X = {"metric": "x"}
WINDOW = {"metric": "x", "window": 100, "sampling_rate": 1.0}
SENSORS = {"x": SHIFT, "y": 2 * NOISE + RNG.normal(0, 1, N), "z": RNG.normal(0, 1, N)}
XYZ = {"metrics": ["x", "y", "z"]}
NUMBER = r"-?\d[\d.e+]*"

CASES = {
    "anomaly_rate": (
        XYZ,
        SENSORS,
        {"when": "score >= 0.3"},
        "several of its sensors are unusual at the same time (score 33.3 %, limit 30 %): x #",
    ),
    "auto": (
        X | {"memory": 512, "warmup": 64},
        SPIKE,
        {},
        "x # is unusual (score #, limit 1): {view}",
    ),
    "calibrated": (X, np.abs(SPIKE - 50), {"when": "score >= 1"}, "x # is unusually high (score 1, limit 1)"),
    "combined": (X, SPIKE, {}, "x # is unusual (score #, limit 0.9)"),
    "contexts": (
        X | {"memory": 1024, "warmup": 32},
        SHIFT,
        {},
        "x # comes in an order never seen (score #, limit 1)",
    ),
    "cusum": (X, SHIFT, {}, "x # has left its usual mean (score #, limit 8): usually about #"),
    "ewma": (X, SHIFT, {}, "x # has left its usual mean (score #, limit 4): usually about #"),
    "kl": (
        X | {"size": "40s", "step": "10s", "learn": "300s", "bins": 10},
        SHIFT,
        {"when": "score >= 1"},
        "x is distributed unlike before (score #, limit 1) over 40 s: # % of the values above #, usually # %",
    ),
    "mains": (
        WINDOW | {"nominal": 0.05, "learn": 4, "rate_tolerance": 0},
        SAG,
        {},
        "x is not its usual wave (score #, limit 1) over 99 s: sag by # % of normal, # s",
    ),
    "missing": (X, GAP, {}, "x is missing (score 1, limit 1): nothing for 5 s, usually not longer than 1 s"),
    "neighbour": (
        X | {"window": 8, "memory": 64, "warmup": 16},
        ODD,
        {"when": "score >= 3"},
        "x # runs unlike anything before (score #, limit 3)",
    ),
    "noise_burst": (
        X | {"window": 8, "warmup": 16},
        REST,
        {},
        "x # is more restless than usual (score #, limit 3)",
    ),
    "page_hinkley": (X, SHIFT, {}, "x # has slowly left its usual mean (score #, limit 30): usually about #"),
    "pca": (
        XYZ | {"train": 400},
        SENSORS,
        {},
        "its sensors do not move together as usual (score #, limit 1): above all x # (51 %), y # (48 %)",
    ),
    "robust_z": (
        X,
        SPIKE,
        {"when": "score >= 8"},
        "x # is far from the values just before (score #, limit 8): usually about #",
    ),
    "seasonal": (
        X | {"period": "50s"},
        ODD,
        {},
        "x # is not usual for this time of its period (score #, limit 8): usually about #",
    ),
    "spatial": (
        X,
        SPIKE,
        {},
        "x # is outside the range of all values before (score #, limit 0.1): before from # to #",
    ),
    "spectral": (
        WINDOW | {"learn": 4, "bands": 8},
        TONE,
        {"when": "score >= 0.04"},
        "x has unusual frequencies (score #, limit 0.04) over 99 s",
    ),
    "spike": (X, SPIKE, {}, "x # is far from the values just before (score #, limit 12): usually about #"),
    "stuck": (X | {"rows": 5}, STILL, {}, "x 51 does not move any more (score 1, limit 1)"),
    "tutorial_kl": (
        X | {"window": 100, "hop": 10, "threshold": 1.0},
        SAG,
        {"when": "anomaly = 1"},
        "x is distributed unlike the normal wave (score #) over 99 s",
    ),
}


def told(kind, options, columns, rule, more=None):
    """Alerts of machine 1 since shortly before the fault, a reading a second; each is valid."""
    if not isinstance(columns, dict):
        columns = {"x": columns}
    made = pipeline(
        {"detector": {"d": {"type": kind} | options}, "rule": {"strange": {"on": "d"} | rule}} | (more or {})
    )
    engine = made.engine()
    time = START + 10**9 * np.arange(N)
    found = []
    for i in range(0, N, 100):
        some = slice(i, i + 100)
        batch = Batch(
            ("1",), np.zeros(len(time[some]), np.int32), time[some],
            {name: column[some] for name, column in columns.items()}, int(time[some][-1]),
        )  # fmt: skip
        found += engine.process(batch).alerts
    for alert in found:
        jsonschema.validate(json.loads(json.dumps(event(alert, made.identity))), SCHEMA)
    return [alert for alert in found if alert.time >= START + 690 * 10**9]


def matches(sentence, text):
    """Whether the text is the sentence, with a number for each `#`."""
    return re.fullmatch(re.escape(sentence).replace(r"\#", NUMBER), text)


def test_every_detector_is_here():
    assert set(CASES) == set(REGISTRY["detector"])


@pytest.mark.parametrize("kind", CASES)
def test_it_says_what_is_unusual(kind):
    options, columns, rule, sentence = CASES[kind]
    raised = told(kind, options, columns, rule)[0]
    assert raised.change is Change.RAISED
    sentence = sentence.replace("{view}", WORDS.get(raised.evidence.get("view"), "?"))
    assert matches(f"machine 1: {sentence}", raised.message), raised.message
    if isinstance(columns, dict) or sentence.startswith("x #"):
        place = (raised.time - START) // 10**9
        given = columns if isinstance(columns, dict) else {"x": columns}
        values = raised.evidence["values"]
        assert {name: values[name] for name in given} == {name: column[place] for name, column in given.items()}
        assert f"x {given['x'][place]:.6g}" in raised.message
    assert raised.value == raised.score or raised.value == 1  # still the score, or the verdict


def test_when_it_is_over_it_is_usual_again():
    ends = {kind: told(kind, *CASES[kind][:3])[1] for kind in ("auto", "kl", "missing", "pca", "stuck")}
    assert {kind: end.message for kind, end in ends.items()} == {
        "auto": "machine 1: x shows nothing new after 1 s",
        "kl": "machine 1: x is distributed as usual again after 90 s",
        "missing": "machine 1: x comes again after 37 s",
        "pca": "machine 1: its sensors move together as usual again after 110 s",
        "stuck": "machine 1: x moves again after 35 s",
    }


def test_what_lies_outside_is_told_in_per_cent():
    options, columns, *_ = CASES["kl"]
    raised = told("kl", options, columns, {"when": "outside > 50 %"})[0]
    sentence = (
        "machine 1: x lies outside its usual range (outside # %, limit 50 %) over 40 s: # % of the values above #"
    )
    assert matches(sentence + ", usually # %", raised.message), raised.message


def test_a_detector_on_a_window_names_the_mean():
    window = {"window": {"w": {"type": "tumbling", "metric": "x", "size": "5s", "aggregates": ["mean"]}}}
    raised = told("spatial", {"on": "w", "metric": "mean"}, SHIFT, {"unit": "bar"}, window)[0]
    assert matches("machine 1: mean x # bar is outside the range of all values before (score #, limit 0.1) over 5 s: "
        "before from # to #",
                   raised.message), raised.message  # fmt: skip
    assert raised.evidence["values"]["mean"] == pytest.approx(60, abs=3)


def test_a_rule_about_a_measured_column_of_a_detector_speaks_as_ever():
    options, columns, *_ = CASES["mains"]
    raised = told("mains", options, columns, {"when": "rms < 200"})[0]
    assert matches("machine 1: rms x # < 200 over 99 s: sag by # % of normal, # s", raised.message), raised.message
    assert told("spike", X, SPIKE, {"when": "x > 80"})[0].message == "machine 1: x 88.9021 > 80"


def test_what_the_clock_says_later_has_no_figures_of_a_row_long_past():
    options, columns, *_ = CASES["spike"]
    alerts = told("spike", options, np.where(PLACE < 701, columns, np.nan), {"every": "100s"})
    again = [alert for alert in alerts if alert.change is Change.UPDATED]
    assert "values" in alerts[0].evidence
    assert again
    assert all("values" not in alert.evidence for alert in again)
    assert matches("machine 1: x is far from the values just before (score #, limit 12), for # s", again[0].message)


def test_every_view_has_words():
    assert set(VIEWS) <= set(WORDS)
    assert set(VIEWS) <= set(re.findall(r"^\| `(\w+)` \|", (ROOT / "docs/auto.md").read_text(), re.M))


def test_a_view_of_another_package_is_told_by_its_name():
    assert reason({"view": "odd"}, {}) == ": odd"
    assert reason({"sensors": {}}, {}) == ""


def test_a_raw_event_says_it_too_and_has_the_values():
    made = pipeline({
        "detector": {"d": {"type": "spike", "metric": "x"}},
        "rule": {"strange": {"on": "d", "mode": "raw"},
                 "both": {"on": "d", "when": "score > 9 and x > 80", "mode": "raw"}},
    })  # fmt: skip
    engine = made.engine()
    time = START + 10**9 * PLACE
    batch = Batch(("1",), np.zeros(N, np.int32), time, {"x": SPIKE}, int(time[-1]))
    messages = [json.loads(message.body) for message in encode(engine.process(batch), engine, made.identity)]
    data = {body["data"]["rule"]["id"]: body["data"] for body in messages}
    assert {rule: one["message"] for rule, one in data.items()} == {
        "strange": "machine 1: x is far from the values just before (score >= 12)",
        "both": "machine 1: x is far from the values just before (score > 9 and x > 80)",
    }
    assert data["strange"]["values"]["x"] == SPIKE[700]
    assert data["strange"]["values"]["usual"] == pytest.approx(50, abs=3)
    for body in messages:
        jsonschema.validate(body, SCHEMA)


def test_a_whole_share_is_a_hundred_per_cent():
    moved = [{"low": 80.0, "high": None, "share": 1.0, "reference": 0.016}]
    assert reason({"moved": moved}, {}) == ": 100 % of the values above 80, usually 1.6 %"
