"""What an engine remembers: saved whole, or taken out by series and put into another engine."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Protocol

import numpy as np

from agent.core.keys import KeyTable, Name
from agent.core.operator import EnginePart, Operator
from agent.core.series import State, Stateful, Tracked, entries
from agent.engine.incidents import IncidentBook
from agent.rules import Rule
from sensors.batch import Ints

UNFIT = (KeyError, TypeError, ValueError, OverflowError)
"""What reading a state raises that was saved by another version, or is damaged; anything else is a bug."""


By = tuple[str, ...]


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


class EngineState:
    """Windows, detectors, rules, the names of their series and the incidents; `Engine` decides with it.

    Attributes:
        steps, rules: windows and detectors, and rules, by name.
        tables: names of series to rows of state, by grouping.
        incidents: all of them, and the silences.
        now: engine time, ns: host time without the steps of the clock.
    """

    steps: dict[str, Operator]
    rules: dict[str, Rule]
    tables: dict[By, KeyTable]
    incidents: IncidentBook
    now: int
    _table_of: dict[str, KeyTable]
    _steps_total: int  # sum of the clock steps so far, ns
    _swept: int

    def series(self, name: str) -> KeyTable:
        """The key table of a step or rule, to turn its keys into names."""
        return self._table_of[name]

    def series_of(self, machines: Collection[str]) -> dict[By, list[Name]]:
        """All series of these machines by grouping, for `extract` and `evict`; a grouping without machine has none."""
        return {
            by: [name for name in table.names if name is not None and name[by.index("machine")] in machines]
            for by, table in self.tables.items()
            if "machine" in by
        }

    def evict(self, series: Mapping[By, Iterable[Name]]) -> None:
        """Evict these series by grouping, with their incidents: another engine goes on with them."""
        for by, names in series.items():
            rows = self.tables[by].rows(names)
            self._evict(self.tables[by], rows)
            self.tables[by].evict(rows)
        self.incidents.find_offline()

    def snapshot(self) -> State:
        """Everything remembered; `restore` in an engine of the same configuration goes on exactly here."""
        return self._saved(self.tables, lambda part, _: part.snapshot())

    def extract(self, series: Mapping[By, Iterable[Name]]) -> State:
        """What is remembered of some series, for `merge` in another engine, which goes on with them as this one would.

        It stays here, too, until they are evicted. Silences are not of one series: all are in it.

        Args:
            series: names by grouping; those that are not known are passed over.
        """
        rows = {by: self.tables[by].rows(names) for by, names in series.items()}
        return self._saved(rows, lambda part, by: part.extract(rows[by]))

    def _saved(self, groupings: Iterable[By], of: Callable[[Stateful, By], State]) -> State:
        wanted = set(groupings)

        def parts(made: Mapping[str, EnginePart]) -> State:
            by = {name: self._table_of[name].by for name in made}
            return {name: of(part, by[name]) for name, part in made.items() if by[name] in wanted}

        return self.common() | {
            "tables": [{"by": list(by), "keys": of(self.tables[by], by)} for by in self.tables if by in wanted],
            "steps": parts(self.steps),
            "rules": parts(self.rules),
        }

    def common(self) -> State:
        """What is remembered but not by series; plain JSON."""
        return {
            "now": self.now,
            "steps_total": self._steps_total,
            "swept": self._swept,
            "desk": self.incidents.snapshot(),
        }

    def tracked(self) -> dict[str, Tracked]:
        """What is remembered by series, to be saved as far as it changes: key tables and parts, by name."""
        found: dict[str, Tracked] = {}
        for by, table in self.tables.items():
            found[_named("names", by)], found[_named("seen", by)] = table.tracked()
        for name in (*self.steps, *self.rules):
            found[self._saved_name(name)] = Tracked(self._part(name), self._table_of[name].changes)
        return found

    def _saved_name(self, name: str) -> str:
        return f"{'step' if name in self.steps else 'rule'}.{name}"

    def resume(self, common: State, saved: SavedParts, only: Mapping[str, bool] | None = None) -> dict[str, str]:
        """Go on, as new, from what `common` and `tracked` gave when they were saved; else as `restore`."""
        self._restore_clock(common)
        for by, table in self.tables.items():
            if _named("names", by) in saved.names:
                names, seen = table.tracked()
                saved.restore(_named("names", by), names)
                saved.restore(_named("seen", by), seen, len(table))
        unfit: dict[str, str] = {}
        for name in (*self.steps, *self.rules):
            kept, table = self._saved_name(name), self._table_of[name]
            if kept in saved.names and (only is None or only.get(name, False)):
                part = self._part(name)
                fresh = part.snapshot()
                try:  # arrays may be longer than there are series
                    saved.restore(kept, Tracked(part, table.changes), 2 * len(table) + 1024)
                    part.evict(table.nameless(part.series))
                except UNFIT as error:
                    unfit[name] = repr(error)
                    part.restore(fresh)  # one that fails half-way must not be left half restored
        self.incidents.restore(common["desk"])
        return unfit

    def _restore_clock(self, state: State) -> None:
        self.now, self._steps_total = int(entries(state)["now"]), int(state["steps_total"])
        self._swept = int(state["swept"])

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
        for saved in map(entries, state["tables"]):
            table = self.tables.get(tuple(saved["by"]))
            if table is not None:
                table.restore(saved["keys"])
        unfit: dict[str, str] = {}
        for name, part, kept in self._fitting(state, only):
            before = part.snapshot()
            try:
                part.restore(kept)
                part.evict(self._table_of[name].nameless(part.series))
            except UNFIT as error:
                unfit[name] = repr(error)
                part.restore(before)  # one that fails half-way must not be left half restored
        self.incidents.restore(state["desk"])
        return unfit

    def merge(self, state: State, only: Mapping[str, bool] | None = None) -> dict[str, str]:
        """Go on with the series in `state`, too; one that is known here is replaced.

        Args:
            state: from `extract` of an engine by the same clock.
            only: as of `restore`.

        Returns:
            Name of each part whose state did not fit -> why; to it the series are new.

        Raises:
            KeyError, TypeError, ValueError: `state` is of no use, or has more series than there is room for; nothing
                was changed then.
        """
        tables = [(self.tables[by], t["keys"]) for t in state["tables"] if (by := tuple(t["by"])) in self.tables]
        rows = {table.by: table.room([tuple(name) for name in keys["names"]]) for table, keys in tables}
        if not self.now:
            self._steps_total = int(state["steps_total"])
        self.now, self._swept = max(self.now, int(state["now"])), max(self._swept, int(state["swept"]))
        for table, keys in tables:
            self._evict(table, rows[table.by])
            table.merge(rows[table.by], keys)
        unfit: dict[str, str] = {}
        for name, part, kept in self._fitting(state, only):
            try:
                part.merge(rows[self._table_of[name].by], kept)
            except UNFIT as error:
                unfit[name] = repr(error)
                part.evict(rows[self._table_of[name].by])
        self.incidents.merge(state["desk"])
        return unfit

    def _fitting(self, state: State, only: Mapping[str, bool] | None) -> Iterator[tuple[str, EnginePart, State]]:
        """Name, part and what was saved of it."""
        saved = {**entries(state["steps"]), **entries(state["rules"])}
        for name in (*self.steps, *self.rules):
            if name in saved and (only is None or only.get(name, False)):
                yield name, self._part(name), saved[name]

    def _evict_idle(self, idle: int | None) -> None:
        """Evict series not seen for `idle`, but no open incident; looked at each quarter of it."""
        if idle is None or self.now - self._swept < idle // 4:
            return
        self._swept = self.now
        for table in self.tables.values():
            rows = np.setdiff1d(table.idle(self.now - idle), self._firing(table))
            if len(rows):
                self._evict(table, rows)
                table.evict(rows)

    def _evict(self, table: KeyTable, rows: Ints) -> None:
        """The series of these rows are new to every part."""
        table.touch(rows)
        for name, owner in self._table_of.items():
            if owner is table:
                self._part(name).evict(rows)

    def _part(self, name: str) -> EnginePart:
        return self.steps[name] if name in self.steps else self.rules[name]

    def _firing(self, table: KeyTable) -> Ints:
        """Keys of the table with an open incident: silence is no reason to drop it."""
        lives = [rule.life for name, rule in self.rules.items() if self._table_of[name] is table]
        firing = [life.firing() for life in lives if life is not None]
        return np.concatenate(firing) if firing else np.zeros(0, np.int64)


def _named(what: str, by: By) -> str:
    """Name of what a key table remembers."""
    return f"{what} {json.dumps(by)}"
