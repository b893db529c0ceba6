"""Detectors inside a detector, configured."""

import numpy as np
import pytest

from agent.detectors.ensembles.anomaly_rate import AnomalyRate
from agent.detectors.ensembles.combined import Combined
from agent.detectors.univariate.ewma import Ewma
from agent.detectors.univariate.robust_z import RobustZ
from agent.settings.registry import ConfigError, Registry, build
from tests.detectors.detector_tables import content, run, table

PUMP = {"type": "anomaly_rate", "metrics": ["x", "y"]}


def rows(n=600):
    rng = np.random.default_rng(1)
    return table(np.zeros(n), {"x": rng.normal(size=n) + 4 * (np.arange(n) > 500), "y": rng.normal(size=n)})


def test_a_configured_part_is_not_the_default_one():
    given = build("detector", "detector.a", PUMP | {"detector": {"type": "robust_z", "window": 30}, "limit": 4.0})
    plain = build("detector", "detector.a", PUMP | {"limit": 4.0})
    assert content(run(given, rows())) == content(
        run(AnomalyRate(("x", "y"), detector=RobustZ("", window=30), limit=4.0), rows())
    )
    assert content(run(given, rows())) != content(run(plain, rows()))


def test_names_and_tables_may_be_mixed():
    parts = ["spatial", {"type": "robust_z", "window": 30}, {"type": "ewma"}]
    given = build("detector", "detector.c", {"type": "combined", "metric": "x", "parts": parts})
    same = Combined("x", parts=("spatial", RobustZ("", window=30), Ewma("")))
    assert content(run(given, rows())) == content(run(same, rows()))


def test_any_detector_of_one_metric_can_be_a_part():
    given = build("detector", "detector.c", {"type": "combined", "metric": "x", "parts": ["neighbour", "spike"]})
    assert np.isfinite(given.process(rows()).values["score"]).any()


def test_each_metric_and_each_agent_has_a_part_of_its_own():
    pattern = Ewma("")
    one, other = AnomalyRate(("x", "y"), detector=pattern), AnomalyRate(("x", "y"), detector=pattern)
    one.process(rows())
    assert content(run(other, rows())) == content(run(AnomalyRate(("x", "y"), detector="ewma"), rows()))


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"detector": "robust"}, 'detector.a.detector.type: unknown detector "robust"; did you mean "robust_z"?'),
        ({"detector": {"type": "ewma", "alhpa": 3}}, 'detector.a.detector.alhpa: unknown key; did you mean "alpha"?'),
        ({"detector": {"type": "ewma", "alpha": "x"}}, "detector.a.detector.alpha: Input should be"),
        ({"detector": {"type": "ewma", "metric": "x"}}, "detector.a.detector.metric: the detector around it says that"),
        ({"detector": 3}, 'detector.a.detector: expected a table with "type" or the name of a detector'),
        ({"detector": {"type": "kl", "size": "10s", "step": "1s"}}, "detector.a: Kl does not score each value of one metric"),
        ({"detector": {"type": "pca"}}, "detector.a.detector.metrics: missing; detector pca needs it"),
        ({"type": "combined", "parts": "ewma"}, "detector.a.parts: expected a list"),
        ({"type": "combined", "parts": []}, "detector.a: parts must be one or more"),
        ({"type": "combined", "parts": ["ewma", "spatail"]}, 'detector.a.parts.1.type: unknown detector "spatail"; did you'),
        ({"type": "combined", "parts": ["ewma", {"type": "spatial", "x": 1}]}, "detector.a.parts.1.x: unknown key"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_part_is_named_with_its_place(keys, says):
    given = PUMP | keys
    if given["type"] == "combined":
        given = {"metric": "x"} | {key: value for key, value in given.items() if key != "metrics"}
    with pytest.raises(ConfigError) as caught:
        build("detector", "detector.a", given)
    assert any(problem.startswith(says) for problem in caught.value.problems), caught.value.problems


def test_a_program_that_names_an_unknown_part_is_told():
    with pytest.raises(ValueError, match="unknown part 'nothing'; known are cusum"):
        Combined("x", parts=("nothing",))


@pytest.mark.parametrize("kind", ["auto", "calibrated", "combined", "contexts"])
def test_the_former_name_of_the_refractory_period_is_taken_with_a_warning(kind):
    registry = Registry()
    assert registry.build("detector", "detector.c", {"type": kind, "metric": "x", "rest": 40}).refractory == 40
    assert [text for text in registry.warnings if text.startswith("detector.c.rest: is now called refractory")]


def test_it_is_in_a_part_too():
    registry = Registry()
    parts = [{"type": "contexts", "rest": 40}]
    made = registry.build("detector", "detector.c", {"type": "combined", "metric": "x", "parts": parts})
    assert made.parts[0].refractory == 40
    assert registry.warnings[0].startswith("detector.c.parts.0.rest: is now called refractory")
