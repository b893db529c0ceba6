"""Keys of an earlier release: taken for one more, with a warning that names what to write now."""

from __future__ import annotations

from collections.abc import Mapping

RENAMED: Mapping[str, Mapping[str, str]] = {
    "window": {"tell_late": "emit_late"},
    "detector": {"rest": "refractory"},
    "source": {"waiting": "max_queued"},
}
"""Kind of part -> former key -> its name now."""

_IDENTITY = "[agent] says that for all sinks; leave it out, the next release will refuse it"
RETIRED: Mapping[str, Mapping[str, str]] = {"sink": {"site": _IDENTITY, "agent": _IDENTITY}}
"""Kind of part -> key without a successor -> what to do about it."""


def advice(path: str, former: str, now: str) -> str:
    """The warning for a renamed key."""
    return f"{path}.{former}: is now called {now}; the next release will refuse the former name"


def as_before(table: object) -> object:
    """A table with its former keys, also within: a saved state fits whichever of two names a configuration uses."""
    if isinstance(table, Mapping):
        former = {now: then for kind in RENAMED.values() for then, now in kind.items()}
        return {former.get(key, key): as_before(value) for key, value in table.items()}
    return [as_before(item) for item in table] if isinstance(table, list) else table
