"""The commands: a module each, of the same name, which registers it and calls the part that does the work.

A module is imported for its own command only: help has to come at once.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from agent.settings.build import Pipeline

Commands = Any
"""What `ArgumentParser.add_subparsers` returns."""

T = TypeVar("T")

COMMANDS: Mapping[str, str] = {
    "run": "Run the agent as a service until SIGTERM or SIGINT.",
    "check": "Check a configuration; exit code 78 and one line a problem if it is wrong.",
    "replay": "Run a recording through the rules; print the alerts as JSON lines.",
    "record": "Read the sources of a configuration and keep it all in a file.",
    "sensors": "Show serial ports, drivers and codecs.",
    "tail": "Subscribe to a broker and show alerts as they come.",
    "alerts": "Show open alerts; acknowledge or silence them.",
    "rules": "Write the rule set for another system: to-flink prints Flink SQL and says what has no equivalent there.",
    "generate": "Make a labelled data set.",
    "calibrate": "Find a threshold on labelled data.",
    "detect": "Score the windows of a recorded wave.",
    "evaluate": "Score a detector on labelled recordings.",
}
"""Name of each command -> what it does."""


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Text as it is written; a default is shown unless it is nothing or off."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default is None or action.default is False or action.default == "":
            return action.help
        return super()._get_help_string(action)


def add_command(
    commands: Commands,
    name: str,
    func: Callable[[argparse.Namespace], int],
    examples: str,
    formatter: type[argparse.HelpFormatter] = argparse.RawDescriptionHelpFormatter,
) -> argparse.ArgumentParser:
    """A command with its help: first line, description and examples."""
    command: argparse.ArgumentParser = commands.add_parser(
        name,
        help=COMMANDS[name],
        description=COMMANDS[name],
        epilog=f"examples:\n{examples}",
        formatter_class=formatter,
    )
    command.set_defaults(func=func)
    return command


def add_config(command: Any, required: bool = True) -> None:
    """The options of every command that reads a configuration, for a parser or a group of one."""
    command.add_argument(
        "-c", "--config", type=Path, required=required, metavar="FILE", help="configuration (TOML)"
    )
    command.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="overrides",
        help="override one key, e.g. source.line.port=/dev/ttyUSB0; stands above file and environment",
    )


def pipeline_of(arguments: argparse.Namespace) -> Pipeline:
    """The objects of the configuration that the arguments name."""
    from agent.settings.build import build_pipeline  # slow to import
    from agent.settings.settings import load

    return build_pipeline(load(arguments.config, arguments.overrides))


def options_of(options: type[T], arguments: argparse.Namespace) -> T:
    """The options of a piece of work, a dataclass, from the arguments of the same names."""
    names = {item.name for item in dataclasses.fields(options)}  # type: ignore[arg-type]  # a dataclass
    return options(**{name: value for name, value in vars(arguments).items() if name in names})


def complain(command: str, error: Exception) -> int:
    """Print what is wrong with the files or options of a command; returns the exit code for it."""
    why = f"cannot use {error.filename}: {error.strerror}" if isinstance(error, OSError) else error
    print(f"agent {command}: {why}", file=sys.stderr)  # noqa: T201
    return 2


def number_or_max(text: str) -> float:
    """A speed: a factor above zero, or `max`."""
    if text == "max":
        return float("inf")
    speed = float(text)
    if not speed > 0:
        raise argparse.ArgumentTypeError(f"{text}: a speed is above zero, or max")
    return speed
