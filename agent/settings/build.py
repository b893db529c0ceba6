"""Settings to objects: fresh sources, steps, rules and sinks, and the engine made of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from agent.alerts.alert import Identity
from agent.alerts.commands import COMMANDS, SELF, SELF_RULES
from agent.core.operator import Operator as Step
from agent.engine.engine import Engine, Limits
from agent.expressions import Expression, ExpressionError
from agent.rules import Rule
from agent.settings.fingerprints import fingerprints
from agent.settings.instance import client_name
from agent.settings.plugins import from_files
from agent.settings.registry import REGISTRY, ConfigError, Made, Registry, nearest
from agent.settings.settings import Settings, Table
from agent.sinks import Sink
from sensors.source import Source


@dataclass(frozen=True, slots=True)
class Pipeline:
    """All that a configuration describes; made anew at each call of `build_pipeline`.

    Attributes:
        fingerprints: name of a step or rule -> hash of its configuration and of all it stands on; a saved state
            fits only where it is the same.
        outside: parts that are not built in, also those within others.
        warnings: what is right but will not be in the next release.
    """

    settings: Settings
    identity: Identity
    sources: dict[str, Source]
    steps: dict[str, Step]
    rules: dict[str, Rule]
    sinks: dict[str, Sink]
    fingerprints: dict[str, str]
    outside: tuple[Made, ...] = ()
    warnings: tuple[str, ...] = ()

    def renew(self) -> None:
        """Windows, detectors and rules as they were made, without what they have seen."""
        made: Any
        for made in (self.steps, self.rules):
            made.update({name: dataclasses.replace(part) for name, part in made.items()})

    def engine(self) -> Engine:
        """The engine of the steps and rules."""
        agent = self.settings.agent
        limits = Limits(series=agent.series, max_future=agent.max_future, idle=agent.idle)
        return Engine(self.steps, self.rules, self.identity, limits, sources=self.sources)


def build_pipeline(settings: Settings) -> Pipeline:
    """The objects of a configuration.

    Raises:
        ConfigError: with every problem found, each with its key path.
    """
    files, problems = from_files(settings.plugins.paths, REGISTRY)
    registry = Registry(files)
    identity = Identity(settings.agent.site, settings.agent.name)
    sources = _build_all(registry, "source", settings.source, problems)
    windows = _build_all(registry, "window", settings.window, problems)
    detectors = _build_all(registry, "detector", settings.detector, problems)
    names = [*settings.window, *settings.detector, *settings.source]
    known = {*names, SELF} - ({*settings.detector} - {*detectors})
    rules = _build_all(registry, "rule", _with_default_limits(_rules(settings), detectors, known), problems)
    sinks = _build_all(registry, "sink", settings.sink, problems)
    problems += [f"source.{name}: this name is reserved" for name in (COMMANDS, SELF) if name in settings.source]
    twice = sorted({name for name in names if names.count(name) > 1})
    problems += [f"{name}: two tables have this name; `on` could mean both" for name in twice]
    problems += [
        f"rule.{name}: a window or detector has this name, too; what is saved of them could be mixed up"
        for name in settings.rule
        if name in settings.window or name in settings.detector
    ]
    steps = windows | detectors
    _check_on(settings, problems)
    givers = sources if len(sources) == len(settings.source) else {}
    for kind, readers in (("window", windows), ("detector", detectors), ("rule", rules)):
        problems += _check_columns(kind, readers, steps, givers)
    sinks = {name: sink.signed(identity) for name, sink in sinks.items()}
    problems += _name_clients(settings, sources, sinks)
    tables = {**settings.window, **settings.detector, **_rules(settings)}
    prints = fingerprints(tables, steps, rules)
    outside, warnings = tuple(registry.made), (*settings.warnings, *registry.warnings)
    pipeline = Pipeline(settings, identity, sources, steps, rules, sinks, prints, outside, warnings)
    if not problems:
        try:
            pipeline.engine()
        except ValueError as error:
            problems.append(str(error))
    if problems:
        raise ConfigError(problems)
    return pipeline


def _rules(settings: Settings) -> dict[str, Table]:
    return {**settings.rule, **{name: rule for name, rule in SELF_RULES.items() if name not in settings.rule}}


def _with_default_limits(
    rules: Mapping[str, Table], detectors: Mapping[str, Any], known: set[str]
) -> dict[str, Table]:
    """The rules, those that only say which detector they look at completed by its default limit.

    What is wrong with a detector, or its name, is reported there; of its rule any limit will do (`known`: names of what
    could be made).
    """
    completed = dict(rules)
    for name, table in rules.items():
        on = str(table.get("on", ""))
        limit = 1.0 if on and on not in known else detectors[on].default_limit if on in detectors else None
        if limit is not None and table.get("type", "threshold") == "threshold" and "when" not in table:
            completed[name] = {**table, "when": f"score >= {limit:g}"}
    return completed


def _build_all(registry: Registry, kind: str, tables: Mapping[str, Table], problems: list[str]) -> dict[str, Any]:
    made = {}
    for name, table in tables.items():
        try:
            made[name] = registry.build(kind, f"{kind}.{name}", table)
        except ConfigError as error:
            problems += error.problems
    return made


def _check_on(settings: Settings, problems: list[str]) -> None:
    """Each `on` names a step or source."""
    known = [*settings.window, *settings.detector, *settings.source, SELF]
    for kind, tables in (("window", settings.window), ("detector", settings.detector), ("rule", settings.rule)):
        for name, table in tables.items():
            on = table.get("on", "")
            if on and on not in known:
                problems.append(
                    f'{kind}.{name}.on: there is no window, detector or source "{on}"{nearest(on, known)}'
                )


def _name_clients(settings: Settings, sources: Mapping[str, Source], sinks: Mapping[str, Sink]) -> list[str]:
    """Give each source and sink a name of its own; report what two of them cannot use at the same time."""
    agent = settings.agent
    users: dict[str, str] = {}
    problems = []
    for kind, parts in (("source", sources), ("sink", sinks)):
        for name, part in parts.items():
            part.known_as(client_name(agent.site, agent.name, name, agent.state))
            for thing in part.claims():
                other = users.setdefault(thing, f"{kind}.{name}")
                if other != f"{kind}.{name}":
                    problems.append(f"{kind}.{name}: {other} has {thing}, too; they would throw each other out")
    return problems


def _check_columns(
    kind: str, parts: Mapping[str, Any], steps: Mapping[str, Any], sources: Mapping[str, Source]
) -> list[str]:
    """Each column a part names is one that what it reads gives, where that is known beforehand."""
    problems = []
    for name, part in parts.items():
        above = steps.get(part.on)
        given = _columns([above] if above else [s for n, s in sources.items() if part.on in ("", n)])
        if not given:
            continue
        known = given | {"start", "end"}
        problems += [
            f"{kind}.{name}{_unknown(part, column, known)}" for column in sorted(set(part.inputs()) - known)
        ]
        if above is not None:
            numbers = known - {*above.texts}
            problems += [f"{kind}.{name}{problem}" for problem in _texts(part, numbers)]
    return problems


def _columns(givers: Iterable[Any]) -> set[str]:
    """All columns that these give; none where one of them does not know."""
    found: set[str] = set()
    for giver in givers:
        columns = giver.outputs()
        if columns is None:
            return set()
        found |= set(columns)
    return found


def _unknown(part: Any, column: str, known: set[str]) -> str:
    """The key at fault and what is wrong, at its character where a condition names the column."""
    for key, condition in _conditions(part):
        if column in condition.columns:
            try:
                condition.check(sorted(known | {*condition.columns} - {column}))
            except ExpressionError as error:
                return f".{key}: {error}"
    return f': "{column}" is no column of {part.on or "the readings"}{nearest(column, known - {"start", "end"})}'


def _texts(part: Any, known: set[str]) -> list[str]:
    """Columns of numbers that a condition takes for texts."""
    return [
        f'.{key}: "{column}" is a number in {part.on}; it cannot be compared with a text'
        for key, condition in _conditions(part)
        for column, kind in condition.kinds.items()
        if kind == "text" and column in known
    ]


def _conditions(part: Any) -> Iterator[tuple[str, Expression]]:
    """Keys of a component's table that hold conditions."""
    for item in dataclasses.fields(part):
        key, value = item.name.rstrip("_"), vars(part).get(item.name) if item.init else None
        if isinstance(value, Expression):
            yield key, value
        elif isinstance(value, Mapping):
            yield from ((f"{key}.{name}", item) for name, item in value.items() if isinstance(item, Expression))


def command_sources(sinks: Mapping[str, Sink]) -> dict[str, Source]:
    """A source of commands for each sink that takes them."""
    sources = {f"commands of {name}": sink.command_source() for name, sink in sinks.items()}
    return {name: source for name, source in sources.items() if source is not None}
