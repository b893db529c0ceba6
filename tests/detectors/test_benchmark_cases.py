"""The benchmark of the detectors forgets none."""

import numpy as np
import pytest

from agent.settings.registry import REGISTRY
from benchmarks.detector_cases import CASES, rows_of
from benchmarks.detectors import fresh, warmed


def test_every_detector_of_the_registry_is_measured():
    assert {case.type for case in CASES} == set(REGISTRY["detector"])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.label)
def test_a_detector_that_is_timed_has_learnt_and_scores(case):
    detector = warmed(case, 2)
    rows = [rows_of(case, 2, 50, case.warm + begin, begin) for begin in range(0, 400, 50)]
    scores = np.concatenate([detector.process(part).values["score"] for part in rows])
    assert np.isfinite(scores).any()


def test_a_fresh_detector_has_the_configuration_of_its_case():
    assert fresh(CASES[0]).metric == "x0"
