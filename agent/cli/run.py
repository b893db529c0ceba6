"""`agent run`: the service."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import faulthandler
import itertools
import logging
import os
import signal
from dataclasses import dataclass
from pathlib import Path

from agent.cli import Commands, add_command, add_config, pipeline_of
from agent.ops.logging import log_to_stderr
from agent.ops.memory import tune_garbage_collector
from agent.ops.observers import Observation, WhenFull
from agent.ops.systemd import Notifier, end_in_peace, feed_watchdog
from agent.runtime.app import App
from agent.runtime.data_watch import config_warnings
from agent.settings.build import Pipeline
from agent.settings.registry import ConfigError
from agent.settings.settings import unknown_variables
from agent.storage.database import DatabaseInUseError
from sensors.drivers.file import FileSource
from sensors.drivers.recording import Recorder, RecordingError
from sensors.source import Source

log = logging.getLogger(__name__)

UNREADABLE = 65
"""Exit code where no line of a file could be read: EX_DATAERR of sysexits.h."""
FIRST_LINES = 1000

_EXAMPLES = """  agent run -c /etc/edge-agent/agent.toml
  agent run -c config/temperature.toml --set agent.state=/tmp/state --record run.rec
  AGENT_SOURCE__LINE__PORT=/dev/ttyUSB1 agent run -c config/serial.toml"""


def register(commands: Commands) -> None:
    """Add the command."""
    command = add_command(commands, "run", run, _EXAMPLES)
    add_config(command)
    command.add_argument("--record", type=Path, metavar="FILE", help="record all that is read, for `agent replay`")


def run(arguments: argparse.Namespace) -> int:
    """Run until stopped; the exit code says so where a file could not be read at all."""
    pipeline = pipeline_of(arguments)
    log_to_stderr(pipeline.settings.agent.log.upper())
    faulthandler.enable()
    for problem in unknown_variables(os.environ):
        log.warning("environment: %s", problem)
    for warning in config_warnings(pipeline):
        log.warning("configuration: %s", warning)
    tune_garbage_collector()
    try:
        asyncio.run(serve(pipeline, arguments))
    except DatabaseInUseError as error:
        log.error("%s: is this agent running already? Two cannot share the directory [agent] state", error)
        return 1
    except RecordingError as error:  # opening or closing; while it runs, the recording ends and the agent goes on
        log.error("%s", error)
        return 1
    finally:
        end_in_peace()
    refused = [sentence for name, source in pipeline.sources.items() if (sentence := _all_refused(name, source))]
    for sentence in refused:
        log.error("%s", sentence)
    return UNREADABLE if refused else 0


def _all_refused(name: str, source: Source) -> str:
    """What is wrong with a file of which no line could be read, and what to do; empty for all others."""
    counters = source.counters
    if not isinstance(source, FileSource) or counters.rows or not counters.frames_bad:
        return ""
    return (
        f"source {name}: none of the {counters.frames_bad} lines of {source.path} could be read; "
        f"{_first_refused(source) or counters.last_error}. Set source.{name}.codec to what the file has, see "
        "docs/sensors.md"
    )


def _first_refused(source: FileSource) -> str:
    """Number of the first line that is refused, and why; empty if it is none of the first."""
    codec = dataclasses.replace(source.codec)  # type: ignore[type-var] # codecs are dataclasses
    try:
        with source.path.open("rb") as file:
            for number, line in enumerate(itertools.islice(file, FIRST_LINES), 1):
                codec.feed(line, 0)
                if codec.counters.frames_bad:
                    return f"line {number}: {codec.counters.last_error}"
    except OSError:
        pass
    return ""


async def serve(pipeline: Pipeline, arguments: argparse.Namespace) -> None:
    """The app with what a service needs: signals, notifications, watchdog."""
    notifier = Notifier.from_environment()
    app = App(pipeline, ready=lambda: notifier.ready(f"watching {len(pipeline.sources)} sources"))
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _stop, stop, notifier)
    loop.add_signal_handler(signal.SIGHUP, _reload, arguments, notifier)
    feeding = asyncio.create_task(feed_watchdog(notifier, app.progress, app.status))
    try:
        if arguments.record is not None:
            with Recorder(arguments.record) as recorder:
                app.observers.add("recording", Recording(recorder), WhenFull.END)
                await app.run(stop)
        else:
            await app.run(stop)
    finally:
        feeding.cancel()


@dataclass(frozen=True, slots=True)
class Recording:
    """Hands each batch, as it was decided on, to the recorder. An observer."""

    recorder: Recorder

    def update(self, observation: Observation) -> None:
        """Keep the batch."""
        self.recorder.write(observation.batch)


def _stop(stop: asyncio.Event, notifier: Notifier) -> None:
    notifier.stopping()
    stop.set()


def _reload(arguments: argparse.Namespace, notifier: Notifier) -> None:
    """Read the configuration again and say whether it is right; a change takes effect at the next start."""
    notifier.reloading()
    try:
        pipeline_of(arguments)
    except ConfigError as error:
        for problem in error.problems:
            log.error("configuration: %s", problem)
        log.error("configuration refused; going on with the one before")
    else:
        log.info("configuration is right; what changed takes effect at the next start")
    notifier.ready()
