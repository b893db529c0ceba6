"""Commands of operators to the agent: acknowledge an incident, silence a machine or rule for a while.

Commands come as batches of the source `commands`, one row each, so that a recording holds them and a replay applies
them. Columns: the machine and the texts `verb`, `rule`, `signal`, `id`, `note`; the number `seconds`. Machine, rule
and signal are patterns (`*`, `?`, `[...]`); one that is missing matches all.

A silence changes nothing that is decided: alerts go out with the flag `silenced`, so that a notifier can
hold it back, and the history stays whole. When it ends, incidents that still fire are sent again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from agent.alerts.alert import Label, machine_of
from agent.core.keys import Name
from agent.core.series import State, entries
from sensors.batch import Batch, Text
from sensors.units import SECOND

COMMANDS = "commands"
"""Name of the source whose batches are commands."""
SELF = "self"
"""Name of the source whose batches are about the agent itself; only rules with `on = "self"` read them."""
SELF_RULES = {
    "agent_disk": {
        "on": SELF,
        "when": "disk_failing >= 1",
        "signal": "disk",
        "severity": "critical",
    }
}
"""Rules of every agent; a table `[rule.agent_disk]` in the configuration replaces the one of its name."""
VERBS = ("ack", "silence", "unsilence")
MOST_SILENCES = 1000
MOST_SECONDS = 366 * 86400.0


@dataclass(frozen=True, slots=True)
class Command:
    """One row of a batch of commands."""

    verb: str
    id: str
    machine: str = "*"
    rule: str = "*"
    signal: str = "*"
    seconds: float = 0.0
    note: str = ""

    def wrong(self) -> str:
        """What is wrong with it; empty if nothing is."""
        if self.verb not in VERBS:
            return f"unknown verb {self.verb!r}; known: {', '.join(VERBS)}"
        if not self.id:
            return "id is missing"
        if self.verb == "silence" and not 0 < self.seconds <= MOST_SECONDS:
            return f"a silence of {self.seconds} s; it lasts more than 0 s and at most a year"
        return ""


@dataclass(frozen=True, slots=True)
class Silence:
    """Alerts that match are flagged until a time. `until` is engine time, ns."""

    id: str
    machine: str
    rule: str
    signal: str
    until: int
    note: str = ""

    def covers(self, label: Label, series: Name) -> bool:
        """Whether an alert of this rule and series is meant."""
        return matches(self, label, series)


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of a command: `count` incidents or silences were touched; `error` says why nothing was done."""

    id: str
    verb: str
    count: int
    error: str = ""


@dataclass(slots=True)
class Silences:
    """The silences in force, by id; a new one of the same id replaces the old one."""

    by_id: dict[str, Silence] = field(default_factory=dict)

    def add(self, command: Command, now: int) -> str:
        """Begin a silence; returns why not, if not."""
        if command.id not in self.by_id and len(self.by_id) >= MOST_SILENCES:
            return f"there are {MOST_SILENCES} silences; end one first"
        until = now + round(command.seconds * SECOND)
        self.by_id[command.id] = Silence(
            command.id, command.machine, command.rule, command.signal, until, command.note
        )
        return ""

    def ended(self, now: int) -> list[Silence]:
        """Take out those whose time is over."""
        over = [silence for silence in self.by_id.values() if silence.until <= now]
        for silence in over:
            del self.by_id[silence.id]
        return over

    def covers(self, label: Label, series: Name) -> bool:
        """Whether one of them covers an alert of this rule and series."""
        return any(silence.covers(label, series) for silence in self.by_id.values())

    def snapshot(self) -> State:
        return {"silences": [asdict(silence) for silence in self.by_id.values()]}

    def merge(self, state: State) -> None:
        """Those of another engine are in force here, too; of two with one id the one here stays."""
        self.by_id = _by_id(state) | self.by_id

    def restore(self, state: State) -> None:
        self.by_id = _by_id(state)


def _by_id(state: State) -> dict[str, Silence]:
    """The silences in a state.

    Raises:
        KeyError, TypeError, ValueError: there are none in it.
    """
    silences = [Silence(**entries(saved)) for saved in state["silences"]]
    for silence in silences:
        texts = (silence.id, silence.machine, silence.rule, silence.signal, silence.note)
        if not all(isinstance(text, str) for text in texts) or not isinstance(silence.until, int):
            raise ValueError(f"no silence: {silence!r}"[:200])
    return {silence.id: silence for silence in silences}


def commands_of(batch: Batch) -> Iterator[Command]:
    """The rows of a batch of commands."""
    columns: dict[str, list[Any]] = {name: text.tolist() for name, text in batch.texts.items()}
    seconds = batch.values.get("seconds")
    for row in range(len(batch)):
        given = {name: columns[name][row] for name in ("verb", "id", "rule", "signal", "note") if name in columns}
        texts = {name: text for name, text in given.items() if text is not None}
        machine = batch.machines[batch.machine[row]] or "*"
        lasts = 0.0 if seconds is None or seconds[row] != seconds[row] else float(seconds[row])
        yield Command(**{"verb": "", "id": "", **texts}, machine=machine, seconds=lasts)


def matches(pattern: Command | Silence, label: Label, series: Name) -> bool:
    """Whether the patterns mean this rule and series."""
    return (
        fnmatchcase(label.rule, pattern.rule)
        and fnmatchcase(label.signal, pattern.signal)
        and fnmatchcase(machine_of(label.by, series), pattern.machine)
    )


def command_batch(commands: Iterable[Command], now: int) -> Batch:
    """The batch of these commands."""
    rows = list(commands)
    machines = tuple(dict.fromkeys(row.machine for row in rows))
    texts = {}
    for name in ("verb", "id", "rule", "signal", "note"):
        column = [str(fields[name]) for fields in map(asdict, rows)]
        words = tuple(dict.fromkeys(column))
        texts[name] = Text(words, np.array([words.index(word) for word in column], np.int32))
    return Batch(
        machines=machines,
        machine=np.array([machines.index(row.machine) for row in rows], np.int32),
        time=np.full(len(rows), now, np.int64),
        values={"seconds": np.array([row.seconds for row in rows], np.float64)},
        read_at=now,
        texts=texts,
        source=COMMANDS,
    )
