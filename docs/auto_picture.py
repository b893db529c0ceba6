"""Draw `docs/pictures/detector_auto.png` from a real run: `python docs/auto_picture.py` (needs matplotlib)."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np

from agent.core.rows import Rows
from agent.detectors.univariate.auto import Auto

mpl.use("Agg")
from matplotlib import pyplot as plt


def main() -> None:
    """A daily wave with a flat day, a spike and a burst of noise; below it the score."""
    n, day = 3400, 96
    rng = np.random.default_rng(1)
    x = 20 + 5 * np.sin(2 * np.pi * np.arange(n) / day) + rng.normal(0, 0.3, n)
    x[1920:2016] = 20 + rng.normal(0, 0.3, 96)
    x[2500] += 12
    x[3000:3030] += rng.normal(0, 1.0, 30)
    time = 10**18 + 900 * 10**9 * np.arange(n)
    out = Auto("x").process(Rows(np.zeros(n, np.int64), time, time, np.arange(n), {"x": x}, int(time[-1])))
    figure, (top, bottom) = plt.subplots(2, 1, sharex=True, figsize=(9, 4), layout="constrained")
    top.plot(x, lw=0.6, color="#333333")
    top.set_ylabel("metric")
    bottom.plot(out.values["score"], lw=0.8, color="#b03030")
    bottom.axhline(1.0, lw=0.8, ls="--", color="#888888")
    bottom.set_ylabel("score of auto")
    bottom.set_xlabel("row (96 a day)")
    figure.savefig(Path(__file__).parent / "pictures" / "detector_auto.png", dpi=110)


if __name__ == "__main__":
    main()
