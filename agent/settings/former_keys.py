"""Keys of an earlier release: taken for one more, with a warning that names what to write now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

RENAMED: Mapping[str, Mapping[str, str]] = {
    "window": {"tell_late": "emit_late"},
    "detector": {"rest": "refractory"},
    "source": {"waiting": "max_queued"},
}
"""Kind of part -> former key -> its name now."""

RENAMED_SETTINGS: Mapping[str, Mapping[str, str]] = {
    "agent": {"ahead": "max_future", "drain": "drain_timeout"},
    "outbox": {"late": "replay_after"},
}
"""Table of the agent's own settings -> former key -> its name now."""

_IDENTITY = "[agent] says that for all sinks; leave it out, the next release will refuse it"
RETIRED: Mapping[str, Mapping[str, str]] = {"sink": {"site": _IDENTITY, "agent": _IDENTITY}}
"""Kind of part -> key without a successor -> what to do about it."""


def advice(path: str, former: str, now: str) -> str:
    """The warning for a renamed key."""
    return f"{path}.{former}: is now called {now}; the next release will refuse the former name"


def both(path: str, former: str, now: str) -> str:
    """What is wrong where a table has a key under either name."""
    return f"{path}.{former}: is now called {now}, which is there, too; leave out {former}"


def translated(tables: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """One layer of settings with the names of now, and a warning for each former one.

    Raises:
        ValueError: a key is there under both names.
    """
    translation, warnings = dict(tables), []
    for table, renamed in RENAMED_SETTINGS.items():
        values = translation.get(table)
        if not isinstance(values, Mapping):
            continue
        translation[table] = values = dict(values)
        for former, now in renamed.items():
            if former not in values:
                continue
            if now in values:
                raise ValueError(both(table, former, now))
            values[now] = values.pop(former)
            warnings.append(advice(table, former, now))
    return translation, warnings


def as_before(table: object) -> object:
    """A table with its former keys, also within: a saved state fits whichever of two names a configuration uses."""
    if isinstance(table, Mapping):
        former = {now: then for kind in RENAMED.values() for then, now in kind.items()}
        return {former.get(key, key): as_before(value) for key, value in table.items()}
    return [as_before(item) for item in table] if isinstance(table, list) else table
