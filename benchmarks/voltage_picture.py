"""Pictures for the documentation: score over signal for one case of each family of disturbance."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from agent.detectors.histograms.tutorial_kl import TUTORIAL_THRESHOLD, TutorialKL
from agent.detectors.power_quality.mains import Mains
from agent.detectors.power_quality.spectral import Spectral
from agent.offline.plots import plot_windows
from agent.offline.waves import rows_of
from benchmarks.voltage_kinds import NORMAL
from sensors.batch import Floats
from sensors.drivers.simulated.waveform import windows

FAMILIES = ("drop0.5_100", "spike+100_1", "harmonic5_10pct", "freq47_midwindow", "phasejump30deg", "stuck_last_100",
            "noiseburst30_100", "dc+50_100")  # fmt: skip


def draw(folder: Path) -> list[Path]:
    """Draw the tracked sine, the tutorial's KL and the spectrum; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(4)
    detector = Mains("wave", hop=20, threshold=1.0)
    detector.fit(np.concatenate([windows(kind, 100, random, 1.0).waves for kind in NORMAL]))
    panels, panels_kl = [], []
    for kind in FAMILIES:
        made = windows(kind, 1, random, 1.0)
        before = windows("none", 1, random, 1.0).waves[0]
        after = windows("none", 1, random, 1.0).waves[0]
        wave = np.concatenate([before, made.waves[0], after])
        rows = rows_of(np.zeros(len(wave), np.int64), wave, 1000.0)
        detector.evict(np.array([0]))
        out = detector.process(rows)
        said = {name for name in out.texts["disturbance"].tolist() if name}
        named = out.texts["disturbance"].tolist()[int(np.argmin(np.abs(out.at - 1999)))]
        panels.append(
            (
                f"{kind}, 1 V of noise: {named} (seen: {', '.join(sorted(said))})",
                wave,
                out.at.astype(float),
                out.values["score"],
            )
        )
        kl = TutorialKL("wave", window=1000, hop=20)
        kl.fit(windows("none", 1, random, 0.0).waves[0])
        out = kl.process(rows)
        panels_kl.append((f"{kind}, 1 V of noise", wave, out.at.astype(float), out.values["score"]))
    files = [folder / "voltage_mains.png", folder / "voltage_tutorial.png", folder / "spectral.png"]
    plot_windows(files[0], panels, 1.0, "score")
    plot_windows(files[1], panels_kl[:3], TUTORIAL_THRESHOLD, "KL")
    plot_windows(files[2], [_machine(random)], 0.1, "KL")
    for file in files:  # few colours make small files
        with Image.open(file) as picture:
            small = picture.convert("RGB").quantize(8, dither=Image.Dither.NONE)
        small.save(file, optimize=True)
    return files


def _machine(random: np.random.Generator) -> tuple[str, Floats, Floats, Floats]:
    """A machine at 25 turns a second whose bearing begins to sing at 137 Hz."""
    time = np.arange(40_000) / 1000
    wave = np.sin(2 * np.pi * 25 * time) + 0.1 * random.standard_normal(len(time))
    wave += 0.3 * np.sin(2 * np.pi * 137 * time) * (time > 28)
    out = Spectral("wave", 1000.0, bands=32, learn=20).process(rows_of(np.zeros(len(time), np.int64), wave, 1000.0))
    return "a machine at 25 Hz; from 28 s on a tone at 137 Hz", wave, out.at.astype(float), out.values["score"]
