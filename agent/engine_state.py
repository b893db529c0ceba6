"""What an engine remembers, and how it goes on from it: whole, as a dict, or part by part and series by series."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Collection, Mapping
from typing import Any, Protocol

from agent.core.series import Stateful, Tracked
from agent.core.whole import Whole, divisible
from agent.incidents import Desk
from agent.keys import KeyTable
from agent.rows import Operator, State
from agent.rules import Rule

UNFIT = (KeyError, TypeError, ValueError, OverflowError, AttributeError, IndexError)
"""What reading a state raises that was saved by another version, or is damaged."""


class SavedParts(Protocol):
    """State that was saved part by part."""

    @property
    def names(self) -> Collection[str]:
        """Of the parts in it."""

    def restore(self, name: str, tracked: Tracked, most: int = ...) -> None:
        """Bring a part that is as new to where it was; it may have `most` rows of state.

        Raises:
            Exception: one of `UNFIT`; it is of another configuration, or damaged.
        """


class Step(Operator, Protocol):
    """A window or detector as the engine sees it."""

    on: str
    by: tuple[str, ...]


class EngineState:
    """The memory of an engine.

    Attributes:
        steps, rules: by name.
        tables: the series of each grouping.
        desk: the books of all incidents.
        now: engine time, ns.
    """

    steps: dict[str, Step]
    rules: dict[str, Rule]
    tables: dict[tuple[str, ...], KeyTable]
    desk: Desk
    now: int
    _table_of: dict[str, KeyTable]
    _steps_total: int  # sum of the clock steps so far, ns
    _swept: int

    def _track(self, name: str, part: Any) -> None:
        """What changes a series of the part is told to the table; rows that are handed over, by the engine."""
        if isinstance(part, Stateful):
            part.track(self._table_of[name].changes)

    def snapshot(self) -> State:
        """Everything remembered; `restore` in an engine of the same configuration goes on exactly here."""
        return self.common() | {
            "tables": [{"by": list(by), "keys": table.snapshot()} for by, table in self.tables.items()],
            "steps": {name: step.snapshot() for name, step in self.steps.items()},
            "rules": {name: rule.snapshot() for name, rule in self.rules.items()},
        }

    def common(self) -> State:
        """What is remembered but not by series; plain JSON."""
        return {
            "now": self.now,
            "steps_total": self._steps_total,
            "swept": self._swept,
            "desk": self.desk.snapshot(),
        }

    def tracked(self) -> dict[str, Tracked]:
        """What is remembered by series, to be saved as far as it changes: key tables and parts, by name."""
        found: dict[str, Tracked] = {}
        for by, table in self.tables.items():
            found[_named("names", by)], found[_named("seen", by)] = table.tracked()
        for kind, parts in (("step", self.steps), ("rule", self.rules)):
            for name, part in parts.items():
                found[f"{kind}.{name}"] = self._tracked(name, part)
        return found

    def _tracked(self, name: str, part: Any) -> Tracked:
        return Tracked(part if divisible(part) else Whole(part), self._table_of[name].changes)

    def resume(self, common: State, saved: SavedParts, only: Mapping[str, bool] | None = None) -> dict[str, str]:
        """Go on from what `common` and `tracked` gave when it was saved; else as `restore`."""
        self._restore_clock(common)
        for by, table in self.tables.items():
            if _named("names", by) in saved.names:
                names, seen = table.tracked()
                saved.restore(_named("names", by), names)
                saved.restore(_named("seen", by), seen, len(table))

        def restored(kind: str, name: str, part: Any) -> None:
            saved.restore(f"{kind}.{name}", self._tracked(name, part), 2 * len(self._table_of[name]) + 1024)

        unfit = self._restore_parts(only, lambda kind, name: f"{kind}.{name}" in saved.names, restored)
        self.desk.restore(common["desk"])
        return unfit

    def restore(self, state: State, only: Mapping[str, bool] | None = None) -> dict[str, str]:
        """Go on from `state`. A part that its saved state does not fit stays as it is, the others go on.

        Args:
            state: of an engine with the same groupings.
            only: name of a part -> whether its state still fits its configuration; None restores all.

        Returns:
            Name of each part whose state did not fit -> why.

        Raises:
            KeyError, TypeError, ValueError: what is not of one part does not fit; the engine is of no use then.
        """
        self._restore_clock(state)
        for saved in state["tables"]:
            table = self.tables.get(tuple(saved["by"]))
            if table is not None:
                table.restore(saved["keys"])
        kept = {"step": state["steps"], "rule": state["rules"]}
        unfit = self._restore_parts(
            only, lambda kind, name: name in kept[kind], lambda kind, name, part: part.restore(kept[kind][name])
        )
        self.desk.restore(state["desk"])
        return unfit

    def _restore_clock(self, state: State) -> None:
        self.now, self._steps_total = int(state["now"]), int(state["steps_total"])
        self._swept = int(state["swept"])

    def _restore_parts(
        self,
        only: Mapping[str, bool] | None,
        saved: Callable[[str, str], bool],
        restore: Callable[[str, str, Any], None],
    ) -> dict[str, str]:
        """Restore each part of which there is something; why those did not fit that did not."""
        unfit: dict[str, str] = {}
        made: Any
        for kind, made in (("step", self.steps), ("rule", self.rules)):
            for name, part in made.items():
                if saved(kind, name) and (only is None or only.get(name, False)):
                    try:
                        fresh = copy.deepcopy(part)  # one that fails half-way must not be left half restored
                        self._track(name, fresh)
                        restore(kind, name, fresh)
                    except UNFIT as error:
                        unfit[name] = repr(error)
                    else:
                        made[name] = fresh
        return unfit


def _named(what: str, by: tuple[str, ...]) -> str:
    """Name of what a key table remembers."""
    return f"{what} {json.dumps(by)}"
