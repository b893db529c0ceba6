"""What every window of the registry keeps, whoever wrote it."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from agent.core.rows import Rows
from agent.settings.registry import REGISTRY, build
from agent.testing import check_window, readings
from sensors.batch import Text

SOME = {"metric": "x", "aggregates": ["mean", "count", "min", "max", "first", "last", "std"]}
TEXTS = {"aggregates": {"n": "count(*)", "m": "median(x)", "all": "collect(x)", "words": "listagg(status)"}}

CASES: dict[str, dict[str, Any]] = {
    "tumbling": {"type": "tumbling", "size": "20m", **SOME},
    "tumbling, texts": {"type": "tumbling", "size": "20m", **TEXTS},
    "tumbling, late": {"type": "tumbling", "size": "20m", "closing": "watermark", "grace": "10m", "emit_late": True, **SOME},
    "tumbling, current": {"type": "tumbling", "size": "20m", "emit": "current", "idle": "1h", **SOME},
    "hopping": {"type": "hopping", "size": "30m", "step": "10m", "where": "x > 40", **SOME},
    "cumulate": {"type": "cumulate", "size": "60m", "step": "10m", **SOME},
    "count": {"type": "count", "count": 7, "step": 3, **SOME},
    "count, current": {"type": "count", "count": 7, "emit": "current", **TEXTS},
    "running": {"type": "running", "metric": "x", "aggregates": ["count", "mean", "max"]},
    "session": {"type": "session", "gap": "4m", **SOME},
    "session, late": {"type": "session", "gap": "4m", "grace": "10m", "closing": "watermark", "emit_late": True, **SOME},
    "sliding": {"type": "sliding", "size": "10m", **SOME},
    "sliding, late": {"type": "sliding", "size": "10m", "grace": "10m", "emit_late": True, **SOME},
}  # fmt: skip


def make(case: str) -> Any:
    return build("window", f"window.{case}", CASES[case])


def rows(seed: int) -> Rows:
    """Readings that come out of order now and then."""
    found = readings(seed=seed)
    rng = np.random.default_rng(seed)
    codes = rng.integers(-1, 2, len(found)).astype(np.int32)
    time = found.end - rng.integers(0, 15, len(found)) * (rng.random(len(found)) < 0.2) * 60 * 10**9
    texts = {"status": Text(("RUN", "FAIL"), codes)}
    return dataclasses.replace(found, start=time, end=time, texts=texts)


def test_every_window_of_the_registry_is_tested_here() -> None:
    assert {case["type"] for case in CASES.values()} == set(REGISTRY["window"])


@pytest.mark.parametrize(
    "check",
    [pytest.param(c, id=f"{case}-{c}") for case in CASES for c in check_window(lambda case=case: make(case), rows)],
)
def test_contract(check) -> None:
    check()
