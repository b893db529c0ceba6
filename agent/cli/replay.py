"""`agent replay`: the alerts that a recording raises."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import sys
from pathlib import Path

from agent.cli import Commands, add_command, add_config, number_or_max, pipeline_of
from agent.offline.progress import Meter
from agent.runtime.messages import encode
from sensors.source import SourceError

_EXAMPLES = """  agent replay monday.rec -c config/temperature.toml            alerts as JSON lines
  agent replay monday.rec -c config/temperature.toml --speed 60 | jq .data.message"""


def register(commands: Commands) -> None:
    """Add the command."""
    command = add_command(commands, "replay", replay, _EXAMPLES)
    command.add_argument("recording", type=Path, metavar="RECORDING")
    command.add_argument("--speed", type=number_or_max, default=float("inf"), metavar="N|max", help="default: max")
    add_config(command)


def replay(arguments: argparse.Namespace) -> int:
    """Print each alert of the recording as it was, or would have been, sent."""
    path: Path = arguments.recording
    meter = Meter("replaying", path.stat().st_size if path.is_file() else 0, shown=not sys.stdout.isatty())
    try:
        asyncio.run(_replay(arguments, meter))
    except SourceError as error:
        print(f"agent: {error}", file=sys.stderr)  # noqa: T201
        return 1
    finally:
        meter.close()
    return 0


async def _replay(arguments: argparse.Namespace, meter: Meter) -> None:
    from sensors.drivers.recording import RecordingSource

    pipeline = pipeline_of(arguments)
    engine = pipeline.engine()
    out = sys.stdout.buffer
    async with RecordingSource(arguments.recording, speed=arguments.speed) as source:
        async for batch in source:
            decisions = engine.process(dataclasses.replace(batch))
            for message in encode(decisions, engine, pipeline.identity, metrics=False):
                if message.kind in ("alert", "raw"):
                    out.write(message.body + b"\n")
            out.flush()
            meter.update(source.counters.bytes_read)
