"""Score and verdict of each window of a recorded wave."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from agent.core.rows import Rows
from agent.detectors.histograms.tutorial_kl import NORMAL, TUTORIAL_THRESHOLD, TutorialKL
from agent.detectors.power_quality.mains import Mains
from agent.offline.configured import codec_of, names_detector, tables_of
from agent.offline.waves import Detector, Wave, find_nominal, read_wave_columns, score_series, wave_of
from agent.settings.files import read_text
from agent.settings.registry import build


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectionOptions:
    """Which detector is run over which wave.

    Attributes:
        file: CSV or NPZ with the samples.
        detector: `tutorial_kl` or `mains`; with `config` its name there.
        config: TOML whose `[detector.NAME]` is run; the keys below are then those of its table.
        metric: column of the wave; empty = that of the configuration, or the one there is.
        reference: file with a normal wave; None = a column of `file`, or the first window.
        window: samples; `hop` likewise, 0 = the window.
        threshold: anomalous above it; None = the default of the detector.
        sampling_rate: samples a second; 0 = by the times.
        nominal: frequency of the sine, Hz; 0 = find it.
        model: file that a calibration wrote; empty = none.
    """

    file: Path
    detector: str = "tutorial_kl"
    config: Path | None = None
    metric: str = ""
    reference: Path | None = None
    window: int = 1000
    hop: int = 0
    bins: int = 50
    threshold: float | None = None
    sampling_rate: float = 0.0
    nominal: float = 0.0
    model: str = ""


def detect(options: DetectionOptions) -> tuple[Detector, Rows]:
    """The detector and its row for each window.

    Raises:
        ConfigError, ValueError: a file or option that does not fit.
    """
    table = _table(options.config, options.detector) if names_detector(options.config, options.detector) else {}
    codec = codec_of(options.config, options.detector, options.file)
    columns = read_wave_columns(options.file, codec, timed=not options.sampling_rate)
    wave = wave_of(columns, options.metric or _watched(options, table, list(columns.values)), options.sampling_rate)
    detector: Detector = (
        build("detector", f"detector.{options.detector}", table) if table else _detector(options, wave)
    )
    if len(wave.samples) < detector.size:
        raise ValueError(f"{options.file}: {len(wave.samples)} samples are less than a window of {detector.size}")
    return detector, score_series(detector, wave)


def _table(config: Path | None, name: str) -> dict[str, Any]:
    """The table of a detector of waves in a configuration, to run over one series."""
    tables = tables_of(config).get("detector", {})
    if name not in tables:
        raise ValueError(f"{config}: no detector {name}; there are: {', '.join(tables) or 'none'}")
    table = tables[name]
    if table.get("type") not in ("mains", "tutorial_kl"):
        raise ValueError(f"{config}: {name} is no detector of waves; agent evaluate runs any")
    return {key: value for key, value in table.items() if key not in ("by", "on")}


def _watched(options: DetectionOptions, table: dict[str, Any], columns: Sequence[str]) -> str:
    """The metric of a configured detector; a file that has several columns must have it."""
    metric = str(table.get("metric", ""))
    if not metric or metric in columns or len(columns) < 2:
        return metric if metric in columns else ""
    raise ValueError(
        f"{options.file} has no column {metric}, which detector.{options.detector} of {options.config} watches, so live "
        f"it would say nothing; it has {', '.join(columns)}: correct the metric, or choose a column with --metric"
    )


def _detector(options: DetectionOptions, wave: Wave) -> Detector:
    hop = options.hop or options.window
    normal = wave.normal
    if options.reference is not None:
        codec = codec_of(options.config, options.detector, options.reference)
        normal = read_wave_columns(options.reference, codec, timed=False).first((*NORMAL, wave.name))
    if options.detector not in ("tutorial_kl", "mains"):
        raise ValueError(
            f"{options.detector} is no detector of waves: tutorial_kl or mains; agent evaluate runs any"
        )
    if options.detector == "tutorial_kl":
        threshold = TUTORIAL_THRESHOLD if options.threshold is None else options.threshold
        kl = TutorialKL("wave", window=options.window, hop=hop, bins=options.bins, threshold=threshold)
        if normal is not None:
            kl.fit(normal[: options.window])
        return kl
    mains = Mains(
        "wave",
        sampling_rate=wave.rate,
        nominal=options.nominal or find_nominal(wave.samples, wave.rate),
        window=options.window,
        hop=hop,
        model=read_text(options.model, "model") if options.model else None,
        threshold=1.0 if options.threshold is None else options.threshold,
    )
    if not options.model and options.reference is not None and normal is not None:
        starts = np.arange(0, len(normal) - options.window + 1, max(1, options.window // 10))
        mains.fit(normal[starts[:, None] + np.arange(options.window)])
    return mains
