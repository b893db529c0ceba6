"""What is right but does nothing: a configuration of which nothing can come, and sources and columns that never do.

It only looks on, and warns of each thing once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from pathlib import Path

from agent.engine.engine import Engine
from agent.ops.counters import Stats, about, losses
from agent.ops.health import worst_series
from agent.settings.build import Pipeline
from agent.settings.registry import nearest

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
        self._logged: set[tuple[str, ...]] = set()

    def look(self) -> None:
        """At short intervals: the first frames that could not be read, the first of each thing that was lost."""
        for name in self._running:
            for what, sentence in self._pipeline.sources[name].counters.problems().items():
                self._log_once(("faults", name, what), f"source {name}: {sentence}")
            self._notes(name)
        fresh = [loss for loss in losses(self._stats()) if self._is_news(*loss)]
        worst = worst_series(self._engine) if fresh else {}
        for part, name, count in fresh:
            kind, _, rest = part.partition(".")
            counter = about(part, name)
            which = next(iter(worst.get(part, {}).get(name, ())), "")
            sentence = (
                f"{kind} {rest}".rstrip() + f": {name} {count}" + (f", most of them of {which}" if which else "")
            )
            self._log_once(("lost", part, name), f"{sentence} ({counter.counts}); {counter.advice}")

    def _is_news(self, part: str, name: str, count: int) -> bool:
        """Whether it has not been reported, neither here nor, with more to it, by the part itself."""
        kind, _, rest = part.partition(".")
        faults = rest in self._pipeline.sources and name in self._pipeline.sources[rest].counters.problems()
        return ("lost", part, name) not in self._logged and not faults and kind != "observer"

    def look_closely(self) -> None:
        """After a while: sources of which nothing came that could be read, columns that did not come."""
        for name in self._running:
            counters = self._pipeline.sources[name].counters
            if counters.rows == 0:
                what = counters.faults() if counters.frames_bad else f"{counters.bytes_read} bytes came"
                self._log_once(("rows", name), f"source {name}: no reading yet; {what}")
        self._columns(("", *self._running))

    def ended(self, source: str) -> None:
        """There is no more to come from the source: what its readings should have had, they never will."""
        self._running.discard(source)
        self._notes(source)
        self._columns((source,) if self._running else (source, ""))

    def _notes(self, source: str) -> None:
        """What the codec found out about the format by itself."""
        for topic, sentence in list(self._pipeline.sources[source].counters.notes.items()):
            self._log_once(("note", source, topic), f"source {source}: {sentence}", logging.INFO)

    def _columns(self, names: Iterable[str]) -> None:
        settings = self._pipeline.settings
        for on in names:
            for name, column, there in self._engine.awaited.columns(on):
                kind = "window" if name in settings.window else "detector" if name in settings.detector else "rule"
                where = f"no reading of {on}" if on else "no reading"
                sentence = f'{kind} {name}: {where} has had "{column}" yet{_what_came(column, there)}'
                self._log_once((kind, name, column), sentence)

    def _log_once(self, what: tuple[str, ...], sentence: str, level: int = logging.WARNING) -> None:
        if what not in self._logged:
            self._logged.add(what)
            log.log(level, "%s", sentence)


def _what_came(column: str, there: list[str]) -> str:
    """The column that may be meant, or else those that had a value."""
    near = nearest(column, there)
    if near.startswith("; did you mean"):
        return near
    return f"; those that had values are {', '.join(sorted(there))}" if there else "; no column has had a value"
