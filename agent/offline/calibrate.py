"""`agent calibrate FILE`: find the threshold of a detector of waves, and say how well it will do."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from agent.detectors.mains import Mains
from agent.detectors.tutorial_kl import TutorialKL
from agent.detectors.wave_model import WaveModel
from agent.offline import tutorial
from agent.offline.help_text import HelpFormatter
from agent.offline.plots import NoPlotError, plot_calibration, plot_scores
from agent.offline.quantile import Outcome, Threshold, examine, threshold_for
from agent.offline.verdicts import Flags, Verdicts
from agent.offline.waves import Wave, find_nominal, kinds_of_windows, load_wave, score_series
from sensors.batch import Floats

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

DAY = 86_400
PARTS = (0.3, 0.65)
"""Where the part to learn from ends and where the part to find the threshold on ends, as shares of the windows."""


_EXAMPLES = """examples:
  agent calibrate dataset.csv --method tutorial
  agent calibrate dataset.csv --false-alarms 0.001 --toml detector.toml"""


def register(commands: Commands) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "calibrate", help="Find a threshold on labelled data.", description=__doc__,
        formatter_class=HelpFormatter, epilog=_EXAMPLES,
    )  # fmt: skip
    parser.add_argument("file", type=Path, help="CSV or NPZ with time, normal_wave, anomaly_wave, is_anomaly")
    parser.add_argument("--method", choices=("quantile", "tutorial"), default="quantile",
                        help="quantile: for a wanted rate of false alarms; tutorial: mean + 0.1 std")  # fmt: skip
    parser.add_argument("--detector", choices=("mains", "tutorial_kl"), default="mains", help="of method quantile")
    parser.add_argument(
        "--false-alarms", type=float, default=0.01, help="wanted share of normal windows that alarm"
    )
    parser.add_argument("--metric", default="", help="column of the wave")
    parser.add_argument("--window", type=int, default=1000, help="samples in a window")
    parser.add_argument("--hop", type=int, default=0, help="samples between windows; 0 = a tenth of the window")
    parser.add_argument("--bins", type=int, default=50, help="bins of a histogram")
    parser.add_argument("--deviations", type=float, default=0.1, help="of method tutorial")
    parser.add_argument("--nominal", type=float, default=0.0, help="frequency of the sine, Hz; 0 = find it")
    parser.add_argument("--sampling-rate", type=float, default=0.0, help="samples a second; 0 = by the times")
    parser.add_argument("--plot", type=Path, default=None, help="PNG to write; default FILE_calibration.png")
    parser.add_argument(
        "--model", type=Path, default=None, help="where to keep what is normal; default FILE_model.json"
    )
    parser.add_argument("--toml", type=Path, default=None, help="write the configuration there, too")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(func=calibrate)


def calibrate(args: argparse.Namespace) -> int:
    """Calibrate as the arguments say, print the result, draw the picture."""
    try:
        wave = load_wave(args.file, args.metric, args.sampling_rate)
        report = _tutorial(args, wave) if args.method == "tutorial" else _quantile(args, wave)
        if args.toml is not None:
            args.toml.write_text(str(report["toml"]), encoding="utf-8")
    except (ValueError, OSError) as error:
        sys.stderr.write(f"agent calibrate: {error}\n")
        return 2
    lines = report.pop("lines")
    if args.json:
        sys.stdout.write(json.dumps(report) + "\n")
    else:
        sys.stdout.write("\n".join([*lines, "", report["toml"]]))
    return 0


def _picture(args: argparse.Namespace) -> Path:
    path: Path = args.plot or args.file.with_name(args.file.stem + "_calibration.png")
    return path


def _scores_of(verdict: Verdicts) -> dict[str, float]:
    return {name: getattr(verdict, name) for name in ("accuracy", "precision", "recall", "f1")}


def _tutorial(args: argparse.Namespace, wave: Wave) -> dict[str, Any]:
    if wave.normal is None or wave.label is None:
        raise ValueError(f"{args.file}: the method tutorial needs the columns normal_wave and is_anomaly")
    found = tutorial.calibrate(
        wave.normal, wave.samples, wave.label.astype(np.int64),
        chunk=args.window, deviations=args.deviations, bins=args.bins,
    )  # fmt: skip
    lines = [f"Anomaly detection threshold (KL Divergence): {found.threshold!r}"]
    lines += [
        f"{label}: {value:.4f}"
        for label, value in zip(
            ("Accuracy", "Precision", "Recall", "F1-Score"), _scores_of(found.verdict).values(), strict=True
        )
    ]
    try:
        title = f"{len(found.score)} chunks of {args.window} samples"
        plot_scores(_picture(args), found.score, found.truth, found.threshold, "KL divergence (nats)", title)
        lines.append(f"Picture: {_picture(args)}")
    except NoPlotError as error:
        lines.append(f"No picture: {error}")
    lines.append("This threshold was judged on the data it was found on, and holds for noiseless waves only.")
    detector = {"type": "tutorial_kl", "metric": "voltage", "window": args.window, "hop": args.window, "bins": args.bins,
                "threshold": found.threshold, "reference": str(args.file.resolve())}  # fmt: skip
    return {
        "method": "tutorial", "threshold": found.threshold, **_scores_of(found.verdict),
        "confusion": found.verdict.confusion(), "kl": found.score.tolist(), "truth": found.truth.astype(int).tolist(),
        "toml": snippet(detector, "anomaly == 1"), "lines": lines,
    }  # fmt: skip


def _quantile(args: argparse.Namespace, wave: Wave) -> dict[str, Any]:
    hop = args.hop or max(1, args.window // 10)
    overlap = max(1.0, args.window / hop)
    ends = np.arange(args.window, len(wave.samples) + 1, hop)
    if len(ends) < 20:
        raise ValueError(f"{len(wave.samples)} samples make {len(ends)} windows; calibration needs 20 at least")
    kinds = np.array(kinds_of_windows(wave, ends, args.window))
    truth: Flags = kinds != "normal"
    learn, stop = (int(share * len(ends)) for share in PARTS)
    detector, table = _detector(args, wave, hop, ends[:learn][~truth[:learn]])
    score = score_series(detector, wave).values["score"]
    spare = round(overlap)  # windows that share samples with the part before
    normal = np.arange(learn + spare, stop)
    limit = threshold_for(score[normal][~truth[normal]], args.false_alarms, overlap)
    value = max(limit.value, 0.5) if isinstance(detector, Mains) else limit.value
    apart = slice(min(stop + spare, len(ends) - 1), None)
    test = examine(score[apart], truth[apart], kinds[apart].tolist(), value, overlap)
    a_day = DAY * wave.rate / hop
    lines = _lines(limit, value, test, a_day)
    try:
        plot_calibration(_picture(args), score[apart], truth[apart], value, "score", "windows kept apart", test)
        lines.append(f"Picture: {_picture(args)}")
    except NoPlotError as error:
        lines.append(f"No picture: {error}")
    return {
        "method": "quantile", "detector": args.detector, "threshold": value, "quantile": limit.value,
        "interval": [limit.low, limit.high if limit.enough else None], "wanted_rate": limit.rate,
        "normal_windows": limit.windows, "independent_windows": limit.independent, **_scores_of(test.verdict),
        "confusion": test.verdict.confusion(), "false_alarm_rate": test.verdict.false_alarm_rate,
        "false_alarm_interval": [test.rate_low, test.rate_high], "roc_area": _known(test.area),
        "average_precision": _known(test.average), "by_kind": {k: {"windows": n, "alarms": r} for k, (n, r)
                                                               in test.by_kind.items()},
        "expected_false_alarms_a_day": limit.rate * a_day,
        "toml": snippet(table | {"threshold": value}, "anomaly == 1"), "lines": lines,
    }  # fmt: skip


def _known(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _detector(
    args: argparse.Namespace, wave: Wave, hop: int, ends: np.ndarray[Any, np.dtype[np.int64]]
) -> tuple[Mains | TutorialKL, dict[str, Any]]:
    """The detector, taught with the normal windows that end at `ends`, and its configuration."""
    if len(ends) < 2:
        raise ValueError("the first third of the wave holds no normal window to learn from")
    windows: Floats = wave.samples[ends[:, None] - args.window + np.arange(args.window)]
    if args.detector == "tutorial_kl":
        kl = TutorialKL("wave", window=args.window, hop=hop, bins=args.bins)
        kl.fit(windows[0])
        return kl, {"type": "tutorial_kl", "metric": "voltage", "window": args.window, "hop": hop, "bins": args.bins,
                    "reference": str(args.file.resolve())}  # fmt: skip
    nominal = args.nominal or find_nominal(windows[:10].ravel(), wave.rate)
    mains = Mains("wave", sampling_rate=wave.rate, nominal=nominal, window=args.window, hop=hop)
    model = WaveModel.fit(windows, nominal / wave.rate)
    mains.use(model)
    path = args.model or args.file.with_name(args.file.stem + "_model.json")
    model.save(path)
    return mains, {"type": "mains", "metric": "voltage", "sampling_rate": wave.rate, "nominal": nominal,
                   "window": args.window, "hop": hop, "model": str(path.resolve())}  # fmt: skip


def _lines(limit: Threshold, value: float, test: Outcome, a_day: float) -> list[str]:
    high = f"{limit.high:.6g}" if limit.enough else "unknown"
    lines = [
        f"Threshold: {value:.6g} for {limit.rate:.3%} false alarms "
        f"(quantile {limit.value:.6g}, 95 % interval {limit.low:.6g} to {high}; "
        f"{limit.windows} normal windows, {limit.independent} of them do not overlap)"
    ]
    if not limit.enough:
        need = int(np.ceil(np.log(0.025) / np.log(1 - limit.rate)))
        lines.append(f"Too few windows for this rate: about {need} that do not overlap are needed.")
    verdict = test.verdict
    lines += [
        "On windows kept apart:",
        *(f"  {name.capitalize()}: {number:.4f}" for name, number in _scores_of(verdict).items()),
        f"  False alarms: {verdict.false_alarm_rate:.4%} of normal windows "
        f"(95 % interval {test.rate_low:.3%} to {test.rate_high:.3%})",
        f"  ROC area {test.area:.4f}, average precision {test.average:.4f}",
        *(f"  {name}: {rate:.1%} of {count} windows alarm" for name, (count, rate) in test.by_kind.items()),
        f"Expected false alarms a day: {limit.rate * a_day:.1f} windows at the wanted rate, "
        f"{test.rate_low * a_day:.1f} to {test.rate_high * a_day:.1f} by the test; "
        "a rule with `for` makes one alert of neighbouring windows",
    ]
    return lines


def snippet(detector: dict[str, Any], when: str) -> str:
    """Configuration of the detector and a rule on it, ready to paste."""
    lines = ["[detector.wave]", *(f"{name} = {json.dumps(value)}" for name, value in detector.items())]
    return "\n".join(
        [*lines, "", "[rule.wave_disturbed]", 'on = "wave"', f'when = "{when}"', 'severity = "warning"', ""]
    )
