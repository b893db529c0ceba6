"""The threshold of a detector, and how well it will do."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from agent.offline import tutorial
from agent.offline.calibration_data import (
    DAY,
    LEARN,
    LIMIT,
    TEST,
    CalibrationData,
    CalibrationOptions,
    calibration_data,
)
from agent.offline.configured import codec_of
from agent.offline.plots import NoPlotError, plot_calibration, plot_scores
from agent.offline.quantile import FittedThreshold, HeldOutResult, examine, threshold_for
from agent.offline.waves import Wave, load_wave


def calibrate(options: CalibrationOptions, warn: Callable[[str], None]) -> dict[str, Any]:
    """Threshold, figures, configuration (`toml`) and what to print of it (`lines`); draws the picture.

    Raises:
        ConfigError, ValueError, OSError: a file or option that does not fit.
    """
    if options.method == "tutorial":
        return _tutorial(options)
    return _quantile(options, calibration_data(options, warn))


def _picture(options: CalibrationOptions) -> Path:
    first: Path = options.files[0]
    path: Path = options.plot or first.with_name(first.stem + "_calibration.png")
    return path


def _tutorial(options: CalibrationOptions) -> dict[str, Any]:
    if len(options.files) > 1:
        raise ValueError("the method tutorial takes one file")
    file: Path = options.files[0]
    codec = codec_of(options.config, options.detector, file)
    wave: Wave = load_wave(file, options.metric, options.sampling_rate, options.time, codec)
    window = options.window or 1000
    if wave.normal is None or wave.label is None:
        raise ValueError(f"{file}: the method tutorial needs the columns normal_wave and is_anomaly")
    found = tutorial.calibrate(
        wave.normal, wave.samples, wave.label.astype(np.int64),
        chunk=window, deviations=options.deviations, bins=options.bins,
    )  # fmt: skip
    lines = [f"Anomaly detection threshold (KL Divergence): {found.threshold!r}"]
    lines += [
        f"{label}: {value:.4f}"
        for label, value in zip(
            ("Accuracy", "Precision", "Recall", "F1-Score"), found.verdict.figures().values(), strict=True
        )
    ]
    try:
        title = f"{len(found.score)} chunks of {window} samples"
        plot_scores(_picture(options), found.score, found.truth, found.threshold, "KL divergence (nats)", title)
        lines.append(f"Picture: {_picture(options)}")
    except NoPlotError as error:
        lines.append(f"No picture: {error}")
    lines.append("This threshold was judged on the data it was found on, and holds for noiseless waves only.")
    detector = {"type": "tutorial_kl", "metric": wave.name, "window": window, "hop": window, "bins": options.bins,
                "threshold": found.threshold, "reference": str(file.resolve())}  # fmt: skip
    return {
        "method": "tutorial", "threshold": found.threshold, **found.verdict.figures(),
        "confusion": found.verdict.confusion(), "kl": found.score.tolist(), "truth": found.truth.astype(int).tolist(),
        "toml": snippet(detector, "anomaly == 1"), "lines": lines,
    }  # fmt: skip


def _quantile(options: CalibrationOptions, data: CalibrationData) -> dict[str, Any]:
    """Threshold, figures on what was kept apart, picture and configuration."""
    limit = threshold_for(data.score[(data.part == LIMIT) & ~data.truth], options.false_alarms, data.overlap)
    value = max(limit.value, data.least)
    apart = data.part == TEST
    kinds = [word for word, one in zip(data.kind, apart.tolist(), strict=True) if one]
    test = examine(data.score[apart], data.truth[apart], kinds, value, data.overlap)
    lines = (
        [
            f"Calibrated: {'detector.' if options.configured else ''}{options.detector} over {', '.join(data.watched)}"
        ]
        if data.watched
        else []
    )
    lines += _lines(limit, value, test, data)
    try:
        plot_calibration(
            _picture(options),
            data.score[apart],
            data.truth[apart],
            value,
            "score",
            f"{data.what} kept apart",
            test,
            kinds,
        )
        lines.append(f"Picture: {_picture(options)}")
    except NoPlotError as error:
        lines.append(f"No picture: {error}")
    return {
        "method": "quantile", "detector": options.detector, "metrics": list(data.watched),
        "threshold": value, "quantile": limit.value,
        "interval": [limit.low, limit.high if limit.enough else None], "wanted_rate": limit.rate,
        "normal_windows": limit.windows, "independent_windows": limit.independent, **test.verdict.figures(),
        "confusion": test.verdict.confusion(), "false_alarm_rate": test.verdict.false_alarm_rate,
        "false_alarm_interval": [test.rate_low, test.rate_high], "roc_area": _known(test.area),
        "average_precision": _known(test.average), "unscored": test.unscored,
        "by_kind": {k: {"windows": n, "alarms": r} for k, (n, r) in test.by_kind.items()},
        "expected_false_alarms_a_day": _known(limit.rate * data.a_day),
        "expected_interval_a_day": [_known(test.rate_low * data.a_day), _known(test.rate_high * data.a_day)],
        "windows_learned_from": int(np.count_nonzero((data.part == LEARN) & ~data.truth)),
        "toml": _configuration(data, value), "lines": lines,
    }  # fmt: skip


def _known(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _configuration(data: CalibrationData, value: float) -> str:
    """TOML of the detector, unless it stands in a configuration, and of a rule on it."""
    if "threshold" in data.table or data.name == "wave":
        return snippet(data.table | {"threshold": value}, "anomaly == 1", lasting=data.lasting)
    return snippet(data.table, f"score > {value!r}", data.name)


def _lines(limit: FittedThreshold, value: float, test: HeldOutResult, data: CalibrationData) -> list[str]:
    what, a_day = data.what, data.a_day
    high = f"{limit.high:.6g}" if limit.enough else "unknown"
    lines = [
        f"Threshold: {value:.6g} for {limit.rate:.3%} false alarms "
        f"(quantile {limit.value:.6g}, 95 % interval {limit.low:.6g} to {high}; "
        f"{limit.windows} normal {what}, {limit.independent} of them do not overlap)"
    ]
    if not limit.enough:
        lines.append(f"Too few windows for this rate: about {_needed(limit)} that do not overlap are needed.")
    verdict = test.verdict
    lines += [
        f"On {what} kept apart:",
        *(f"  {name.capitalize()}: {number:.4f}" for name, number in verdict.figures().items()),
        f"  False alarms: {verdict.false_alarm_rate:.4%} of normal {what} "
        f"(95 % interval {test.rate_low:.3%} to {test.rate_high:.3%})",
        f"  ROC area {test.area:.4f}, average precision {test.average:.4f}",
        *(f"  {name}: {rate:.1%} of {count} {what} alarm" for name, (count, rate) in test.by_kind.items()),
    ]
    if test.unscored:
        lines.append(f"  {test.unscored} {what} have no score and do not alarm")
    if verdict.figures()["recall"] == 0.0:
        lines.append(f"It finds none of the {what} that are labelled: try another detector, metric or rate.")
    if np.isfinite(a_day) and limit.enough:
        lines.append(
            f"Expected false alarms a day: {limit.rate * a_day:.0f} {what} at the wanted rate, "
            f"{test.rate_low * a_day:.0f} to {test.rate_high * a_day:.0f} by the test; "
            "an alert stands for all that follow each other, the more so with `for` and `hold`"
        )
    elif np.isfinite(a_day):
        share = np.count_nonzero(data.part == LIMIT) / len(data.part)
        seconds = _needed(limit) * data.overlap * DAY / a_day / share
        lines.append(
            f"Expected false alarms a day: not known from this data ({limit.independent} {what} that do not overlap); "
            f"record about {_two_digits(seconds)} s of what is normal"
        )
    return lines


def _needed(limit: FittedThreshold) -> int:
    """Windows that do not overlap from which the largest score bounds the threshold, with 97.5 % certainty."""
    return int(np.ceil(np.log(0.025) / np.log(1 - limit.rate)))


def _two_digits(number: float) -> int:
    return int(float(f"{number:.1e}"))


def snippet(detector: dict[str, Any], when: str, name: str = "wave", lasting: str = "") -> str:
    """Configuration of the detector and a rule on it, ready to paste."""
    comment = {"metric": "  # the column of the file; live it must be called the same"} if name == "wave" else {}
    keys = (f"{key} = {json.dumps(value)}{comment.get(key, '')}" for key, value in detector.items())
    lines = [f"[detector.{name}]", *keys, ""]
    rule = "wave_disturbed" if name == "wave" else f"{name}_anomalous"
    return "\n".join(
        [
            *(lines if detector else []),
            f"[rule.{rule}]",
            f'on = "{name}"',
            f'when = "{when}"',
            *([f'for = "{lasting}"'] if lasting else []),
            'severity = "warning"',
            "",
        ]
    )
