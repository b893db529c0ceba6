"""A check, and what is checked of parts of every kind."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from agent.settings.part_checks import hooks, problems_of
from agent.settings.trials import trial

S = TypeVar("S")


@dataclass(frozen=True)
class Check:
    """One property of a part, as a test: `check()` raises AssertionError saying what does not hold."""

    name: str
    run: Callable[[], None]

    def __call__(self) -> None:
        self.run()

    def __str__(self) -> str:
        return self.name


def bound(checks: Iterable[Callable[[S], Awaitable[None] | None]], subject: S) -> list[Check]:
    """The checks of one part, named as their functions; each has an event loop of its own where it waits."""

    def bind(check: Callable[[S], Awaitable[None] | None]) -> Callable[[], None]:
        async def main() -> None:
            waiting = check(subject)
            if waiting is not None:
                await waiting

        return (lambda: asyncio.run(main())) if inspect.iscoroutinefunction(check) else lambda: _run(check, subject)

    return [Check(check.__name__, bind(check)) for check in checks]


def _run(check: Callable[[S], Any], subject: S) -> None:
    check(subject)


def holds(condition: object, sentence: str) -> None:
    """Raise AssertionError with the sentence unless the condition is true; unlike `assert`, under `-O` too."""
    if not condition:
        raise AssertionError(sentence)


def keeps_the_protocol(kind: str, make: Callable[[], Any]) -> None:
    """It inherits the base of its kind, lacks nothing, and can be used for a moment."""
    part = make()
    for problem in problems_of(kind, type(part)) or hooks(kind, part) or trial(kind, part):
        raise AssertionError(f"{type(part).__name__} {problem}")


def is_documented(make: Callable[[], Any]) -> None:
    """Its docstring says what it is, and what each field means."""
    part = make()
    text = "\n".join(vars(cls).get("__doc__") or "" for cls in type(part).__mro__)
    holds(vars(type(part)).get("__doc__"), f"{type(part).__name__} has no docstring")
    for item in dataclasses.fields(part):
        if item.init:
            name = item.name.rstrip("_")
            explained = re.search(rf"^\s*(\w+, )*{name}_?(, \w+)*:|`{name}`", text, re.MULTILINE)
            holds(explained, f"{type(part).__name__}.{item.name} is not explained under `Attributes:`")
