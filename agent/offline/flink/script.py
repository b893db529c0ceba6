"""`agent rules to-flink`: a rule set as Flink SQL, and plainly what has no equivalent there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agent.alerts.commands import SELF
from agent.core.operator import Operator
from agent.expressions import Expression
from agent.expressions.parser import parse
from agent.offline.flink.sql import aggregate, condition, interval, match_recognize, quoted, text
from agent.rules.filter import Filter
from agent.rules.having import Having
from agent.rules.pattern.pattern import Pattern
from agent.rules.pattern.steps import parse_steps
from agent.rules.threshold import Threshold
from agent.settings.build import Pipeline
from agent.windows import aggregates as spelling
from agent.windows.hopping import Aligned, Cumulate, Hopping, Tumbling
from agent.windows.running import Running
from agent.windows.session import Session
from agent.windows.sliding import Sliding
from sensors.codecs.fields import Fields
from sensors.codecs.json_lines import JsonLines
from sensors.codecs.paths import Path

_FUNCTIONS: Mapping[type[Operator], str] = {
    Tumbling: "TUMBLE", Hopping: "HOP", Cumulate: "CUMULATE", Session: "SESSION",
}  # fmt: skip
"""Windows that are a table function of Flink."""
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
    pipeline: Pipeline,
    connector: Mapping[str, str] | None = None,
    insert: bool = True,
    sink: Mapping[str, str] | None = None,
) -> Script:
    """The rule set as Flink SQL.

    Args:
        pipeline: of the configuration.
        connector: options of source tables, in place of Kafka; for tests.
        insert: write results to Kafka; else only select them.
        sink: options of result tables, in place of Kafka.
    """
    return _Writer(pipeline, connector, insert, sink).script()


@dataclass(slots=True)
class _Writer:
    pipeline: Pipeline
    connector: Mapping[str, str] | None
    insert: bool
    sink: Mapping[str, str] | None
    out: Script = field(default_factory=Script)
    relations: dict[str, Relation] = field(default_factory=dict)

    def script(self) -> Script:
        self.out.add("SET 'table.local-time-zone' = 'UTC'")
        kinds = self._kinds()
        delay = self._delay()
        for name, source in self.pipeline.sources.items():
            self.relations[name] = self._source(name, source, kinds, delay)
        if len(self.pipeline.sources) == 1:
            self.relations[""] = self.relations[next(iter(self.pipeline.sources))]
        elif self.pipeline.sources:
            self.relations[""] = self._union()
        for name, step in self.pipeline.steps.items():
            self._step(name, step)
        for name, rule in self.pipeline.rules.items():
            if rule.on != SELF:  # Flink does not watch our disk
                self._rule(name, rule)
        return self.out

    # --- sources ----------------------------------------------------------------------------------------------

    def _kinds(self) -> dict[str, str]:
        """Columns of readings that steps and rules use -> type; numbers unless compared with a text."""
        kinds: dict[str, str] = {}
        everything: list[Any] = [*self.pipeline.steps.values(), *self.pipeline.rules.values()]
        for part in everything:
            if part.on in self.pipeline.steps or part.on == SELF:
                continue
            kinds |= {name: kinds.get(name, "DOUBLE") for name in part.inputs()}
            for value in vars(part).values():
                if isinstance(value, Expression):
                    kinds |= {name: "STRING" for name, kind in value.kinds.items() if kind == "text"}
            kinds |= {name: kinds.get(name, "STRING") for name in part.by if name != "machine"}
        return kinds

    def _delay(self) -> int:
        """The watermark of a Flink table serves all its readers: the longest grace that any of ours has."""
        windows = (step for step in self.pipeline.steps.values() if isinstance(step, Aligned | Session | Sliding))
        patterns = (rule for rule in self.pipeline.rules.values() if isinstance(rule, Pattern))
        return max([0, *(int(window.grace) for window in windows), *(int(rule.delay or 0) for rule in patterns)])

    def _source(self, name: str, source: Any, kinds: dict[str, str], delay: int) -> Relation:
        codec = vars(source).get("codec")  # simulators have none
        remarks = []
        machine = time = unit = ""
        columns: dict[str, str] = {}
        exploded = None
        if isinstance(codec, Fields):
            parse = Path.parse if codec.nested else Path.flat
            machine, time, unit = codec.machine, codec.time, codec.time_unit
            columns = {parse(spec).name: "STRING" for spec in codec.texts}
            columns |= {parse(spec).name: "DOUBLE" for spec in codec.values}
            exploded = Path.parse(codec.explode) if codec.explode else None
        columns = {**columns, **{column: kind for column, kind in kinds.items() if column not in columns}}
        if not isinstance(codec, JsonLines):
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
        selected = [f"{quoted(machine)} AS `machine`" if machine else "'' AS `machine`"]
        selected += [quoted(column) for column in columns]
        selected += [quoted(time)] if time and time not in columns else []
        origin = quoted(name)
        if exploded is not None:
            origin += _unnest(exploded)
        self.out.add(f"CREATE VIEW {quoted(view)} AS\nSELECT {', '.join(selected)}, `rt`\nFROM {origin}")
        return Relation(view, {"machine": "STRING", **columns}, {"time": "rt", "start": "rt", "end": "rt"})

    def _kafka(self, name: str, source: Any) -> dict[str, str]:
        return {
            "connector": "kafka",
            "topic": vars(source).get("topic", name),
            "properties.bootstrap.servers": vars(source).get("servers", "127.0.0.1:9092"),
            "properties.group.id": f"edge-agent-{self.pipeline.identity.agent}",
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
        function = _FUNCTIONS.get(type(step))
        above = self.relations.get(step.on)
        if above is None:
            self.out.missing.append(f"{name}: it reads {step.on!r}, which has none")
            return
        if function is None and not isinstance(step, Running):
            kind = type(step).__name__
            what = f"a window of kind {kind.lower()}" if step.kind == "window" else f"a detector ({kind})"
            self.out.missing.append(f"{name}: {what}")
            return
        calls: list[tuple[str, str]] = []
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
            calls.append((item.name, call))
            columns[item.name] = _type(item.function, above.columns.get(item.column, "DOUBLE"))
        by = [quoted(column) for column in step.by]
        where = f"\nWHERE {condition(step.where.node)}" if step.where is not None else ""
        aggregated = [f"{call} AS {quoted(column)}" for column, call in calls]
        remarks = [f"{name}: {remark}" for remark in _differences(step)]
        if function is None:
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
            f"FROM TABLE({function}({_table(step, above)})){where}\nGROUP BY {', '.join(by + bounds)}",
            *remarks,
        )
        columns |= {"window_start": "TIMESTAMP(3)", "window_end": "TIMESTAMP(3)", "window_time": "TIMESTAMP(3)"}
        times = {"time": "window_time", "start": "window_start", "end": "window_end"}
        self.relations[name] = Relation(name, columns, times)

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
            self._alert_view(
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
        given = rule.measures or {step.name: step.name for step in parse_steps(rule.steps)}
        measures = [(column, parse(expression)) for column, expression in given.items()]
        source = quoted(above.name)
        if rule.where is not None:
            source = f"(SELECT * FROM {source} WHERE {condition(rule.where.node)})"  # noqa: S608 -- quoted
        query = "SELECT *\nFROM " + match_recognize(rule, source, above.times, measures)
        types = {column: above.columns.get(column, "STRING") for column in rule.by}
        types |= {column: self._measured(expression, rule, above) for column, expression in given.items()}
        self._alert_view(name, rule, query, types, above)

    def _measured(self, expression: str, rule: Pattern, above: Relation) -> str:
        """Type of a measure, as far as its words show."""
        column = expression.rstrip(") ").rpartition(".")[2].rpartition("(")[2].partition(",")[0].strip()
        if expression.startswith("list"):
            return "STRING"
        if expression.startswith("count"):
            return "BIGINT"
        if column in above.times and "." in expression:
            return "TIMESTAMP(3)"
        return above.columns.get(column, above.columns.get(rule.metric, "DOUBLE"))

    def _alert_view(self, name: str, rule: Any, query: str, types: Mapping[str, str], above: Relation) -> None:
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


def _differences(step: Aligned | Session | Running) -> list[str]:
    """Where Flink's window is another one."""
    if isinstance(step, Running):
        return ["Flink keeps every group for ever unless table.exec.state.ttl is set."]
    found = []
    if step.emit == "current":
        found.append("Flink emits a window once, when it closes, not after each reading.")
    if step.closing != "watermark":
        found.append("Flink closes windows of all series by one watermark, not each by its own time.")
    if step.idle:
        found.append("Flink leaves the last windows open where readings stop; it has no clock for them.")
    return found


def _table(step: Any, above: Relation) -> str:
    """The arguments of a window's table function."""
    base = f"TABLE {quoted(above.name)}"
    if isinstance(step, Session):
        by = ", ".join(quoted(column) for column in step.by)
        return f"{base} PARTITION BY ({by}), DESCRIPTOR({quoted(above.times['time'])}), {interval(int(step.gap))}"
    steps = [] if isinstance(step, Tumbling) else [interval(int(step.step))]
    lengths = [*steps, interval(int(step.size))]
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
