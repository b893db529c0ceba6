"""`agent rules to-flink`: a rule set as Flink SQL, and plainly what has no equivalent there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agent.compose import Parts
from agent.control import SELF
from agent.expressions import Expression
from agent.expressions.parser import parse
from agent.offline.flink_words import aggregate, condition, interval, match_recognize, quoted, text
from agent.rules.filter import Filter
from agent.rules.having import Having
from agent.rules.pattern import Pattern
from agent.rules.patterns.steps import parse_steps
from agent.rules.threshold import Threshold
from agent.windows import aggregates as spelling
from sensors.codecs.paths import Path

_KINDS = {"Tumbling": "TUMBLE", "Hopping": "HOP", "Cumulate": "CUMULATE", "Session": "SESSION"}
_UNITS = {"s": "`{0}`, 0", "ms": "`{0}`, 3", "us": "`{0}` / 1000, 3", "ns": "`{0}` / 1000000, 3"}
_NUMBERS = ("DOUBLE", "BIGINT")


@dataclass(slots=True)
class Relation:
    """A table or view: its columns with their types, and our names of times -> its columns."""

    name: str
    columns: dict[str, str]
    times: dict[str, str]
    updating: bool = False


@dataclass(slots=True)
class Script:
    """SQL statements and remarks in order.

    Attributes:
        missing: what has no equivalent, a sentence each.
    """

    statements: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    def add(self, statement: str, *remarks: str) -> None:
        """A statement with remarks before it."""
        self.statements.append("".join(f"-- {remark}\n" for remark in remarks) + statement + ";")

    def __str__(self) -> str:
        lines = list(self.statements)
        if self.missing:
            lines.append("\n".join(["-- No SQL equivalent:", *(f"--   {sentence}" for sentence in self.missing)]))
        return "\n\n".join(lines) + "\n"


def to_flink(
    parts: Parts,
    connector: Mapping[str, str] | None = None,
    insert: bool = True,
    sink: Mapping[str, str] | None = None,
) -> Script:
    """The rule set as Flink SQL.

    Args:
        parts: a composed configuration.
        connector: options of source tables, in place of Kafka; for tests.
        insert: write results to Kafka; else only select them.
        sink: options of result tables, in place of Kafka.
    """
    return _Writer(parts, connector, insert, sink).script()


@dataclass(slots=True)
class _Writer:
    parts: Parts
    connector: Mapping[str, str] | None
    insert: bool
    sink: Mapping[str, str] | None
    out: Script = field(default_factory=Script)
    relations: dict[str, Relation] = field(default_factory=dict)

    def script(self) -> Script:
        self.out.add("SET 'table.local-time-zone' = 'UTC'")
        kinds = self._kinds()
        delay = self._delay()
        for name, source in self.parts.sources.items():
            self.relations[name] = self._source(name, source, kinds, delay)
        if len(self.parts.sources) == 1:
            self.relations[""] = self.relations[next(iter(self.parts.sources))]
        elif self.parts.sources:
            self.relations[""] = self._union()
        for name, step in self.parts.steps.items():
            self._step(name, step)
        for name, rule in self.parts.rules.items():
            if rule.on != SELF:  # Flink does not watch our disk
                self._rule(name, rule)
        return self.out

    # --- sources ----------------------------------------------------------------------------------------------

    def _kinds(self) -> dict[str, str]:
        """Columns of readings that steps and rules use -> type; numbers unless compared with a text."""
        kinds: dict[str, str] = {}
        everything: list[Any] = [*self.parts.steps.values(), *self.parts.rules.values()]
        for part in everything:
            if part.on in self.parts.steps or part.on == SELF:
                continue
            needed: tuple[str, ...] = getattr(part, "inputs", tuple)()
            kinds |= {name: kinds.get(name, "DOUBLE") for name in needed}
            for value in vars(part).values():
                if isinstance(value, Expression):
                    kinds |= {name: "STRING" for name, kind in value.kinds.items() if kind == "text"}
            kinds |= {name: kinds.get(name, "STRING") for name in part.by if name != "machine"}
        return kinds

    def _delay(self) -> int:
        """The watermark of a Flink table serves all its readers: the longest grace that any of ours has."""
        steps = [int(getattr(step, "grace", 0)) for step in self.parts.steps.values()]
        delays = [int(getattr(rule, "delay", None) or 0) for rule in self.parts.rules.values()]
        return max([*steps, *delays, 0])

    def _source(self, name: str, source: Any, kinds: dict[str, str], delay: int) -> Relation:
        codec = getattr(source, "codec", None)
        remarks = []
        machine, time, unit = (getattr(codec, item, "") for item in ("machine", "time", "time_unit"))
        parse = Path.parse if getattr(codec, "nested", True) else Path.flat
        texts = [parse(spec).name for spec in getattr(codec, "texts", [])]
        values = [parse(spec).name for spec in getattr(codec, "values", [])]
        columns = dict.fromkeys(texts, "STRING") | dict.fromkeys(values, "DOUBLE")
        columns = {**columns, **{column: kind for column, kind in kinds.items() if column not in columns}}
        exploded = Path.parse(codec.explode) if codec is not None and codec.explode else None
        if codec is None or type(codec).__name__ != "JsonLines":
            remarks.append(f"{name} does not read JSON; the same readings are expected as JSON in Kafka.")
            machine, time, unit = machine or "machine", time or "time", unit or "ms"
        physical = {column: kind for column, kind in columns.items() if exploded is None or column != exploded.name}
        lines = [f"{quoted(machine)} STRING"] if machine else []
        lines += [f"{quoted(column)} {kind}" for column, kind in physical.items() if column not in (machine, time)]
        if exploded is not None:
            lines.append(f"{quoted(str(exploded.levels[0][0]))} {_nested(exploded)}")
        if time and unit == "iso":
            lines += [
                f"{quoted(time)} STRING",
                f"`rt` AS TO_TIMESTAMP(REPLACE(REPLACE({quoted(time)}, 'T', ' '), 'Z', ''))",
            ]
        elif time:
            moment = f"TO_TIMESTAMP_LTZ({_UNITS[unit].format(time)})"
            lines += [f"{quoted(time)} BIGINT", f"`rt` AS CAST({moment} AS TIMESTAMP(3))"]
            if unit in ("us", "ns"):
                remarks.append("Flink's event time has milliseconds; what is finer is cut off.")
        else:
            lines.append("`rt` AS LOCALTIMESTAMP")
            remarks.append("the readings carry no time; the time of reading is used")
        lines.append(f"WATERMARK FOR `rt` AS `rt` - {interval(delay)}")
        options = dict(self.connector) if self.connector is not None else self._kafka(name, source)
        given = ",\n  ".join(f"{text(option)} = {text(value)}" for option, value in options.items())
        body = ",\n  ".join(lines)
        self.out.add(f"CREATE TABLE {quoted(name)} (\n  {body}\n) WITH (\n  {given}\n)", *remarks)
        view = f"{name}_rows"
        told = [f"{quoted(machine)} AS `machine`" if machine else "'' AS `machine`"]
        told += [quoted(column) for column in columns]
        told += [quoted(time)] if time and time not in columns else []
        origin = quoted(name)
        if exploded is not None:
            origin += _unnest(exploded)
        self.out.add(f"CREATE VIEW {quoted(view)} AS\nSELECT {', '.join(told)}, `rt`\nFROM {origin}")
        return Relation(view, {"machine": "STRING", **columns}, {"time": "rt", "start": "rt", "end": "rt"})

    def _kafka(self, name: str, source: Any) -> dict[str, str]:
        return {
            "connector": "kafka",
            "topic": getattr(source, "topic", name),
            "properties.bootstrap.servers": getattr(source, "servers", "127.0.0.1:9092"),
            "properties.group.id": f"edge-agent-{self.parts.identity.agent}",
            "scan.startup.mode": "group-offsets",
            "properties.auto.offset.reset": "earliest",
            "format": "json",
            "json.ignore-parse-errors": "true",
        }

    def _union(self) -> Relation:
        first = next(iter(self.relations.values()))
        chosen = ", ".join(quoted(column) for column in (*first.columns, "rt"))
        tables = [quoted(relation.name) for relation in self.relations.values()]
        selects = "\nUNION ALL\n".join(f"SELECT {chosen} FROM {table}" for table in tables)  # noqa: S608 -- quoted
        self.out.add(f"CREATE VIEW `all_rows` AS\n{selects}")
        return Relation("all_rows", first.columns, first.times)

    # --- windows ----------------------------------------------------------------------------------------------

    def _step(self, name: str, step: Any) -> None:
        kind = type(step).__name__
        above = self.relations.get(step.on)
        if above is None:
            self.out.missing.append(f"{name}: it reads {step.on!r}, which has none")
            return
        if kind != "Running" and kind not in _KINDS:
            what = f"a window of kind {kind.lower()}" if hasattr(step, "aggregates") else f"a detector ({kind})"
            self.out.missing.append(f"{name}: {what}")
            return
        told: list[tuple[str, str]] = []
        columns = {column: above.columns.get(column, "STRING") for column in step.by}
        wanted = spelling.parse(step.aggregates, step.metric)
        extra = [
            spelling.Aggregate("count", "count", step.metric),
            spelling.Aggregate("missing", "missing", step.metric),
        ]
        given = {item.name for item in wanted}
        for item in (*wanted, *(item for item in extra if item.name not in given and step.metric)):
            call = aggregate(item.function, item.column, item.share)
            if call is None:
                self.out.missing.append(f"{name}: the aggregate {item.function}")
                continue
            told.append((item.name, call))
            columns[item.name] = _type(item.function, above.columns.get(item.column, "DOUBLE"))
        by = [quoted(column) for column in step.by]
        where = f"\nWHERE {condition(step.where.node)}" if step.where is not None else ""
        aggregated = [f"{call} AS {quoted(column)}" for column, call in told]
        remarks = [f"{name}: {remark}" for remark in self._differences(step, kind)]
        if kind == "Running":
            self.out.add(
                f"CREATE VIEW {quoted(name)} AS\nSELECT {', '.join(by + aggregated)}\n"
                f"FROM {quoted(above.name)}{where}\nGROUP BY {', '.join(by)}",
                *remarks,
            )
            self.relations[name] = Relation(name, columns, {}, updating=True)
            return
        bounds = ["`window_start`", "`window_end`", "`window_time`"]
        self.out.add(
            f"CREATE VIEW {quoted(name)} AS\nSELECT {', '.join(by + bounds + aggregated)}\n"
            f"FROM TABLE({_KINDS[kind]}({_table(kind, step, above)})){where}\nGROUP BY {', '.join(by + bounds)}",
            *remarks,
        )
        columns |= {"window_start": "TIMESTAMP(3)", "window_end": "TIMESTAMP(3)", "window_time": "TIMESTAMP(3)"}
        times = {"time": "window_time", "start": "window_start", "end": "window_end"}
        self.relations[name] = Relation(name, columns, times)

    def _differences(self, step: Any, kind: str) -> list[str]:
        """Where Flink's window is another one."""
        found = []
        if getattr(step, "emit", "final") == "current":
            found.append("Flink tells a window once, when it closes, not after each reading.")
        if kind != "Running" and getattr(step, "closing", "watermark") != "watermark":
            found.append("Flink closes windows of all series by one watermark, not each by its own time.")
        if getattr(step, "idle", None):
            found.append("Flink leaves the last windows open where readings stop; it has no clock for them.")
        if kind == "Running":
            found.append("Flink keeps every group for ever unless table.exec.state.ttl is set.")
        return found

    # --- rules ------------------------------------------------------------------------------------------------

    def _rule(self, name: str, rule: Any) -> None:
        above = self.relations.get(rule.on)
        if above is None:
            self.out.missing.append(f"rule {name}: it reads {rule.on!r}, which has none")
        elif isinstance(rule, Pattern):
            self._pattern(name, rule, above)
        elif isinstance(rule, Filter | Having) or type(rule) is Threshold:
            when = rule.where if isinstance(rule, Filter) else rule.when
            if isinstance(rule, Threshold) and rule.mode == "incident":
                self.out.missing.append(
                    f"rule {name}: the life of an incident (clear, for, hold, severity, acknowledgement ...); "
                    "each row that fulfils the condition is told"
                )
            columns = list(above.columns)
            if isinstance(rule, Having) and rule.columns:
                columns = [column for column in columns if column in (*rule.by, *rule.columns)]
            times = [] if "window_time" in above.columns or above.updating else ["rt"]
            chosen = ", ".join(quoted(column) for column in (*columns, *times))
            types = {column: above.columns[column] for column in columns} | dict.fromkeys(times, "TIMESTAMP(3)")
            self._told(
                name,
                rule,
                f"SELECT {chosen}\nFROM {quoted(above.name)}\nWHERE {condition(when.node)}",
                types,
                above,
            )
        else:
            self.out.missing.append(f"rule {name}: {rule.type}")

    def _pattern(self, name: str, rule: Pattern, above: Relation) -> None:
        if above.updating:
            self.out.missing.append(f"rule {name}: a pattern over a result that changes")
            return
        if rule.most_rows:
            self.out.missing.append(f"rule {name}: most_rows; Flink bounds a pattern by WITHIN only")
        told = rule.measures or {step.name: step.name for step in parse_steps(rule.steps)}
        measures = [(column, parse(expression)) for column, expression in told.items()]
        source = quoted(above.name)
        if rule.where is not None:
            source = f"(SELECT * FROM {source} WHERE {condition(rule.where.node)})"  # noqa: S608 -- quoted
        query = "SELECT *\nFROM " + match_recognize(rule, source, above.times, measures)
        types = {column: above.columns.get(column, "STRING") for column in rule.by}
        types |= {column: self._measured(expression, rule, above) for column, expression in told.items()}
        self._told(name, rule, query, types, above)

    def _measured(self, expression: str, rule: Pattern, above: Relation) -> str:
        """Type of a measure, as far as its words tell."""
        column = expression.rstrip(") ").rpartition(".")[2].rpartition("(")[2].partition(",")[0].strip()
        if expression.startswith("list"):
            return "STRING"
        if expression.startswith("count"):
            return "BIGINT"
        if column in above.times and "." in expression:
            return "TIMESTAMP(3)"
        return above.columns.get(column, above.columns.get(rule.metric, "DOUBLE"))

    def _told(self, name: str, rule: Any, query: str, types: Mapping[str, str], above: Relation) -> None:
        if not self.insert:
            self.out.add(query, f"rule {name}")
            return
        sink = quoted(f"rule_{name}")
        options = {
            "connector": "upsert-kafka" if above.updating else "kafka",
            "topic": f"edge.flink.{name}",
            "properties.bootstrap.servers": "127.0.0.1:9092",
        }
        options |= {"key.format": "json", "value.format": "json"} if above.updating else {"format": "json"}
        if self.sink is not None:
            options = dict(self.sink)
        key = f",\n  PRIMARY KEY ({', '.join(map(quoted, rule.by))}) NOT ENFORCED" if above.updating else ""
        columns = ",\n  ".join(f"{quoted(column)} {kind}" for column, kind in types.items())
        given = ",\n  ".join(f"{text(option)} = {text(value)}" for option, value in options.items())
        self.out.add(f"CREATE TABLE {sink} (\n  {columns}{key}\n) WITH (\n  {given}\n)", f"rule {name}")
        self.out.add(f"INSERT INTO {sink}\n{query}")


def _table(kind: str, step: Any, above: Relation) -> str:
    """The arguments of a window's table function."""
    base = f"TABLE {quoted(above.name)}"
    if kind == "Session":
        by = ", ".join(quoted(column) for column in step.by)
        return f"{base} PARTITION BY ({by}), DESCRIPTOR({quoted(above.times['time'])}), {interval(int(step.gap))}"
    lengths = (
        [interval(int(step.size))] if kind == "Tumbling" else [interval(int(step.step)), interval(int(step.size))]
    )
    if step.offset:
        lengths.append(interval(int(step.offset)))
    return f"{base}, DESCRIPTOR({quoted(above.times['time'])}), {', '.join(lengths)}"


def _type(function: str, column: str) -> str:
    if function in ("count", "rows", "missing", "distinct"):
        return "BIGINT"
    if function == "collect":
        return "STRING"
    return column if function in ("first", "last") else "DOUBLE"


def _nested(path: Path) -> str:
    """`ARRAY<ROW<additionalToppings ARRAY<STRING>>>` for the lists of a path."""
    kind = "STRING"
    if path.keys:
        kind = f"ROW<{quoted(str(path.keys[-1]))} {kind}>"
    kind = f"ARRAY<{kind}>"
    for level in reversed(path.levels[1:]):
        kind = f"ARRAY<ROW<{quoted(str(level[-1]))} {kind}>>"
    return kind


def _unnest(path: Path) -> str:
    """Joins that give one row an element."""
    joins, column = "", quoted(str(path.levels[0][0]))
    for depth, level in enumerate(path.levels):
        inner = str(path.levels[depth + 1][-1]) if depth + 1 < len(path.levels) else path.name
        joins += f"\nCROSS JOIN UNNEST({column}) AS `list{depth}` ({quoted(inner)})"
        column = f"`list{depth}`.{quoted(inner)}"
        del level
    return joins
