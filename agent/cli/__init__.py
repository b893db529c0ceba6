"""The commands: each module registers one and calls the part that does the work."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agent.settings.build import Pipeline, build_pipeline
from agent.settings.settings import load

Commands = Any
"""What `ArgumentParser.add_subparsers` returns."""


def add_command(
    commands: Commands, name: str, func: Callable[[argparse.Namespace], int], text: str, examples: str
) -> argparse.ArgumentParser:
    """A command with its help: first line, description and examples."""
    command: argparse.ArgumentParser = commands.add_parser(
        name,
        help=text,
        description=text,
        epilog=f"examples:\n{examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
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
    return build_pipeline(load(arguments.config, arguments.overrides))


def number_or_max(text: str) -> float:
    """A speed: a factor above zero, or `max`."""
    if text == "max":
        return float("inf")
    speed = float(text)
    if not speed > 0:
        raise argparse.ArgumentTypeError(f"{text}: a speed is above zero, or max")
    return speed
