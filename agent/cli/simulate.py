"""`agent --simulate`: what somebody runs who wants to see it work."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from agent.cli import add_config, number_or_max
from agent.ops.logging import log_to_stderr
from agent.ops.memory import tune_garbage_collector
from sensors.units import Duration

if TYPE_CHECKING:  # slow to import, and every command has these options
    from agent.ops.observers import Observation
    from agent.runtime.app import App
    from agent.settings.settings import Settings

PRESET = Path(__file__).parents[1] / "settings" / "presets" / "simulate.toml"


def add_arguments(top: argparse.ArgumentParser) -> None:
    """The options of `agent` without a command."""
    group = top.add_argument_group("simulation")
    group.add_argument("--simulate", action="store_true", help="simulate machines and show the alerts they cause")
    group.add_argument(
        "--duration", type=Duration, metavar="TIME", help="simulated time after which it ends, e.g. 30s"
    )
    group.add_argument("--speed", type=number_or_max, default=1.0, metavar="N|max", help="N times faster than time")
    group.add_argument("--seed", type=int, metavar="N", help="of the random numbers (default: as configured)")
    group.add_argument("--no-tui", action="store_true", help="one line an event instead of the live view")
    group.add_argument("--json", action="store_true", help="events as JSON lines")
    add_config(group, required=False)
    top.set_defaults(func=simulate, parser=top)


def simulate(arguments: argparse.Namespace) -> int:
    """Run the simulation until it ends or Ctrl-C."""
    if not arguments.simulate:
        arguments.parser.print_help()
        return 2
    live = sys.stdout.isatty() and not arguments.no_tui and not arguments.json
    log_to_stderr("ERROR" if live else "WARNING")
    tune_garbage_collector()
    try:
        asyncio.run(_simulate(arguments, live))
    except KeyboardInterrupt:
        return 130
    return 0


async def _simulate(arguments: argparse.Namespace, live: bool) -> None:
    from agent.runtime.app import App
    from agent.runtime.demo_broker import embedded_broker
    from agent.settings.build import build_pipeline

    settings = _settings(arguments)
    async with AsyncExitStack() as stack:
        if not settings.sink:
            port = await stack.enter_async_context(embedded_broker())
            settings.sink["broker"] = {"type": "mqtt", "url": f"mqtt://127.0.0.1:{port}", "protocol": "3.1.1"}
        settings.agent.state = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="edge-agent-")))
        app = App(build_pipeline(settings))
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        subscribe = _subscribe_line(settings)
        if live:
            await _run_with_view(app, stop, subscribe)
        else:
            await _run_with_lines(app, stop, "" if arguments.json else subscribe, as_json=arguments.json)


async def _run_with_view(app: App, stop: asyncio.Event, subscribe: str) -> None:
    from agent.ops.live_view import LiveView  # rich: only where there is a terminal

    view = LiveView("agent --simulate", subscribe, counters=app.counters)
    app.observers.add("live view", view)
    async with asyncio.TaskGroup() as tasks:
        showing = tasks.create_task(view.run())
        await app.run(stop)
        await asyncio.sleep(0)
        showing.cancel()


async def _run_with_lines(app: App, stop: asyncio.Event, subscribe: str, as_json: bool) -> None:
    from agent.ops.alert_lines import LinePrinter, alert_lines, json_lines
    from agent.ops.observers import WhenFull

    def people(observation: Observation) -> Iterator[str]:
        return (line.line(colour) for line in alert_lines(observation))

    colour, loop = sys.stdout.isatty(), asyncio.get_running_loop()
    printer = LinePrinter(json_lines if as_json else people, lambda: loop.call_soon_threadsafe(stop.set))
    app.observers.add("lines", printer, WhenFull.WAIT)
    if subscribe:
        print(f"alerts from outside:  {subscribe}", flush=True)  # noqa: T201
    await app.run(stop)
    if printer.error is not None:
        raise printer.error


def _subscribe_line(settings: Settings) -> str:
    """The command that shows the alerts from outside."""
    for table in settings.sink.values():
        if table.get("type") == "mqtt":
            url = urlsplit(str(table.get("url", "")))
            root = table.get("root", "edge")
            topic = f"{root}/v1/{settings.agent.site}/{settings.agent.name}/+/event/alert"
            return f"mosquitto_sub -h {url.hostname} -p {url.port or 1883} -v -t '{topic}'"
    return ""


def _settings(arguments: argparse.Namespace) -> Settings:
    """The configuration with the options put into each simulated source."""
    from agent.settings.settings import load

    settings = load(arguments.config or PRESET, arguments.overrides)
    if arguments.config is None:
        settings.agent.site, settings.agent.name = "demo", "simulator"
    chosen = {"speed": arguments.speed, "seed": arguments.seed}
    if arguments.duration is not None:
        chosen["duration"] = str(arguments.duration)
    for table in settings.source.values():
        table |= {key: value for key, value in chosen.items() if value is not None}
    return settings
