"""`agent rules`: what can be done with a rule set besides running it."""

from __future__ import annotations

import argparse

from agent.cli import Commands, add_command, add_config, pipeline_of
from agent.offline.flink.script import to_flink

_EXAMPLES = """  agent rules to-flink -c config/orders-kafka.toml > rules.sql
  agent rules to-flink -c config/orders-kafka.toml | grep '^--'     what has no SQL equivalent"""


def register(commands: Commands) -> None:
    """Add the command."""
    command = add_command(commands, "rules", show, _EXAMPLES)
    command.add_argument("action", choices=["to-flink"], help="to-flink: print Flink SQL")
    add_config(command)


def show(arguments: argparse.Namespace) -> int:
    """Print the SQL."""
    print(to_flink(pipeline_of(arguments)), end="")  # noqa: T201
    return 0
