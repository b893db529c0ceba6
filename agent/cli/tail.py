"""`agent tail`: subscribe, and show alerts as a person likes to read them."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson

from agent.cli import Commands, add_command
from agent.ops.alert_lines import AlertLine

_EXAMPLES = """  agent tail                                        everything on the broker of this computer
  agent tail --broker mqtt://broker.plant:1883 --site plant-1
  agent tail --json | jq .data.message"""
_REMIND_SECONDS = 60.0
_REMEMBERED = 10_000  # ids of the last events, to drop what comes twice


def register(commands: Commands) -> None:
    """Add the command."""
    command = add_command(commands, "tail", tail, _EXAMPLES)
    command.add_argument(
        "--broker", type=_broker, default="mqtt://127.0.0.1:1883", metavar="URL", help="default: %(default)s"
    )
    command.add_argument("--user", default="", help="name to log in with")
    command.add_argument("--password-file", type=Path, metavar="FILE", help="its first line is the password")
    command.add_argument("--ca", type=Path, metavar="FILE", help="authorities to trust, PEM, for mqtts://")
    command.add_argument("--certificate", type=Path, metavar="FILE", help="our own, PEM, if the broker wants one")
    command.add_argument("--key", type=Path, metavar="FILE", help="the key of --certificate, PEM")
    command.add_argument("--root", default="edge", help="first level of the topics (default: %(default)s)")
    command.add_argument("--site", default="+", help="alerts of this site only")
    command.add_argument("--machine", default="+", help="alerts of this machine only")
    command.add_argument("--open", action="store_true", help="first what is open now, then what changes")
    command.add_argument("--count", type=int, metavar="N", help="end after N events")
    command.add_argument("--json", action="store_true", help="events as JSON lines, as they are")


def tail(arguments: argparse.Namespace) -> int:
    """Show alerts until Ctrl-C."""
    asyncio.run(_tail(arguments))
    return 0


def _broker(text: str) -> str:
    url = urlsplit(text)
    if url.scheme not in ("mqtt", "mqtts", "kafka") or not url.hostname:
        raise argparse.ArgumentTypeError(
            f"{text}: write mqtt://HOST:PORT, mqtts://HOST:PORT or kafka://HOST:PORT/TOPIC"
        )
    return text


async def _tail(arguments: argparse.Namespace) -> None:
    from agent.subscriber import subscribe  # its import takes longer than those of all other commands
    from sensors.transport.tls import Tls

    options: dict[str, Any] = {
        "trouble": Trouble(),
        "user": arguments.user,
        "password_file": arguments.password_file,
    }
    tls = Tls(arguments.ca, arguments.certificate, arguments.key)
    if tls != Tls():
        options["tls"] = tls
    if not arguments.broker.startswith("kafka:"):
        options |= {"root": arguments.root, "site": arguments.site, "machine": arguments.machine}
        options["present"] = arguments.open
    printer = Printer(arguments.json, sys.stdout.isatty(), arguments.count)
    async with subscribe(arguments.broker, **options) as events:
        async for event in events:
            printer.show(orjson.dumps(event.body))
            if printer.done():
                return


@dataclass
class Trouble:
    """Says why nothing comes: once, and again when the reason is another or a minute is over."""

    last: str = ""
    said_at: float = 0.0

    def __call__(self, why: str) -> None:
        """Say it, unless it was said just now."""
        now = time.monotonic()
        if why != self.last or now - self.said_at >= _REMIND_SECONDS:
            self.last, self.said_at = why, now
            print(f"{why}; trying again", file=sys.stderr)  # noqa: T201


class Printer:
    """Prints each event once, one line each.

    Args:
        as_json: as it came instead of a line for a person.
        colour: for a terminal.
        count: how many to print; None = no end.
    """

    def __init__(self, as_json: bool = False, colour: bool = False, count: int | None = None) -> None:
        self._as_json, self._colour, self._left = as_json, colour, count
        self._seen: dict[object, None] = {}

    def done(self) -> bool:
        """Whether as many as wanted are printed."""
        return self._left is not None and self._left <= 0

    def show(self, body: bytes) -> None:
        """Print the event unless it came before; an empty body (the end of a retained state) says nothing."""
        if not body:
            return
        try:
            event = AlertLine.parse(body)
        except ValueError as error:
            print(f"not understood ({error})", file=sys.stderr)  # noqa: T201
            return
        if event.id in self._seen:
            return
        self._seen[event.id] = None
        if len(self._seen) > _REMEMBERED:
            del self._seen[next(iter(self._seen))]
        if self._left is not None:
            self._left -= 1
        line = body.decode() if self._as_json else event.line(self._colour, now=time.time_ns())
        print(line, flush=True)  # noqa: T201
