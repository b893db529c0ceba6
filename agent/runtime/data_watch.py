"""What is right but does nothing: a configuration of which nothing can come, and sources and columns that never do.

It only looks on, and warns of each thing once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from pathlib import Path

from agent.engine.engine import Engine
from agent.ops.counters import GRACE, Stats, about, losses
from agent.ops.health import worst_series
from agent.runtime.arrival_watch import ArrivalWatch, in_words, is_time_zone
from agent.settings.build import Pipeline
from agent.settings.registry import nearest
from sensors.batch import Batch

log = logging.getLogger(__name__)


def config_warnings(pipeline: Pipeline) -> list[str]:
    """A sentence for each thing in a configuration that is right but of which nothing can come."""
    settings = pipeline.settings
    read = {
        str(table.get("on", ""))
        for tables in (settings.window, settings.detector, settings.rule)
        for table in tables.values()
    }
    found = [*pipeline.warnings]
    found += [
        f'detector.{name}: no rule looks at its scores; add a table [rule.NAME] with on = "{name}"'
        for name in settings.detector
        if name not in read
    ]
    if settings.rule and not pipeline.sinks:
        found.append('there are rules but no sink; alerts reach nobody. Add [sink.console] with type = "lines"')
    if not pipeline.sources:
        found.append("there is no source; nothing is read")
    for name, source in pipeline.sources.items():
        found += [f"source.{name}.{warning}" for warning in source.warnings()]
        for path in source.files():
            if not path.exists():
                beside = "" if path.is_absolute() else f" (relative to {Path.cwd()})"
                found.append(f"source.{name}.path: {path} is not there{beside}")
    return found


class DataWatch:
    """Warns of what never comes while the agent runs.

    Args:
        pipeline: of the configuration.
        engine: notes which columns have not come.
        stats: what each part has counted.
    """

    def __init__(self, pipeline: Pipeline, engine: Engine, stats: Callable[[], Stats]) -> None:
        self._pipeline, self._engine, self._stats = pipeline, engine, stats
        self._running = set(pipeline.sources)
        self._warned: set[tuple[str, ...]] = set()
        self._arrivals = {
            name: ArrivalWatch(pipeline.settings.agent.max_future, source.keeps_time)
            for name, source in pipeline.sources.items()
        }
        self._patient = False  # whether how many is worth waiting for

    def observe(self, batch: Batch) -> None:
        """A batch of a source, as it came."""
        self._patient = True
        self._arrivals[batch.source].look(batch)

    def look(self) -> None:
        """At short intervals: the first frames that could not be read, the first of each thing that was lost."""
        for name in self._running:
            counters = self._pipeline.sources[name].counters
            for what, sentence in counters.problems().items():
                self._warn_once(("faults", name, what), f"source {name}: {sentence}")
            self._notes(name)
            if counters.retained:
                self._warn_once(
                    ("retained", name),
                    f"source {name}: {counters.retained} retained messages passed over: the last known values, no "
                    'readings of now; retained = "use" takes them',
                    logging.INFO,
                )
        self._losses(patient=self._patient)

    def _losses(self, *, patient: bool) -> None:
        """Say what was lost and has not been said; with `patient`, not yet of what there will be more."""
        fresh = [loss for loss in losses(self._stats()) if self._is_news(*loss)]
        if patient:
            fresh = [loss for loss in fresh if about(*loss[:2]).advice != GRACE]
        worst = worst_series(self._engine) if fresh else {}
        for part, name, count in fresh:
            kind, _, rest = part.partition(".")
            counter = about(part, name)
            which = next(iter(worst.get(part, {}).get(name, ())), "")
            said = f"{kind} {rest}".rstrip() + f": {name} {count}" + (f", most of them of {which}" if which else "")
            late = self._disorder(rest) if counter.advice == GRACE else 0
            by = f", up to {in_words(late)} behind newer ones" if late else ""
            self._warn_once(("lost", part, name), f"{said} ({counter.counts}{by}); {counter.advice}")

    def _is_news(self, part: str, name: str, count: int) -> bool:
        """Whether it has not been reported, neither here nor, with more to it, by the part itself."""
        kind, _, rest = part.partition(".")
        faults = rest in self._pipeline.sources and name in self._pipeline.sources[rest].counters.problems()
        future = name == "refused_future" and any(arrival.refused for arrival in self._arrivals.values())
        return ("lost", part, name) not in self._warned and not faults and not future and kind != "observer"

    def _disorder(self, part: str) -> int:
        """By how much readings that lead to a part came after newer ones, at most, ns."""
        engine = self._engine
        on = engine.rules[part].on if part in engine.rules else part
        while on in engine.steps:
            on = engine.steps[on].on
        return max((arrival.disorder for name, arrival in self._arrivals.items() if on in ("", name)), default=0)

    def look_closely(self) -> None:
        """After a while: sources of which nothing came that could be read, clocks that are wrong, empty columns."""
        for name in sorted(self._running):
            counters = self._pipeline.sources[name].counters
            if counters.rows == 0:
                what = counters.faults() if counters.frames_bad else f"{counters.bytes_read} bytes came"
                self._warn_once(("rows", name), f"source {name}: no reading yet; {what}")
            self._clocks(name)
        self._losses(patient=False)
        self._columns(("", *self._running))
        self._empty(self._running)

    def ended(self, source: str) -> None:
        """There is no more to come from the source: what its readings should have had, they never will."""
        self._clocks(source)
        self._losses(patient=False)
        self._running.discard(source)
        self._notes(source)
        self._columns((source,) if self._running else (source, ""))
        self._empty((source,))

    def _clocks(self, name: str) -> None:
        """Machines whose clock is not the host's."""
        arrival = self._arrivals[name]
        if arrival.refused:
            of = f" of {arrival.furthest_machine}" if arrival.furthest_machine != name else ""
            limit = self._pipeline.settings.agent.max_future
            self._warn_once(
                ("refused", name),
                f"source {name}: {arrival.refused} of {arrival.rows} readings were refused, their times being more "
                f"than agent.max_future ({limit}) ahead of the host's clock; that{of} by "
                f"{in_words(arrival.furthest)}{_remedy(arrival.furthest)} or raise agent.max_future",
            )
        for machine, lead in arrival.wrong_clocks():
            of = f"of {machine} are" if machine != name else "are"
            side = "ahead of" if lead > 0 else "behind"
            self._warn_once(
                ("clock", name, machine),
                f"source {name}: the times {of} {in_words(lead)} {side} the host's clock, and so will be its "
                f"alerts{_remedy(lead)}",
            )

    def _notes(self, source: str) -> None:
        """What the codec found out about the format by itself."""
        for topic, note in list(self._pipeline.sources[source].counters.notes.items()):
            self._warn_once(("note", source, topic), f"source {source}: {note}", logging.INFO)

    def _columns(self, names: Iterable[str]) -> None:
        settings = self._pipeline.settings
        for on in names:
            for name, column, there in self._engine.awaited.columns(on):
                kind = "window" if name in settings.window else "detector" if name in settings.detector else "rule"
                where = f"no reading of {on}" if on else "no reading"
                said = f'{kind} {name}: {where} has had "{column}" yet{_what_came(column, there)}'
                self._warn_once((kind, name, column), said)
                self._warned.add(("empty", column))

    def _empty(self, names: Iterable[str]) -> None:
        """Columns that come, but never with a value, and that nothing has complained about."""
        for name in sorted(names):
            arrival = self._arrivals[name]
            for column in sorted(arrival.empty):
                if ("empty", column) not in self._warned:
                    said = f'source {name}: "{column}" has had no value in {arrival.rows} readings'
                    self._warn_once(
                        ("empty", name, column), f"{said}; compare what comes with the names in its codec"
                    )

    def _warn_once(self, what: tuple[str, ...], sentence: str, level: int = logging.WARNING) -> None:
        if what not in self._warned:
            self._warned.add(what)
            log.log(level, "%s", sentence)


def _remedy(lead: int) -> str:
    """What to do about a clock that is wrong."""
    if is_time_zone(lead):
        return "; if it is a local time, set time_zone in the codec, else set the clocks right (NTP)"
    return "; set the clocks right (NTP)"


def _what_came(column: str, there: list[str]) -> str:
    """The column that may be meant, or else those that had a value."""
    near = nearest(column, there)
    if near.startswith("; did you mean"):
        return near
    return f"; those that had values are {', '.join(sorted(there))}" if there else "; no column has had a value"
