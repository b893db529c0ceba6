"""`agent sensors`: which ports and drivers there are."""

from __future__ import annotations

import argparse
import json

from agent.cli import Commands, add_command
from agent.settings.registry import Registry

_EXAMPLES = """  agent sensors list
  agent sensors list --json | jq -r '.ports[].by_id'"""


def register(commands: Commands) -> None:
    """Add the command."""
    command = add_command(commands, "sensors", show, _EXAMPLES)
    command.add_argument(
        "what", choices=["list"], help="list ports by the name that survives a replug, and drivers"
    )
    command.add_argument("--json", action="store_true", help="print one JSON object")


def show(arguments: argparse.Namespace) -> int:
    """List them."""
    from sensors.drivers.serial import ports

    found, registry = ports(), Registry()
    drivers, codecs = registry.names("source"), registry.names("codec")
    if arguments.json:
        listed = [
            {"device": p.device, "by_id": p.by_id, "by_path": p.by_path, "text": p.text, "use": p.advice}
            for p in found
        ]
        print(json.dumps({"ports": listed, "drivers": drivers, "codecs": codecs}))  # noqa: T201
        return 0
    for port in found:
        print(f"{port.advice}  {port.device}  {port.text}")  # noqa: T201
    if not found:
        print("no serial port found")  # noqa: T201
    print(f"drivers: {', '.join(drivers)}\ncodecs: {', '.join(codecs)}")  # noqa: T201
    return 0
