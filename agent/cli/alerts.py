"""`agent alerts`: what is open on a broker; acknowledge it, silence it for a while."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import uuid
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from agent.cli import Commands, add_command
from agent.ops.alert_lines import SECOND, AlertLine
from sensors.transport.tls import Tls, read_secret
from sensors.units import Duration

_EXAMPLES = """  agent alerts list
  agent alerts list "press-*" --rule "over*" --agent plant-1/gateway-1
  agent alerts ack press-1 --note "Ana looks into it"
  agent alerts silence press-1 --rule "overheating" --for 2h --note "maintenance"
  agent alerts unsilence 0f1c7c0a
  agent alerts list --json | jq -r .data.message"""
_TIME = "%Y-%m-%d %H:%M:%S"
QUIET_SECONDS = 0.5  # so long without a retained message means that all have come
REPLY_SECONDS = 5.0


def register(commands: Commands) -> None:
    """Add the command."""
    command = add_command(commands, "alerts", run, _EXAMPLES)
    command.add_argument(
        "verb", nargs="?", default="list", choices=["list", "ack", "silence", "unsilence"], help="default: list"
    )
    command.add_argument(
        "target", nargs="?", default="*", help="machine (pattern); of unsilence the id of the silence"
    )
    command.add_argument("--rule", default="*", help="rule (pattern), default: all")
    command.add_argument("--for", dest="lasts", type=Duration, metavar="TIME", help="of a silence, e.g. 2h")
    command.add_argument("--note", default="", help="why, for whoever reads the event")
    command.add_argument("--agent", type=_agent, metavar="SITE/NAME", help="of list, default: all; else "
                         "the only one on the broker")  # fmt: skip
    command.add_argument(
        "--broker",
        type=_broker,
        default="mqtt://127.0.0.1:1883",
        metavar="URL",
        help="mqtt:// or mqtts://, default: %(default)s",
    )
    command.add_argument("--user", default="", help="name to log in with")
    command.add_argument("--password-file", type=Path, metavar="FILE", help="its first line is the password")
    command.add_argument("--ca", type=Path, metavar="FILE", help="authorities to trust, PEM, for mqtts://")
    command.add_argument("--certificate", type=Path, metavar="FILE", help="our own, PEM, if the broker wants one")
    command.add_argument("--key", type=Path, metavar="FILE", help="the key of --certificate, PEM")
    command.add_argument("--root", default="edge", help="first level of the topics (default: %(default)s)")
    command.add_argument("--json", action="store_true", help="JSON lines")


def _broker(text: str) -> str:
    url = urlsplit(text)
    if url.scheme not in ("mqtt", "mqtts") or not url.hostname:
        raise argparse.ArgumentTypeError(f"{text}: write mqtt://HOST:PORT or mqtts://HOST:PORT")
    return text


def _agent(text: str) -> str:
    site, _, name = text.partition("/")
    if not site or not name or "/" in name or "+" in text or "#" in text:
        raise argparse.ArgumentTypeError(f"{text}: write SITE/NAME, such as plant-1/gateway-1")
    return text


def run(arguments: argparse.Namespace) -> int:
    """List, or send a command and wait for the reply."""
    if arguments.verb == "silence" and arguments.lasts is None:
        print("agent: a silence ends: add --for, e.g. --for 2h", file=sys.stderr)  # noqa: T201
        return 2
    try:
        return asyncio.run(_run(arguments))
    except (TimeoutError, LookupError, OSError) as error:
        print(f"agent: {error}", file=sys.stderr)  # noqa: T201
        return 1


@dataclass(slots=True)
class Broker:
    """A connection for one command."""

    client: Any
    root: str

    async def retained(self, topic: str) -> list[tuple[str, bytes]]:
        """What is retained under a topic filter: each topic once, and none beside it, whatever a small broker sends."""
        await self.client.subscribe(topic, qos=1)
        found: dict[str, bytes] = {}
        messages = self.client.messages
        while True:
            try:
                message = await asyncio.wait_for(anext(messages), QUIET_SECONDS)
            except TimeoutError:
                await self.client.unsubscribe(topic)
                return list(found.items())
            if message.retain and message.payload and message.topic.matches(topic):
                found[str(message.topic)] = bytes(message.payload)

    async def request(self, base: str, verb: str, command: dict[str, Any]) -> dict[str, Any]:
        """Send a command and wait for its reply.

        Raises:
            TimeoutError: the agent did not answer.
        """
        await self.client.subscribe(f"{base}/cmd/{verb}/result", qos=1)
        await self.client.publish(f"{base}/cmd/{verb}", json.dumps(command), qos=1)
        try:
            async with asyncio.timeout(REPLY_SECONDS):
                async for message in self.client.messages:
                    reply: dict[str, Any] = json.loads(message.payload)
                    if reply.get("id") == command["id"]:
                        return reply
        except TimeoutError:
            pass
        raise TimeoutError(f"{base} did not answer within {REPLY_SECONDS:g} s; is the agent connected?")


async def _run(arguments: argparse.Namespace) -> int:
    import aiomqtt  # its import takes longer than those of all other commands

    url = urlsplit(arguments.broker)
    tls = url.scheme == "mqtts"
    options: dict[str, Any] = {"port": url.port or (8883 if tls else 1883), "timeout": 5}
    if tls:
        options["tls_context"] = Tls(arguments.ca, arguments.certificate, arguments.key).context()
    if arguments.user:
        options["username"] = arguments.user
        options["password"] = read_secret(arguments.password_file) if arguments.password_file else None
    try:
        async with aiomqtt.Client(url.hostname or "127.0.0.1", **options) as client:
            broker = Broker(client, arguments.root)
            if arguments.verb == "list":
                return await _list(broker, arguments)
            return await _send(broker, arguments)
    except aiomqtt.MqttError as error:
        raise OSError(f"{arguments.broker}: {error}") from error


@dataclass(frozen=True, slots=True)
class AgentStatus:
    """What an agent, or its will, last told a broker of itself.

    Attributes:
        name: SITE/NAME.
        state: `online`, `offline`, or `unknown` where it told nothing.
        since: local date and time at which it connected; empty = not known.
        reason: why it is offline.
    """

    name: str
    state: str = "unknown"
    since: str = ""
    reason: str = ""

    @classmethod
    def parse(cls, topic: str, body: bytes) -> AgentStatus:
        """From the retained message of its topic."""
        name = "/".join(topic.split("/")[-3:-1])
        try:
            told = json.loads(body)
            return cls(name, str(told["state"]), _local(str(told.get("since", ""))), str(told.get("reason", "")))
        except (ValueError, TypeError, KeyError):
            return cls(name)

    def sentence(self) -> str:
        """That it is away, and what that means; empty while it is there."""
        if self.state == "online":
            return ""
        if self.state != "offline":
            return f"agent {self.name}: whether it runs is not known; it has told this broker nothing of itself"
        why = [self.reason.replace("_", " "), f"it had connected at {self.since}" if self.since else ""]
        known = "; ".join(filter(None, why))
        return f"agent {self.name} is offline{f' ({known})' if known else ''}: what it has told may be out of date"


def _local(text: str) -> str:
    """A time of an event as local date and time; the text itself if it is none."""
    try:
        return datetime.fromisoformat(text).astimezone().strftime(_TIME)
    except ValueError:
        return text


async def _list(broker: Broker, arguments: argparse.Namespace) -> int:
    base = f"{broker.root}/v1/{arguments.agent or '+/+'}"
    found = sorted(await broker.retained(f"{base}/+/alert/+"))
    # after them: an agent reports that it is there before it sends an alert
    known = [AgentStatus.parse(*one) for one in await broker.retained(f"{base}/status")]
    agents = {one.name: one for one in known}
    if arguments.agent and not agents and not found:
        told = await broker.retained(f"{broker.root}/v1/+/+/status")
        names = ", ".join(sorted(AgentStatus.parse(*one).name for one in told)) or "none"
        raise LookupError(f"no agent {arguments.agent} has told this broker of itself; those that have: {names}")
    shown = 0
    for topic, body in found:
        name = "/".join(topic.split("/")[-5:-3])
        agent = agents.setdefault(name, AgentStatus(name))
        try:
            line, event = AlertLine.parse(body), json.loads(body)
            machine = str(event["data"].get("machine", line.machine))
        except (ValueError, AttributeError) as error:
            print(f"not an alert: {error}", file=sys.stderr)  # noqa: T201
            continue
        if not (fnmatchcase(machine, arguments.target) and fnmatchcase(line.rule, arguments.rule)):
            continue
        shown += 1
        if arguments.json:
            print(json.dumps(event | {"agent": name, "agentstate": agent.state}, ensure_ascii=False))  # noqa: T201
        else:
            print(_text(line, agent, several=not arguments.agent and len(agents) > 1))  # noqa: T201
    if not arguments.json:
        if not shown:
            print("no open alert")  # noqa: T201
        for sentence in filter(None, (agent.sentence() for agent in agents.values())):
            print(sentence)  # noqa: T201
    return 0


def _text(line: AlertLine, agent: AgentStatus, several: bool) -> str:
    """An open alert on one line: date and time, severity, change, rule, what it is, and whose."""
    when = datetime.fromtimestamp(line.time // SECOND).astimezone().strftime(_TIME)
    whose = f"  ({agent.name}{'' if agent.state == 'online' else ' ' + agent.state})" if several else ""
    away = "" if several or agent.state == "online" else f"  (agent {agent.state})"
    return line.open_line(when, colour=sys.stdout.isatty()) + (whose or away)


async def _send(broker: Broker, arguments: argparse.Namespace) -> int:
    base = f"{broker.root}/v1/{arguments.agent}" if arguments.agent else await _only_agent(broker)
    verb = arguments.verb
    command: dict[str, Any] = {"id": uuid.uuid4().hex[:8], "note": arguments.note}
    if verb == "unsilence":
        command["id"] = arguments.target
    else:
        command |= {"machine": arguments.target, "rule": arguments.rule}
    if verb == "silence":
        command["for"] = str(arguments.lasts)
    reply = await broker.request(base, verb, command)
    if arguments.json:
        print(json.dumps(reply))  # noqa: T201
    elif reply.get("ok"):
        what = {"ack": "incidents acknowledged", "silence": "silence", "unsilence": "silence ended"}[verb]
        print(f"{reply.get('count')} {what}; id {reply.get('id')}")  # noqa: T201
    else:
        print(f"agent: refused: {reply.get('error')}", file=sys.stderr)  # noqa: T201
    return 0 if reply.get("ok") else 1


async def _only_agent(broker: Broker) -> str:
    """Topic base of the one agent of the broker.

    Raises:
        LookupError: there is none, or there are several.
    """
    found = await broker.retained(f"{broker.root}/v1/+/+/status")
    bases = sorted(topic.removesuffix("/status") for topic, _ in found)
    if len(bases) != 1:
        if not bases:
            raise LookupError(
                f"no agent has told this broker of itself under {broker.root}/v1; see --broker and --root"
            )
        names = ", ".join("/".join(base.split("/")[-2:]) for base in bases)
        raise LookupError(f"which agent? add --agent SITE/NAME; on this broker: {names}")
    return bases[0]
