"""`agent --simulate`: what somebody runs who wants to see it work."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

from agent.app import App
from agent.broker import embedded_broker
from agent.commands import add_config, number_or_max
from agent.compose import compose
from agent.service import log_to_stderr
from agent.settings import Settings, load
from sensors.units import Duration

PRESET = Path(__file__).parent.parent / "presets" / "simulate.toml"


def add_arguments(top: argparse.ArgumentParser) -> None:
    """The options of `agent` without a command."""
    group = top.add_argument_group("simulation")
    group.add_argument("--simulate", action="store_true", help="simulate machines and show the alerts they cause")
    group.add_argument("--duration", type=Duration, metavar="TIME", help="simulated time after which it ends, e.g. 30s")
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
    try:
        asyncio.run(_simulate(arguments, live))
    except KeyboardInterrupt:
        return 130
    return 0


async def _simulate(arguments: argparse.Namespace, live: bool) -> None:
    from agent.terminal import Lines, Live

    settings = _settings(arguments)
    async with AsyncExitStack() as stack:
        if not settings.sink:
            port = await stack.enter_async_context(embedded_broker())
            settings.sink["broker"] = {"type": "mqtt", "url": f"mqtt://127.0.0.1:{port}", "protocol": "3.1.1"}
        state = stack.enter_context(tempfile.TemporaryDirectory(prefix="edge-agent-"))
        settings.agent.state = Path(state)
        parts = compose(settings)
        app = App(parts)
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        view = Live(app) if live else Lines(app, as_json=arguments.json)
        app.lookers.append(view)
        async with view:
            await app.run(stop)


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
