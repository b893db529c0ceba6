"""`agent calibrate FILE...`: find the threshold of a detector, and say how well it will do."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from agent.cli import Commands, HelpFormatter, add_command, complain, options_of
from agent.cli.evaluate import add_columns
from agent.offline.calibrate import calibrate as report_of
from agent.offline.calibration_data import CalibrationOptions
from agent.settings.registry import ConfigError

_EXAMPLES = """  agent calibrate dataset.csv --method tutorial
  agent calibrate dataset.csv --false-alarms 0.001 --toml detector.toml
  agent calibrate monday.csv tuesday.csv --reference good.npz    several long waves; what is normal from another
  agent calibrate waves.npz                                      many windows: waves (k, n), kind (k,), truth (k,), fs
  agent calibrate pump.csv --detector ewma --metric pressure     any detector, any metric, with a column label
  agent calibrate pump.csv -c agent.toml --detector drift        the table [detector.drift] of a configuration"""


def register(commands: Commands) -> None:
    """Add the command."""
    command = add_command(commands, "calibrate", calibrate, _EXAMPLES, HelpFormatter)
    command.add_argument(
        "files", nargs="+", type=Path, metavar="FILE", help="CSV or NPZ with a wave (time, normal_wave, anomaly_wave, "
        "is_anomaly, kind), many windows, or any metric with a label",
    )  # fmt: skip
    command.add_argument("--method", choices=("quantile", "tutorial"), default="quantile",
                        help="quantile: for a wanted rate of false alarms; tutorial: mean + 0.1 std")  # fmt: skip
    command.add_argument(
        "--detector", default="mains", help="of method quantile: type of the detector; with -c its name"
    )
    command.add_argument(
        "-c", "--config", type=Path, help="TOML whose [detector.NAME] is calibrated, with what it reads"
    )
    command.add_argument(
        "--false-alarms", type=float, default=0.01, help="wanted share of normal windows that alarm"
    )
    command.add_argument("--metric", default="", help="column of the wave or metric")
    command.add_argument("--reference", type=Path, default=None, help="file of normal waves to learn from")
    wave = command.add_argument_group("waves")
    wave.add_argument("--window", type=int, default=0, help="samples in a window; 0 = 1000, or those of the file")
    wave.add_argument("--hop", type=int, default=0, help="samples between windows; 0 = a tenth of the window")
    wave.add_argument("--bins", type=int, default=50, help="bins of a histogram")
    wave.add_argument("--deviations", type=float, default=0.1, help="of method tutorial")
    wave.add_argument("--nominal", type=float, default=0.0, help="frequency of the sine, Hz; 0 = find it")
    wave.add_argument("--sampling-rate", type=float, default=0.0, help="samples a second; 0 = by the times")
    wave.add_argument(
        "--level-tolerance", type=float, default=0.1, help="share of the voltage that is normal anyway"
    )
    wave.add_argument("--frequency-tolerance", type=float, default=0.004, help="share of the frequency, likewise")
    metric = command.add_argument_group("other metrics; the time of waves, too")
    add_columns(metric)
    metric.add_argument(
        "--metrics", default="", help="columns of a detector of several, comma-separated; default: all"
    )
    metric.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="keys", help="further keys of the detector"
    )
    command.add_argument("--plot", type=Path, default=None, help="PNG to write; default FILE_calibration.png")
    command.add_argument(
        "--model", type=Path, default=None, help="where to keep what is normal; default FILE_model.json"
    )
    command.add_argument("--toml", type=Path, default=None, help="write the configuration there, too")
    command.add_argument("--json", action="store_true", help="print one JSON object")


def calibrate(arguments: argparse.Namespace) -> int:
    """Calibrate as the arguments say, print the result, draw the picture."""
    try:
        report = report_of(options_of(CalibrationOptions, arguments), _warn)
        if arguments.toml is not None:
            arguments.toml.write_text(str(report["toml"]), encoding="utf-8")
    except (ConfigError, ValueError, OSError) as error:
        return complain("calibrate", error)
    lines = report.pop("lines")
    if arguments.json:
        print(json.dumps(report))  # noqa: T201
    else:
        print("\n".join([*lines, "", report["toml"]]), end="")  # noqa: T201
    return 0


def _warn(text: str) -> None:
    print(f"agent calibrate: {text}", file=sys.stderr)  # noqa: T201
