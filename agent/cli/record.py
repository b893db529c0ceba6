"""`agent record`: keep what the sources say."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import sys
from pathlib import Path

from agent.cli import Commands, add_command, add_config, pipeline_of
from agent.ops.logging import log_to_stderr
from agent.runtime.source_loop import SourceLoop
from agent.settings.instance import client_name
from sensors.batch import Batch
from sensors.units import Duration

_EXAMPLES = """  agent record -c config/serial.toml -o monday.rec
  agent record -c config/serial.toml -o short.rec --duration 10m"""


def register(commands: Commands) -> None:
    """Add the command."""
    command = add_command(commands, "record", record, _EXAMPLES)
    add_config(command)
    command.add_argument("-o", "--output", type=Path, required=True, metavar="RECORDING")
    command.add_argument("--duration", type=Duration, metavar="TIME", help="stop by itself, e.g. 10m")


def record(arguments: argparse.Namespace) -> int:
    """Record until stopped."""
    from sensors.drivers.recording import RecordingError

    log_to_stderr("INFO")
    kept, problems = "", list[Exception]()
    try:
        kept = asyncio.run(_record(arguments))
    except* RecordingError as group:
        problems += group.exceptions
    if problems:
        print(f"agent: {_first(problems[0])}", file=sys.stderr)  # noqa: T201
        return 1
    print(f"{arguments.output}: {kept}", file=sys.stderr)  # noqa: T201
    return 0


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def _record(arguments: argparse.Namespace) -> str:
    """How much was kept, and what could not be read."""
    from sensors.drivers.recording import Recorder

    pipeline = pipeline_of(arguments)
    agent = pipeline.settings.agent
    for name, source in pipeline.sources.items():  # it may run beside the agent, which must keep its sessions
        source.known_as(client_name(agent.site, agent.name, f"{name}-record", agent.state))
    rows = 0
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    with Recorder(arguments.output) as recorder:

        async def keep(batch: Batch) -> None:
            nonlocal rows
            rows += len(batch)
            recorder.write(batch)

        loop = asyncio.create_task(SourceLoop(pipeline.sources, keep, pipeline.settings.agent.tick.seconds).run())
        stopping = asyncio.create_task(stop.wait())
        limit = None if arguments.duration is None else arguments.duration.seconds
        await asyncio.wait([loop, stopping], timeout=limit, return_when=asyncio.FIRST_COMPLETED)
        for task in (loop, stopping):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
    faults = {name: source.counters.faults() for name, source in pipeline.sources.items()}
    return "; ".join([f"{rows} readings", *(f"{name}: {fault}" for name, fault in faults.items() if fault)])
