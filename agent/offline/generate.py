"""`agent generate voltage`: the tutorial's labelled data set as a file."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from agent.offline.help_text import HelpFormatter
from sensors.drivers.simulated.waveform import Dataset, tutorial_dataset

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

COLUMNS = ("time", "normal_wave", "anomaly_wave", "is_anomaly")


_EXAMPLES = """examples:
  agent generate voltage -o dataset.csv --seed 1
  agent generate voltage -o long.npz --duration 3600 --anomaly-probability 0.0005"""


def register(commands: Commands) -> None:
    """Add the command to the command line."""
    generate = commands.add_parser(
        "generate",
        help="Make a labelled data set.",
        description=__doc__,
        epilog=_EXAMPLES,
        formatter_class=HelpFormatter,
    )
    kinds = generate.add_subparsers(dest="kind", required=True, metavar="KIND")
    voltage = kinds.add_parser(
        "voltage",
        help="mains voltage with drops (the voltage tutorial's data)",
        description="Mains voltage with drops at random: columns time, normal_wave, anomaly_wave, is_anomaly.",
        formatter_class=HelpFormatter,
        epilog=_EXAMPLES,
    )
    voltage.add_argument("-o", "--output", type=Path, default=Path("dataset.csv"), help=".csv or .npz")
    voltage.add_argument("--duration", type=float, default=100.0, help="seconds")
    voltage.add_argument("--sampling-rate", type=int, default=1000, help="samples a second")
    voltage.add_argument("--frequency", type=float, default=50.0, help="Hz")
    voltage.add_argument("--amplitude", type=float, default=230.0, help="RMS, V")
    voltage.add_argument("--anomaly-probability", type=float, default=0.00009, help="that a sample begins a drop")
    voltage.add_argument("--anomaly-duration", type=int, default=100, help="samples")
    voltage.add_argument("--anomaly-drop", type=float, default=0.2, help="factor of the voltage in a drop")
    voltage.add_argument("--seed", type=int, default=None, help="as np.random.seed before the tutorial's code")
    voltage.set_defaults(func=generate_voltage)


def generate_voltage(args: argparse.Namespace) -> int:
    """Write the data set that the arguments describe."""
    wrong = _wrong(args)
    if wrong:
        sys.stderr.write(f"agent generate: {wrong}\n")
        return 2
    data = tutorial_dataset(
        duration=args.duration,
        sampling_rate=args.sampling_rate,
        frequency=args.frequency,
        amplitude=args.amplitude,
        anomaly_probability=args.anomaly_probability,
        anomaly_duration=args.anomaly_duration,
        anomaly_drop=args.anomaly_drop,
        seed=args.seed,
    )
    try:
        write(data, args.output)
    except OSError as error:
        sys.stderr.write(f"agent generate: cannot write {args.output}: {error.strerror or error}\n")
        return 1
    drops = int(np.count_nonzero(np.diff(data.is_anomaly, prepend=0) == 1))
    sys.stdout.write(f"{args.output}: {len(data.time)} samples, {drops} anomalies\n")
    return 0


def write(data: Dataset, path: Path) -> None:
    """Write the columns to `.npz` or CSV; the numbers in a CSV read back to the same bits."""
    columns = [np.asarray(getattr(data, name)) for name in COLUMNS]
    if path.suffix == ".npz":
        np.savez_compressed(path, **dict(zip(COLUMNS, columns, strict=True)))  # type: ignore[arg-type]  # names are ours
        return
    with path.open("w", encoding="ascii", newline="\n") as file:
        file.write(",".join(COLUMNS) + "\n")
        for row in zip(*(column.tolist() for column in columns), strict=True):
            file.write(",".join(map(repr, row)) + "\n")


def _wrong(args: argparse.Namespace) -> str:
    """What makes no sense in the arguments, or nothing."""
    for name in ("duration", "sampling_rate", "frequency", "amplitude", "anomaly_duration"):
        if getattr(args, name) <= 0:
            return f"--{name.replace('_', '-')} must be greater than 0, not {getattr(args, name)}"
    if not 0 <= args.anomaly_probability <= 1:
        return f"--anomaly-probability is a probability, 0 to 1, not {args.anomaly_probability}"
    if args.output.suffix not in (".csv", ".npz"):
        return f"{args.output}: the name of the file must end in .csv or .npz"
    return ""
