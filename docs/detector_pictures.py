"""Draws docs/pictures/family_*.png: score over signal for each family of detectors, from real runs of the engine.

PYTHONPATH=. python docs/detector_pictures.py [FAMILY...]
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from PIL import Image

from agent.alerts.alert import Identity
from agent.engine.engine import Engine
from agent.settings.registry import build
from sensors.batch import Batch

mpl.use("Agg")
from matplotlib import pyplot as plt

SECOND = 10**9
START = 1_700_000_000 * SECOND // (86_400 * SECOND) * 86_400 * SECOND
SIGNAL, SCORE, LIMIT, FAULT = "#334155", "#2563eb", "#dc2626", "#fecaca"


@dataclass
class Panel:
    """One detector over one signal.

    Attributes:
        title: said above.
        columns: metric -> `(n,)`; NaN = no value.
        faults: rows from, to (exclusive), shaded.
        detector: its table.
        limit: dashed; None = the usual one of the detector.
        step: ns between rows.
        below: further detectors that it reads, by name.
        first: row from which is drawn.
    """

    title: str
    columns: dict[str, np.ndarray]
    faults: list[tuple[int, int]]
    detector: dict[str, Any]
    limit: float | None = None
    step: int = SECOND
    below: dict[str, dict[str, Any]] = field(default_factory=dict)
    first: int = 0


def score(panel: Panel) -> tuple[np.ndarray, np.ndarray, float | None]:
    """Row and score of each result, and the usual limit."""
    steps = {name: build("detector", name, table) for name, table in (panel.below | {"it": panel.detector}).items()}
    n = len(next(iter(panel.columns.values())))
    time = START + panel.step * np.arange(n)
    batch = Batch(("m",), np.zeros(n, np.int32), time, panel.columns, int(time[-1]))
    out = Engine(steps, {}, Identity("docs", "docs")).process(batch).results["it"]
    limit = panel.limit if panel.limit is not None else getattr(steps["it"], "default_limit", None)
    return (out.end - START) / panel.step, out.values["score"], limit


def noise(n: int, seed: int = 0) -> np.ndarray:
    """White, variance 1."""
    return np.random.default_rng(seed).normal(0, 1, n)


def distribution() -> list[Panel]:
    """The same mean and spread, another shape; then back."""
    rng = np.random.default_rng(2)
    x = rng.normal(0, 1, 9000)
    x[5000:7000] = rng.choice([-1.0, 1.0], 2000) + rng.normal(0, 0.2, 2000)
    table = {"type": "kl", "metric": "x", "size": "500s", "step": "50s", "learn": "2000s", "bins": 20}
    return [
        Panel("kl", {"x": x}, [(5000, 7000)], table, 0.5, first=2000),
        Panel('kl, divergence = "js"', {"x": x}, [(5000, 7000)], table | {"divergence": "js"}, 0.1, first=2000),
        Panel(
            'kl, divergence = "psi", edges = "quantile"', {"x": x}, [(5000, 7000)],
            table | {"divergence": "psi", "edges": "quantile"}, 0.25, first=2000,
        ),
    ]  # fmt: skip


def waves() -> list[Panel]:
    """A sag of the mains, and a machine that begins to sing."""
    t = np.arange(12_000) / 1000
    volts = 325 * np.sin(2 * np.pi * 50 * t) + noise(12_000)
    volts[9000:9100] *= 0.5
    table = {"type": "mains", "metric": "x", "learn": 5}
    hum = np.sin(2 * np.pi * 25 * t) + 0.3 * np.sin(2 * np.pi * 120 * t) + 0.05 * noise(12_000)
    hum[9000:10_000] += 0.6 * np.sin(2 * np.pi * 333 * t[:1000])
    spectral = {"type": "spectral", "metric": "x", "sampling_rate": 1000, "window": 512, "hop": 64, "learn": 20}
    step = SECOND // 1000
    return [
        Panel("mains: a sag of 100 ms", {"x": volts}, [(9000, 9100)], table, step=step, first=8000),
        Panel("spectral: a new tone", {"x": hum}, [(9000, 10_000)], spectral, 0.1, step=step, first=8000),
    ]


def values() -> list[Panel]:
    """Single rows: out of range, off the median, off the neighbours, not moving."""
    x = 20 + np.cumsum(noise(1500)) * 0.05 + 0.3 * noise(1500, 1)
    odd = x.copy()
    odd[[900, 1200]] += [6, -4]
    faults = [(895, 906), (1195, 1206)]
    flat = x.copy()
    flat[1000:1150] = flat[1000]
    return [
        Panel("spatial: outside all that was seen", {"x": odd}, faults, {"type": "spatial", "metric": "x"}),
        Panel("robust_z: far from the median", {"x": odd}, faults, {"type": "robust_z", "metric": "x"}),
        Panel("spike: off its neighbours", {"x": odd}, faults, {"type": "spike", "metric": "x"}),
        Panel("stuck: stands still", {"x": flat}, [(1000, 1150)], {"type": "stuck", "metric": "x"}),
    ]


def changes() -> list[Panel]:
    """The mean moves by one spread, the noise trebles."""
    x = noise(2000)
    x[1200:1500] += 1.0
    restless = noise(2000, 3)
    restless[1200:1300] *= 3
    names = ("ewma", "cusum", "page_hinkley")
    return [
        *(Panel(name, {"x": x}, [(1200, 1500)], {"type": name, "metric": "x"}) for name in names),
        Panel("noise_burst", {"x": restless}, [(1200, 1300)], {"type": "noise_burst", "metric": "x"}),
    ]


def memory() -> list[Panel]:
    """A cycle of 37 rows with a value that is usual, but not there; a beat that goes backwards; a flat day."""
    t = np.arange(2000)
    x = 10 * np.sin(2 * np.pi * t / 37) + 0.4 * noise(2000)
    x[1500:1506] = 9 + 0.4 * noise(6, 5)
    beat = np.exp(-(((t % 50) - 25) ** 2) / 20) + 0.03 * noise(2000)
    beat[1705:1735] = beat[1705:1735][::-1] + np.linspace(0, 0.6, 30)
    day = 20 + 5 * np.sin(2 * np.pi * np.arange(3000) / 96) + 0.3 * noise(3000)
    day[2400:2496] = 20 + 0.3 * noise(96, 9)
    quarter = 900 * SECOND
    steps = np.tile(np.repeat([1.0, 2.0, 4.0, 3.0, 0.0], 6), 100) + 0.03 * noise(3000, 7)
    steps[2400:2430] = steps[2400:2430][::-1]
    return [
        Panel("seasonal: usual, but not at this place of the cycle", {"x": x}, [(1500, 1506)],
              {"type": "seasonal", "metric": "x"}, first=1000),
        Panel("neighbour: a shape that was never there", {"x": beat}, [(1705, 1735)],
              {"type": "neighbour", "metric": "x"}, first=1000),
        Panel("auto: a day that is flat", {"x": day}, [(2400, 2496)], {"type": "auto", "metric": "x"}, step=quarter,
              first=1500),
        Panel("contexts: usual steps in an unusual order", {"x": steps}, [(2400, 2430)],
              {"type": "contexts", "metric": "x"}, first=1800),
    ]  # fmt: skip


def machine() -> list[Panel]:
    """Sensors that belong together, and one that falls silent."""
    n = 2000
    base = 5 + np.convolve(noise(n + 20, 12), np.ones(20) / 20, "valid")[:n]
    three = {
        "pressure": base, "flow": 2 * base + 0.05 * noise(n, 1), "power": 10 - base + 0.05 * noise(n, 2),
    }  # fmt: skip
    three["flow"][1300:1400] += 1.0
    four = {name: noise(n, i) for i, name in enumerate("abcd")}
    four["b"][1300:1330] += 8
    for name in "acd":
        four[name][1600:1630] += 8
    gone = noise(400, 8)
    gone[250:290] = np.nan
    return [
        Panel("pca: one sensor has left the others", three, [(1300, 1400)], {"type": "pca", "metrics": list(three)},
              1.0, first=1000),
        Panel("anomaly_rate: one of four strange, then three", four, [(1300, 1330), (1600, 1630)],
              {"type": "anomaly_rate", "metrics": list(four)}, first=1000),
        Panel("missing: no value for 40 s", {"x": gone}, [(250, 290)], {"type": "missing", "metric": "x"}, first=100),
    ]  # fmt: skip


def combination() -> list[Panel]:
    """The same score of a shift, calibrated in three ways; and three detectors as one."""
    x = noise(3000)
    x[2000:2040] += 4.0
    ewma = {"raw": {"type": "ewma", "metric": "x"}}
    made = [
        Panel(f'calibrated, method = "{method}"', {"x": x}, [(2000, 2040)],
              {"type": "calibrated", "on": "raw", "metric": "score", "method": method}, limit, below=ewma, first=1000)
        for method, limit in (("ratio", 0.9), ("conformal", 2.0), ("tail", 5.0))
    ]  # fmt: skip
    return [*made, Panel("combined: one alarm, then rest", {"x": x}, [(2000, 2040)],
                         {"type": "combined", "metric": "x"}, first=1000)]  # fmt: skip


FAMILIES = {f.__name__: f for f in (distribution, waves, values, changes, memory, machine, combination)}


def draw(name: str, folder: Path) -> Path:
    """Draw a family, with few colours: small files."""
    panels = FAMILIES[name]()
    wide = min(2, len(panels))
    rows = -(-len(panels) // wide)
    figure, grid = plt.subplots(
        2 * rows, wide, figsize=(4.6 * wide, 2.1 * rows), squeeze=False, layout="constrained",
        gridspec_kw={"height_ratios": [1, 1] * rows},
    )  # fmt: skip
    plt.rcParams["font.size"] = 7
    for i, panel in enumerate(panels):
        above, below = grid[2 * (i // wide)][i % wide], grid[2 * (i // wide) + 1][i % wide]
        at, found, limit = score(panel)
        n = len(next(iter(panel.columns.values())))
        for column in panel.columns.values():
            rows_shown = np.arange(panel.first, n)
            above.plot(rows_shown, column[panel.first :], color=SIGNAL, linewidth=0.5)
        shown = at >= panel.first
        below.plot(at[shown], found[shown], color=SCORE, linewidth=0.8)
        if limit is not None:
            below.axhline(limit, color=LIMIT, linestyle="--", linewidth=0.7)
        for axes in (above, below):
            for begin, end in panel.faults:
                axes.axvspan(begin, end, color=FAULT, linewidth=0)
            axes.set_xlim(panel.first, n)
            axes.tick_params(labelsize=6, length=2)
        above.set_title(panel.title, fontsize=8, loc="left")
        above.set_xticklabels([])
        below.set_ylim(bottom=0.0)
    for i in range(len(panels), rows * wide):
        grid[2 * (i // wide)][i % wide].axis("off")
        grid[2 * (i // wide) + 1][i % wide].axis("off")
    picture = BytesIO()
    figure.savefig(picture, format="png", dpi=110)
    plt.close(figure)
    path = folder / f"family_{name}.png"
    Image.open(picture).convert("RGB").quantize(24).save(path, optimize=True)
    return path


if __name__ == "__main__":
    for family in sys.argv[1:] or FAMILIES:
        path = draw(family, Path(__file__).parent / "pictures")
        sys.stdout.write(f"{path} {path.stat().st_size} bytes\n")
