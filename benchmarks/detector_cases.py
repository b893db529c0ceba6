"""How each detector of the registry is run by `python -m benchmarks detectors`, and which peer does a like thing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from agent.core.rows import Rows
from agent.detectors.histograms.reference import fit
from sensors.batch import Floats

NOISE, WAVE = "noise", "wave"
"""Normal noise, independent from row to row; a sine of 32 rows a period with noise."""

COLUMNS = 8
"""Columns of a machine with several sensors."""


@dataclass(frozen=True)
class Case:
    """One way to run a detector.

    Attributes:
        type: name in the registry.
        peer: the figure of `benchmarks/peers/streaming.py` to compare with; empty where nobody does a like thing.
        settings: what the configuration holds besides its type.
        signal: `NOISE` or `WAVE`.
        sensors: columns of a row.
        name: under which it is reported; empty = the type.
        warm: rows a series before it is timed, so that it scores.
        stagger: rows by which series begin apart at most; the rows between two costly steps of it, so that as many
            series are at that step in each call.
        taught: windows from which it learns what is normal beforehand; 0 = it learns by itself.
    """

    type: str
    peer: str = ""
    settings: Mapping[str, Any] = field(default_factory=lambda: {"metric": "x0"})
    signal: str = NOISE
    sensors: int = 1
    name: str = ""
    warm: int = 300
    stagger: int = 101
    taught: int = 0

    @property
    def label(self) -> str:
        """Name in the figures."""
        return self.name or self.type

    @property
    def table(self) -> dict[str, Any]:
        """Its configuration."""
        return {"type": self.type, **self.settings}


def _reference() -> dict[str, Any]:
    learnt = fit(np.random.default_rng(0).normal(0, 1, 5000))
    return {"low": learnt.low, "high": learnt.high, "counts": learnt.counts}


_SENSORS = {"metrics": tuple(f"x{i}" for i in range(COLUMNS))}
_KL = {"metric": "x0", "size": "10s", "step": "1s"}
_WAVE = {"metric": "x0", "sampling_rate": 1600.0, "rate_tolerance": 0.0}

CASES: tuple[Case, ...] = (
    Case("ewma", "GaussianScorer"),
    Case("cusum", "ADWIN"),
    Case("page_hinkley", "PageHinkley"),
    Case("robust_z", "PySAD MedianAbsoluteDeviation"),
    Case("spatial", "QuantileFilter"),
    Case("seasonal", "HalfSpaceTrees", warm=900, stagger=512),
    Case("spike", "GaussianScorer"),
    Case("noise_burst", "KSWIN"),
    Case("stuck"),
    Case("missing"),
    Case("neighbour", "PySAD KNNCAD", warm=700),
    Case("contexts", "HalfSpaceTrees", warm=500),
    Case("calibrated", "QuantileFilter"),
    Case("combined", "HalfSpaceTrees"),
    Case("auto", "PySAD xStream"),
    Case("kl", "PySAD RelativeEntropy", {**_KL, "reference": _reference()}, name="kl"),
    Case("kl", "PySAD RelativeEntropy", {**_KL, "learn": "20s"}, name="kl learnt"),
    Case(
        "kl", "PySAD RelativeEntropy", {**_KL, "reference": _reference(), "direction": "window"}, name="kl window"
    ),
    Case("kl", "PySAD RelativeEntropy", {**_KL, "reference": _reference(), "divergence": "js"}, name="kl js"),
    Case("kl", "PySAD RelativeEntropy", {**_KL, "learn": "20s", "divergence": "psi"}, name="kl psi"),
    Case("mains", "", {**_WAVE, "window": 320, "hop": 32}, WAVE, warm=500, taught=300),
    Case("spectral", "", {**_WAVE, "window": 256, "bands": 16, "learn": 2}, WAVE, warm=500),
    Case("tutorial_kl", "PySAD RelativeEntropy", {"metric": "x0", "window": 320, "hop": 32}, WAVE, warm=500),
    Case("pca", "HalfSpaceTrees 8 columns", {**_SENSORS, "train": 200}, sensors=COLUMNS),
    Case("anomaly_rate", "HalfSpaceTrees 8 columns", _SENSORS, sensors=COLUMNS),
)
"""In the order in which they are reported."""


def rows_of(case: Case, series: int, each: int, begin: int, seed: int) -> Rows:
    """`each` rows of each series, one machine after the other at each instant, 100 ms apart, from row `begin`."""
    n = series * each
    time = 10**18 + 10**8 * (begin + np.repeat(np.arange(each), series))
    random = np.random.default_rng(seed)
    values: dict[str, Floats] = {}
    for i in range(case.sensors):
        values[f"x{i}"] = random.normal(0, 1, n)
        if case.signal == WAVE:
            phase = 2 * np.pi * (begin + np.repeat(np.arange(each), series)) / 32
            values[f"x{i}"] = 325 * np.sin(phase) + values[f"x{i}"]
    return Rows(np.tile(np.arange(series), each), time, time, np.arange(n), values, int(time[-1]))
