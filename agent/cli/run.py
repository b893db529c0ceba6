"""`agent run`: the service."""

from __future__ import annotations

import argparse
import asyncio
import faulthandler
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
from sensors.drivers.recording import Recorder, RecordingError

log = logging.getLogger(__name__)

_EXAMPLES = """  agent run -c /etc/edge-agent/agent.toml
  agent run -c config/temperature.toml --set agent.state=/tmp/state --record run.rec
  AGENT_SOURCE__LINE__PORT=/dev/ttyUSB1 agent run -c config/serial.toml"""


def register(commands: Commands) -> None:
    """Add the command."""
    command = add_command(commands, "run", run, _EXAMPLES)
    add_config(command)
    command.add_argument("--record", type=Path, metavar="FILE", help="record all that is read, for `agent replay`")


def run(arguments: argparse.Namespace) -> int:
    """Run until stopped."""
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
        log.error("%s; two agents need two state directories", error)
        return 1
    except (
        RecordingError
    ) as error:  # opening or closing it; while it runs, the recording ends and the agent goes on
        log.error("%s", error)
        return 1
    finally:
        end_in_peace()
    return 0


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
