"""What is wrong with a configuration; apart, so that the command line can catch it before it imports anything else."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

DEEPEST = 50
TOO_DEEP = f"tables and lists are nested deeper than {DEEPEST}"
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def check_shape(tables: Mapping[str, Any]) -> None:
    """Whether the tables are such as people write.

    Raises:
        ValueError: nested too deep, or a name holds control characters, which would go into topics and logs.
    """
    level: list[tuple[str, Any]] = [("", tables)]
    for _ in range(DEEPEST):
        inside: list[tuple[str, Any]] = []
        for path, value in level:
            if isinstance(value, Mapping):
                for key, item in value.items():
                    if _CONTROL.search(key) or "\n" in key:
                        raise ValueError(f"{path}{key!r}: a name has no control characters")
                    inside.append((f"{path}{key}.", item))
            elif isinstance(value, list):
                inside += [(path, item) for item in value]
        level = inside
        if not level:
            return
    raise ValueError(TOO_DEEP)


def printable(text: str) -> str:
    """The text without what would steer the terminal that shows it."""
    return _CONTROL.sub(lambda found: repr(found[0])[1:-1], text)


class ConfigError(Exception):
    """What is wrong with a configuration, one sentence a problem, each with its key path."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = [printable(problem) for problem in problems]
        super().__init__("\n".join(self.problems))
