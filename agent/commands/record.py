"""`agent record`: keep what the sources say."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import sys
from pathlib import Path

from agent.app import Looking
from agent.commands import Commands, add_command, add_config, parts_of
from sensors.units import Duration

_EXAMPLES = """  agent record -c config/serial.toml -o monday.rec
  agent record -c config/serial.toml -o short.rec --duration 10m"""


def register(commands: Commands) -> None:
    """Add the command."""
    command = add_command(
        commands, "record", record, "Read the sources of a configuration and keep it all in a file.", _EXAMPLES
    )
    add_config(command)
    command.add_argument("-o", "--output", type=Path, required=True, metavar="RECORDING")
    command.add_argument("--duration", type=Duration, metavar="TIME", help="stop by itself, e.g. 10m")
