"""`agent generate voltage`: the tutorial's labelled data set as a file."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from agent.cli import Commands, HelpFormatter, add_command
from agent.offline.generate import write
from sensors.drivers.simulated.waveform import tutorial_dataset

_EXAMPLES = """  agent generate voltage -o dataset.csv --seed 1
  agent generate voltage -o long.npz --duration 3600 --anomaly-probability 0.0005"""


def register(commands: Commands) -> None:
    """Add the command."""
    command = add_command(commands, "generate", generate, _EXAMPLES, HelpFormatter)
    kinds = command.add_subparsers(dest="kind", required=True, metavar="KIND")
    voltage = kinds.add_parser(
        "voltage",
        help="mains voltage with drops (the voltage tutorial's data)",
        description="Mains voltage with drops at random: columns time, normal_wave, anomaly_wave, is_anomaly.",
        formatter_class=HelpFormatter,
        epilog=f"examples:\n{_EXAMPLES}",
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
    voltage.set_defaults(func=generate)


def generate(arguments: argparse.Namespace) -> int:
    """Write the data set that the arguments describe."""
    wrong = _wrong(arguments)
    if wrong:
        print(f"agent generate: {wrong}", file=sys.stderr)  # noqa: T201
        return 2
    data = tutorial_dataset(
        duration=arguments.duration,
        sampling_rate=arguments.sampling_rate,
        frequency=arguments.frequency,
        amplitude=arguments.amplitude,
        anomaly_probability=arguments.anomaly_probability,
        anomaly_duration=arguments.anomaly_duration,
        anomaly_drop=arguments.anomaly_drop,
        seed=arguments.seed,
    )
    try:
        write(data, arguments.output)
    except OSError as error:
        print(f"agent generate: cannot write {arguments.output}: {error.strerror or error}", file=sys.stderr)  # noqa: T201
        return 1
    drops = int(np.count_nonzero(np.diff(data.is_anomaly, prepend=0) == 1))
    print(f"{arguments.output}: {len(data.time)} samples, {drops} anomalies")  # noqa: T201
    return 0


def _wrong(arguments: argparse.Namespace) -> str:
    """What makes no sense in the arguments, or nothing."""
    for name in ("duration", "sampling_rate", "frequency", "amplitude", "anomaly_duration"):
        if getattr(arguments, name) <= 0:
            return f"--{name.replace('_', '-')} must be greater than 0, not {getattr(arguments, name)}"
    if not 0 <= arguments.anomaly_probability <= 1:
        return f"--anomaly-probability is a probability, 0 to 1, not {arguments.anomaly_probability}"
    if arguments.output.suffix not in (".csv", ".npz"):
        return f"{arguments.output}: the name of the file must end in .csv or .npz"
    return ""
