"""Commands as they come from a broker: JSON, checked, each applied once.

    {"id": "0f1c7c0a", "machine": "press-1", "rule": "overheating", "for": "2h", "note": "maintenance",
     "time": "2026-11-22T09:00:00Z"}

The verb is the last level of the topic. Only `id` must be there. What is malformed, too long, older than `oldest` or
has been applied before is counted and passed over; a well-formed command that makes no sense gets a reply.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson

from agent.alerts.commands import Command, command_batch
from sensors.batch import Batch
from sensors.codecs import Codec
from sensors.source import Counters
from sensors.units import SECOND, Duration

MOST_BYTES = 16 * 1024
_REMEMBERED = 10_000
_LENGTHS = {"id": 64, "machine": 1024, "rule": 256, "signal": 256, "note": 1000, "for": 32, "time": 40}


class CommandError(ValueError):
    """Why a message is no command."""


@dataclass
class CommandCodec(Codec):
    """Messages of `cmd/<verb>` to batches of commands.

    Attributes:
        oldest: a command whose `time` is older, or further ahead, is not applied.
    """

    oldest: Duration = Duration("60s")
    counters: Counters = field(default_factory=Counters)

    def __post_init__(self) -> None:
        self._seen: dict[tuple[str, str], None] = {}

    def feed(self, data: bytes, read_at: int) -> Batch | None:
        """Commands are messages, not a stream."""
        return self.decode([data], read_at, machines=[""])

    def decode(
        self,
        frames: list[bytes],
        read_at: int,
        times: Sequence[int] | None = None,
        machines: list[str] | None = None,
    ) -> Batch | None:
        """The commands among the messages; `machines` are the last levels of their topics, the verbs."""
        commands = []
        for frame, verb in zip(frames, machines or [""] * len(frames), strict=True):
            try:
                command = self._command(frame, verb, read_at)
            except CommandError as error:
                self.counters.frames_bad += 1
                self.counters.last_error = f"command {verb[:40]!r} refused: {error}"
                continue
            self.counters.frames_ok += 1
            commands.append(command)
        self.counters.rows += len(commands)
        return command_batch(commands, read_at) if commands else None

    def _command(self, frame: bytes, verb: str, read_at: int) -> Command:
        if len(frame) > MOST_BYTES:
            raise CommandError(f"{len(frame)} bytes; at most {MOST_BYTES}")
        try:
            given = orjson.loads(frame)
        except orjson.JSONDecodeError as error:
            raise CommandError(f"no JSON: {error}") from error
        if not isinstance(given, dict):
            raise CommandError("no JSON object")
        for name, value in given.items():
            if name not in _LENGTHS:
                raise CommandError(f"unknown field {name[:40]!r}; known: {', '.join(_LENGTHS)}")
            if not isinstance(value, str) or len(value) > _LENGTHS[name]:
                raise CommandError(f"{name} is no text of at most {_LENGTHS[name]} characters")
        if not given.get("id"):
            raise CommandError("id is missing")
        if "time" in given and abs(read_at - _nanoseconds(given["time"])) > self.oldest:
            raise CommandError(f"its time {given['time']} is not within {self.oldest} of now")
        command = Command(verb=verb, seconds=_seconds(given.pop("for", None)), **_without(given, "time"))
        self._once(verb, command.id)  # last: one that was refused may come again, put right
        return command

    def _once(self, verb: str, identifier: str) -> None:
        if (verb, identifier) in self._seen:
            raise CommandError(f"{identifier} was applied before")
        self._seen[verb, identifier] = None
        if len(self._seen) > _REMEMBERED:
            del self._seen[next(iter(self._seen))]


def _seconds(text: str | None) -> float:
    try:
        return 0.0 if text is None else Duration(text).seconds
    except ValueError as error:
        raise CommandError(str(error)) from error


def _nanoseconds(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise CommandError(f"time {text!r} is not RFC 3339") from error
    return int(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() * SECOND)


def _without(given: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in given.items() if key != name}
