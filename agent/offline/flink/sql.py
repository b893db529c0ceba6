"""Our expressions, durations and patterns in the words of Flink SQL."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from agent.expressions.syntax import (
    Arithmetic,
    Call,
    Column,
    Comparison,
    IsNull,
    Logic,
    Membership,
    Negative,
    Node,
    Not,
    Number,
    String,
    Truth,
    rebuilt,
)
from agent.rules.pattern.mapped_rows import over_rows
from agent.rules.pattern.pattern import Pattern
from agent.rules.pattern.steps import PatternStep, parse_steps
from sensors.units import SECOND

_FUNCTIONS = {"log": "LN", "min": "LEAST", "max": "GREATEST"}
_OVER_ROWS = {"mean": "AVG", "avg": "AVG"}
_AGGREGATES = {
    "mean": "AVG({0})",
    "sum": "SUM({0})",
    "min": "MIN({0})",
    "max": "MAX({0})",
    "std": "STDDEV_SAMP({0})",
    "std_pop": "STDDEV_POP({0})",
    "var": "VAR_SAMP({0})",
    "var_pop": "VAR_POP({0})",
    "count": "COUNT({0})",
    "rows": "COUNT(*)",
    "missing": "COUNT(*) - COUNT({0})",
    "range": "MAX({0}) - MIN({0})",
    "first": "FIRST_VALUE({0})",
    "last": "LAST_VALUE({0})",
    "distinct": "COUNT(DISTINCT {0})",
    "collect": "LISTAGG(CAST({0} AS STRING), ',')",
}

Naming = Callable[[str], str]


def quoted(name: str) -> str:
    """An identifier; a dotted one as a whole."""
    return "`" + name.replace("`", "``") + "`"


def text(value: str) -> str:
    """A string literal."""
    return "'" + value.replace("'", "''") + "'"


def interval(nanoseconds: int) -> str:
    """A length of time; Flink counts milliseconds.

    Raises:
        ValueError: if it is no whole number of milliseconds.
    """
    if nanoseconds % 10**6:
        raise ValueError("Flink counts in milliseconds; this length of time is finer")
    seconds, rest = divmod(nanoseconds, SECOND)
    if rest:
        return f"INTERVAL '{seconds}.{rest // 10**6:03d}' SECOND({max(len(str(seconds)), 2)}, 3)"
    for unit, size in (("DAY", 86400), ("HOUR", 3600), ("MINUTE", 60)):
        if seconds and seconds % size == 0 and seconds // size < 100:
            return f"INTERVAL '{seconds // size}' {unit}"
    return f"INTERVAL '{seconds}' SECOND" + (f"({len(str(seconds))})" if seconds > 99 else "")


def aggregate(function: str, column: str, share: float) -> str | None:
    """An aggregate of a window, None if SQL has none."""
    if function in ("median", "quantile"):
        return f"PERCENTILE({quoted(column)}, {0.5 if function == 'median' else share!r})"
    if function == "count" and not column:
        return "COUNT(*)"
    template = _AGGREGATES.get(function)
    return None if template is None else template.format(quoted(column))


def sql(node: Node, name: Naming = quoted) -> str:
    """An expression; a division by zero is NULL, as it is unknown here.

    Args:
        node: checked.
        name: how a column is written.
    """

    def part(inner: Node) -> str:
        return sql(inner, name)

    match node:
        case Number(value=value):
            return repr(int(value)) if value == int(value) and abs(value) < 2**53 else repr(value)
        case String(value=string):
            return text(string)
        case Truth(value=truth):
            return "TRUE" if truth else "FALSE"
        case Column(name=column):
            return name(column)
        case Negative(operand=operand):
            return f"-({part(operand)})"
        case Arithmetic(sign="/", left=left, right=right):
            return f"({part(left)} / NULLIF(CAST({part(right)} AS DOUBLE), 0))"
        case Arithmetic(sign="%", left=left, right=right):
            a, b = part(left), f"NULLIF(CAST({part(right)} AS DOUBLE), 0)"
            return f"({a} - {b} * TRUNCATE({a} / {b}, 0))"
        case Arithmetic(sign=sign, left=left, right=right):
            return f"({part(left)} {sign} {part(right)})"
        case Comparison(sign=sign, left=left, right=right):
            return f"{part(left)} {({'==': '=', '!=': '<>'}).get(sign, sign)} {part(right)}"
        case Logic(word=word, operands=operands):
            return "(" + f" {word.upper()} ".join(_condition(operand, name) for operand in operands) + ")"
        case Not(operand=IsNull(operand=operand)):
            return f"{part(operand)} IS NOT NULL"
        case Not(operand=operand):
            return f"NOT ({_condition(operand, name)})"
        case Membership(operand=operand, choices=choices):
            return f"{part(operand)} IN ({', '.join(part(choice) for choice in choices)})"
        case IsNull(operand=operand):
            return f"{part(operand)} IS NULL"
        case Call(name=function, arguments=arguments):
            inside = ", ".join(part(argument) for argument in arguments)
            return f"{_FUNCTIONS.get(function, function.upper())}({inside})"
    raise AssertionError(node)


def _condition(node: Node, name: Naming) -> str:
    return f"{name(node.name)} <> 0" if isinstance(node, Column) else sql(node, name)


def condition(node: Node, name: Naming = quoted) -> str:
    """A condition; a bare column is true where it is not 0."""
    return _condition(node, name)


def match_recognize(rule: Pattern, source: str, times: dict[str, str], measures: Sequence[tuple[str, Node]]) -> str:
    """The clause for a pattern.

    Args:
        rule: the pattern.
        source: the relation it reads.
        times: our names of times -> columns of the relation; `time` is its time attribute.
        measures: names and expressions.
    """
    steps = parse_steps(rule.steps)
    writer = _Steps(rule, steps, times)
    measured = [f"{writer.measure(node)} AS {quoted(name)}" for name, node in measures]
    defined = [
        f"{quoted(step.name)} AS {writer.condition(step)}"
        for step in steps
        if not isinstance(step.condition, Truth)
    ]
    lines = [
        f"{source} MATCH_RECOGNIZE (",
        f"  PARTITION BY {', '.join(quoted(column) for column in rule.by)}",
        f"  ORDER BY {quoted(times['time'])}",
        "  MEASURES\n    " + ",\n    ".join(measured),
        "  ONE ROW PER MATCH",
        f"  AFTER MATCH SKIP {_after(rule.after_match)}",
        f"  PATTERN ({' '.join(_variable(step) for step in steps)})"
        + (f" WITHIN {interval(int(rule.within))}" if rule.within else ""),
    ]
    if defined:
        lines.append("  DEFINE\n    " + ",\n    ".join(defined))
    return "\n".join(lines) + "\n)"


def _after(words: str) -> str:
    *way, last = words.split()
    way = [word for word in way if word.lower() != "skip"]
    if [word.lower() for word in way][:1] == ["to"] and way[-1].lower() in ("first", "last"):
        return f"{' '.join(way).upper()} {quoted(last)}"
    return "PAST LAST ROW" if "past" in words.lower() else "TO NEXT ROW"


def _variable(step: PatternStep) -> str:
    if (step.least, step.most) == (1, 1):
        return quoted(step.name)
    if (step.least, step.most) == (0, 1):
        return quoted(step.name) + "?"
    most = "" if step.most is None else str(step.most)
    sign = f"{{{step.least},{most}}}"
    if step.most is None and step.least < 2:
        sign = "+" if step.least else "*"
    elif step.least == step.most:
        sign = f"{{{step.least}}}"
    reluctant = "" if step.greedy or step.least == step.most else "?"
    return quoted(step.name) + sign + reluctant


class _Steps:
    """Writes what is said about steps."""

    def __init__(self, rule: Pattern, steps: Sequence[PatternStep], times: dict[str, str]) -> None:
        self.names = [step.name for step in steps]
        self.metric, self.times = rule.metric, times

    def condition(self, step: PatternStep) -> str:
        """Of a step; a column without a step is one of the row that is judged."""
        return condition(self._rows(step.condition, step.name), self._raw)

    def measure(self, node: Node) -> str:
        """Of a match; a column without a step is one of its last row."""
        return sql(self._rows(node, self.names[-1]), self._raw)

    @staticmethod
    def _raw(name: str) -> str:
        return name

    def _name(self, name: str, own: str) -> str:
        head, _, rest = name.partition(".")
        step, column = (head, rest or self.metric) if head in self.names else (own, name)
        column = quoted(self.times.get(column, column))
        return f"{quoted(step)}.{column}" if step else column

    def _rows(self, node: Node, own: str) -> Node:
        """The node with columns written in SQL, calls over rows included."""
        if isinstance(node, Column):
            return Column(node.position, self._name(node.name, own))
        if not (isinstance(node, Call) and over_rows(node)):
            return rebuilt(node, lambda part: self._rows(part, own))
        if node.star:
            return Column(node.position, "COUNT(*)")
        argument = node.arguments[0]
        inside = self._name(argument.name, "") if isinstance(argument, Column) else ""
        if node.name == "list":
            return Column(node.position, f"LISTAGG(CAST({inside} AS STRING), ',')")
        reach = node.arguments[1] if len(node.arguments) == 2 else None
        more = f", {int(reach.value)}" if isinstance(reach, Number) else ""
        return Column(node.position, f"{_OVER_ROWS.get(node.name, node.name.upper())}({inside}{more})")
