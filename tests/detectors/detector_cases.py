"""Every detector of the registry: with which configuration and rows it is tested, and what it states of itself.

A detector without a line here fails. A property that does not apply is named with the reason.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from agent.core.rows import Rows
from agent.settings.registry import REGISTRY
from sensors.units import Duration
from tests.detectors.detector_tables import START, table

MINUTE = 60 * 10**9


def signal(n=400, series=3, seed=0, wild=True):
    """Readings of some series: noise, a shift, a spike, a constant stretch, gaps and nonsense."""
    rng = np.random.default_rng(seed)
    key = rng.integers(0, series, n)
    x = rng.normal(50, 2, n) + 10 * (np.arange(n) > 0.7 * n)
    y = 0.5 * x + rng.normal(0, 1, n)
    x[n // 2] += 40
    x[n // 3 : n // 3 + 30] = 51.0
    if wild:
        x[5::37] = np.nan
        x[11], x[12], x[13] = np.inf, -np.inf, 1e308
        y[7::41] = np.nan
        key[20] = -1
    return table(key, {"x": x, "y": y, "z": x + y}, time=START + MINUTE * np.arange(n))


def waves(n=400, series=3, seed=0, wild=True):
    """Samples of some sines of 5 Hz at 100 a second, with noise, a sag, a spike, a sample or two missing, nonsense."""
    rng = np.random.default_rng(seed)
    number = np.arange(n) // series
    x = 100 * np.sin(2 * np.pi * number / 20 + np.arange(n) % series) + rng.normal(0, 1, n)
    sag = slice(round(0.75 * n), round(0.75 * n) + 60 * series)
    x[sag] *= 0.3
    x[n // 2] += 200
    key = np.arange(n) % series
    if wild:
        x[5::701] = np.nan
        x[11 % n], x[n // 3], x[n // 3 + 1] = np.inf, -np.inf, 1e308
        key[20] = -1
    return table(key, {"x": x}, time=START + 10**7 * number)


@dataclass(frozen=True)
class Case:
    """How a detector is tested.

    Attributes:
        options: a configuration under which a few hundred rows already give scores.
        rows: makes its natural rows: `rows(n, series, seed, wild)`.
        length: rows of a stream that shows all it does.
        windows: why its results are not one for each row of the input; empty = they are.
        constant: why a constant series has a score; empty = it has none.
        shift: why a shift of the level is no fault to it; empty = it scores above all that is normal.
        scale: what a factor on the metric does: "same" scores, or why they differ.
        offset: what a constant added to it does, likewise.
        no_limit: why a rule has to name its limit; empty = the detector has a usual one.
        ties: why only a factor that is a power of two leaves the scores as they are; empty = any does.
    """

    options: dict[str, Any]
    rows: Callable[..., Rows] = signal
    length: int = 400
    windows: str = ""
    constant: str = ""
    shift: str = ""
    scale: str = "same"
    offset: str = "same"
    ties: str = ""
    no_limit: str = ""


X = {"metric": "x"}
XYZ = {"metrics": ("x", "y", "z")}
_WAVE = {"rows": waves, "length": 1800, "windows": "it judges windows of samples"}
_RANK = "it compares with earlier values, so that a tie falls either way by rounding"

CASES = {
    "anomaly_rate": Case(XYZ),
    "auto": Case(X | {"memory": 512, "warmup": 64, "refractory": 20}, ties=_RANK),
    "calibrated": Case(
        X | {"refractory": 16},
        no_limit="each method has its own",
        constant="it takes scores: one that stays the same is a record each time",
        shift="it takes scores, of which a low one is no fault",
        offset="it takes scores, whose zero has a meaning",
    ),
    "combined": Case(X | {"refractory": 16}),
    "contexts": Case(X | {"memory": 1024, "warmup": 32, "refractory": 20}, ties=_RANK),
    "cusum": Case(X),
    "ewma": Case(X),
    "kl": Case(
        X | {"size": Duration("2h"), "step": Duration("30m"), "learn": Duration("60m"), "bins": 6},
        windows="it judges windows of time",
        no_limit="it depends on the divergence, the bins and the readings in a window",
        constant="it has not moved: a divergence of about 0 is true",
    ),
    "mains": Case(
        X | {"sampling_rate": 100.0, "nominal": 5.0, "window": 100, "hop": 10, "learn": 4},
        constant="no sine is a disturbance, once it has learnt from one; before, it says so",
        shift="a sine has no level; its own tests have a fault of each kind",
        **_WAVE,
    ),
    "missing": Case(
        X,
        constant="values come, whatever they are",
        shift="values come, whatever they are",
    ),
    "neighbour": Case(X | {"window": 8, "memory": 64, "warmup": 16}),
    "noise_burst": Case(X | {"window": 8, "warmup": 16}),
    "page_hinkley": Case(X),
    "pca": Case(XYZ | {"train": 100}),
    "robust_z": Case(X | {"window": 30}),
    "seasonal": Case(X | {"periods": 3, "memory": 96}),
    "spatial": Case(X),
    "spectral": Case(
        X | {"sampling_rate": 100.0, "window": 32, "rate_tolerance": 0.1, "bands": 4, "learn": 4},
        shift="it is blind to gain and offset; its own tests have a new tone",
        no_limit="it depends on the noise and the bands",
        **_WAVE,
    ),
    "spike": Case(X),
    "stuck": Case(X | {"rows": 5}, shift="nothing stands still here"),
    "tutorial_kl": Case(
        X | {"window": 40, "hop": 20, "bins": 10},
        shift="it is blind to gain and offset; the given cases have what it finds",
        no_limit="it depends on the noise; without any it is the threshold of the tutorial",
        scale="the 1e-10 that the tutorial adds to each density has the unit of 1 / metric",
        ties="a sample on the edge of a bin falls either way by rounding",
        **_WAVE,
    ),
}


def make(name: str, **more: Any) -> Any:
    """A detector of the registry in the configuration of its case."""
    module, _, attribute = REGISTRY["detector"][name].partition(":")
    return getattr(importlib.import_module(module), attribute)(**CASES[name].options | more)


def rows_for(name: str, series=3, seed=0, wild=True, n=0) -> Rows:
    """The natural rows of a detector."""
    case = CASES[name]
    return case.rows(n or case.length, series, seed, wild)
