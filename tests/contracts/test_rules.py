"""What every rule of the registry keeps, whoever wrote it."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from agent.core.rows import Rows
from agent.settings.registry import REGISTRY, build
from agent.testing import check_rule, readings
from sensors.batch import Text

CASES: dict[str, dict[str, Any]] = {
    "threshold": {"type": "threshold", "when": "x >= 55", "clear": "x < 50", "for": "90s", "hold": "3m", "every": "1h"},
    "threshold with levels": {
        "type": "threshold", "when": "x >= 52", "levels": {"critical": "x >= 70"}, "no_data": "2h", "cooldown": "5m",
        "flap_changes": 4, "flap_within": "1h",
    },
    "threshold raw": {"type": "threshold", "when": "x >= 55", "mode": "raw"},
    "threshold over texts": {"type": "threshold", "when": "status = 'FAIL' or x > 90"},
    "count": {"type": "count", "when": "x > 50", "least": 2, "of": 3},
    "deadman": {"type": "deadman", "after": "30s"},
    "filter": {"type": "filter", "where": "x > 52"},
    "having": {"type": "having", "when": "x > 50"},
    "pattern": {"type": "pattern", "steps": ["up: x > 52", "down: x < 49"], "metric": "x"},
    "pattern with delay": {
        "type": "pattern", "steps": ["up+: x > 51", "down: x < 50"], "metric": "x", "within": "30m", "delay": "2m",
    },
    "rate": {"type": "rate", "when": "abs(rate) > 0.02", "metric": "x"},
    "stuck": {"type": "stuck", "metric": "x", "after": "4m"},
}  # fmt: skip


def make(case: str) -> Any:
    return build("rule", f"rule.{case}", CASES[case])


def rows(seed: int) -> Rows:
    found = readings(seed=seed)
    codes = np.random.default_rng(seed).integers(-1, 2, len(found)).astype(np.int32)
    return dataclasses.replace(found, texts={"status": Text(("RUN", "FAIL"), codes)})


def test_every_rule_of_the_registry_is_tested_here() -> None:
    assert {case["type"] for case in CASES.values()} == set(REGISTRY["rule"])


@pytest.mark.parametrize(
    "check",
    [pytest.param(c, id=f"{case}-{c}") for case in CASES for c in check_rule(lambda case=case: make(case), rows)],
)
def test_contract(check) -> None:
    check()
