"""The pictures of the documentation show what they say: the fault is above the limit, and they are small."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def pictures():
    pytest.importorskip("matplotlib")
    spec = importlib.util.spec_from_file_location("detector_pictures", DOCS / "detector_pictures.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_every_fault_is_above_the_limit_and_the_rest_is_as_a_rule_below(pictures):
    for family in pictures.FAMILIES.values():
        for panel in family():
            at, score, limit = pictures.score(panel)
            fault = np.zeros(len(at), bool)
            for begin, end in panel.faults:
                inside = (at >= begin) & (at < end + 20)
                fault |= (at >= begin) & (at < end + 1200)
                expected = panel.title != "anomaly_rate: one of four strange, then three" or begin != 1300
                assert (np.nanmax(score[inside]) >= limit) == expected, panel.title
            normal = score[~fault & (at >= panel.first)]
            assert np.nanmean(normal >= limit) < 0.03, panel.title


def test_every_picture_is_there_and_small(pictures):
    page = (DOCS / "detection.md").read_text()
    for name in pictures.FAMILIES:
        assert f"pictures/family_{name}.png" in page
        assert (DOCS / "pictures" / f"family_{name}.png").stat().st_size < 60_000
