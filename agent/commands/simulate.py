"""`agent --simulate`: what somebody runs who wants to see it work."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import urlsplit

from agent.commands import add_config, number_or_max
from agent.compose import compose
from agent.engine import Decisions, Engine
from agent.ops.alert_lines import LinePrinter
from agent.ops.logging import log_to_stderr
from agent.ops.memory import tune_garbage_collector
from agent.runtime.app import App
from agent.runtime.demo_broker import embedded_broker
from agent.runtime.messages import encode
from agent.settings import Settings, load
from sensors.batch import Batch
from sensors.units import Duration

PRESET = Path(__file__).parent.parent / "presets" / "simulate.toml"


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
    settings = _settings(arguments)
    async with AsyncExitStack() as stack:
        if not settings.sink:
            port = await stack.enter_async_context(embedded_broker())
            settings.sink["broker"] = {"type": "mqtt", "url": f"mqtt://127.0.0.1:{port}", "protocol": "3.1.1"}
        settings.agent.state = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="edge-agent-")))
        app = App(compose(settings))
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        async with asyncio.TaskGroup() as tasks:
            showing = tasks.create_task(_show(arguments, live, app, _subscribe_line(settings)))
            await asyncio.sleep(0)
            await app.run(stop)
            await asyncio.sleep(0)
            showing.cancel()


async def _show(arguments: argparse.Namespace, live: bool, app: App, subscribe: str) -> None:
    """Show what is decided until cancelled."""
    if live:
        from agent.ops.live_view import LiveView  # rich: only where there is a terminal

        view = LiveView("agent --simulate", subscribe, counters=app.counters)
        app.lookers.append(view)
        await view.run()
        return
    lines = JsonLines() if arguments.json else LinePrinter(colour=sys.stdout.isatty())
    app.lookers.append(lines)
    if subscribe and not arguments.json:
        print(f"alerts from outside:  {subscribe}", flush=True)  # noqa: T201
    try:
        while True:
            await asyncio.sleep(0.1)
            _print(lines.take())
    finally:
        _print(lines.take())


def _print(lines: list[str]) -> None:
    if lines:
        print("\n".join(lines), flush=True)  # noqa: T201


class JsonLines:
    """The alerts as JSON lines, as subscribers get them."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def update(self, engine: Engine, batch: Batch, decisions: Decisions) -> None:
        """Note what was decided on the batch."""
        for message in encode(decisions, engine, engine.identity, metrics=False):
            if message.kind in ("alert", "raw"):
                self._lines.append(message.body.decode())

    def take(self) -> list[str]:
        """The lines since the last call."""
        lines, self._lines = self._lines, []
        return lines


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
    settings = load(arguments.config or PRESET, arguments.overrides)
    if arguments.config is None:
        settings.agent.site, settings.agent.name = "demo", "simulator"
    chosen = {"speed": arguments.speed, "seed": arguments.seed}
    if arguments.duration is not None:
        chosen["duration"] = str(arguments.duration)
    for table in settings.source.values():
        table |= {key: value for key, value in chosen.items() if value is not None}
    return settings
