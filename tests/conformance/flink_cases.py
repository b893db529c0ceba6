"""Flink's cases as configurations of ours: one translation for all of a family, nothing for a single case."""

from __future__ import annotations

import json
import re

KINDS = {"tumble": "tumbling", "hop": "hopping", "cumulate": "cumulate", "session": "session"}
LENGTHS = {"size_ms": "size", "slide_ms": "step", "step_ms": "step", "gap_ms": "gap", "offset_ms": "offset"}
TIMES = {"rt": "time", "ts": "time", "window_start": "start", "window_end": "end", "window_time": "end"}
SIGNS = {"gt": ">", "ge": ">=", "gte": ">=", "lt": "<", "le": "<=", "lte": "<=", "eq": "=", "ne": "!="}
UNITS = {"SECOND": "s", "MINUTE": "m", "HOUR": "h", "DAY": "d"}


def condition(where):
    """A filter of a case in our language."""
    for word, joint in (("any", " or "), ("all", " and "), ("or", " or "), ("and", " and ")):
        if word in where:
            return "(" + joint.join(condition(part) for part in where[word]) + ")"
    if "not" in where:
        return f"not {condition(where['not'])}"
    name = where["field"]
    if "in" in where:
        return f"{name} in ({', '.join(literal(word) for word in where['in'])})"
    if "is_null" in where:
        return f"{name} is {'' if where['is_null'] else 'not '}null"
    word = next(word for word in SIGNS if word in where)
    return f"{name} {SIGNS[word]} {literal(where[word])}"


def literal(value):
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else repr(value)


def codec(case, lines):
    """How the lines are read: every field that is ever a number, every field that is ever a text."""
    numbers, texts = {}, {}
    for line in lines:
        for name, value in json.loads(line).items():
            if isinstance(value, str):
                texts[name] = None
            elif isinstance(value, int | float) and not isinstance(value, bool):
                numbers[name] = None
    time = case["time"]["ts_field"]
    found = {
        "type": "json",
        "time": time,
        "time_unit": "ms",
        "values": list(numbers),  # a text in such a field is a number in quotes, or missing
        "texts": [name for name in texts if name != "machine" and name not in numbers],
    }
    if "machine" in texts:
        found["machine"] = "machine"
    if "explode" in case["rule"]:
        found["explode"] = case["rule"]["explode"]
    return found


def clause(sql, start, *ends):
    """The text between two keywords of a query, empty if the first is missing."""
    match = re.search(rf"\b{start}\b(.*?)(?:{'|'.join(ends)})", sql, re.DOTALL | re.IGNORECASE)
    return match[1].strip() if match else ""


def split(text):
    """`a AS b, f(c, d) AS e` at its outer commas."""
    parts, depth, begin = [], 0, 0
    for at, sign in enumerate(text):
        depth += (sign == "(") - (sign == ")")
        if sign == "," and depth == 0:
            parts.append(text[begin:at])
            begin = at + 1
    return [" ".join(part.split()) for part in [*parts, text[begin:]] if part.strip()]


def spoken(text):
    """An expression of SQL in our language: the same but for the names of times, casts and lists."""
    text = re.sub(r"\bCAST\s*\((.*?)\s+AS\s+\w+(?:\(\d+\))?\s*\)", r"\1", text, flags=re.IGNORECASE)
    text = re.sub(r"\bLISTAGG\s*\(([^,()]*)(?:,[^()]*)?\)", r"list(\1)", text, flags=re.IGNORECASE)
    text = re.sub(r"\bMATCH_ROWTIME\s*\([^()]*\)", "time", text, flags=re.IGNORECASE)
    return re.sub(r"(?<=\.)(\w+)\b", lambda match: TIMES.get(match[1], match[1]), text)


def tables(case, sql=""):
    """The case as a configuration: a window `w` where it has one, and a rule `r`."""
    rule = case["rule"]
    kind = rule["type"]
    where = condition(rule["where"]) if "where" in rule else ""
    if sql and kind == "filter":
        where = clause(sql, "WHERE", ";", r"\Z")
    names = aliases(case)
    by = [names.get(name, name) for name in rule.get("group_by") or rule.get("partition_by") or case["key"]]
    found = {"agent": {"idle": False}}
    if kind == "filter":
        return found | {"rule": {"r": {"type": "filter", "where": where, "by": by}}}
    window = {"by": by, "aggregates": {name: spelled(call) for name, call in rule.get("agg", {}).items()}}
    if where:
        window["where"] = where
    if kind == "aggregate":
        columns = list(rule["agg"])
        told = {"type": "having", "on": "w", "by": by, "columns": columns, "when": rule.get("having", "true")}
        return found | {"window": {"w": {"type": "running", **window}}, "rule": {"r": told}}
    delay = f"{case['time']['watermark_delay_ms']}ms"
    pattern = {"type": "pattern", "by": by, **(from_sql(sql) if sql else from_words(rule, case))}
    if "window" in rule:
        shape = {LENGTHS[name]: f"{length}ms" for name, length in rule["window"].items() if name in LENGTHS}
        window |= {"type": KINDS[rule["window"]["kind"]], "closing": "watermark", "grace": delay, **shape}
        found["window"] = {"w": window}
        pattern |= {"on": "w", "metric": rule["on"].split()[-1]}
    else:
        pattern |= {"delay": delay, "metric": rule["on"].split()[-1]}
        if where:
            pattern["where"] = where
    if (
        re.search(r"[*+]|,\s*\}", " ".join(step.split(":")[0] for step in pattern["steps"]))
        and "within" not in pattern
    ):
        pattern["most_rows"] = 100_000  # Flink has no bound of its own, ours is asked for one
    return found | {"rule": {"r": pattern}}


def spelled(call):
    """`listagg(topping, ',') in arrival order` -> `collect(topping)`."""
    match = re.match(r"listagg\((\w+)", call, re.IGNORECASE)
    return f"collect({match[1]})" if match else call


def aliases(case):
    """Columns that the query gives another name: what is called a time stamp is the event time."""
    time = case["time"]["ts_field"]
    return {
        name: time for name in (*case["key"], *case["expected"]["columns"]) if name.lower() in ("ordertimestamp",)
    }


def from_sql(sql):
    """MATCH_RECOGNIZE of a query in our words."""
    inside = sql[sql.upper().index("MATCH_RECOGNIZE") :]
    define = dict(
        re.split(r"\s+AS\s+", part, maxsplit=1) for part in split(clause(inside, "DEFINE", r"\)\s*;", r"\)\s*\Z"))
    )
    variables = re.findall(r"\w+(?:\{[^}]*\}|[*+?])?\??", re.search(r"PATTERN\s*\((.*?)\)", inside, re.DOTALL)[1])
    steps = []
    for variable in variables:
        name = re.match(r"\w+", variable)[0]
        steps.append(f"{variable}: {spoken(define[name])}" if name in define else variable)
    measures = {}
    for part in split(clause(inside, "MEASURES", "ONE ROW PER MATCH", "AFTER MATCH", "PATTERN")):
        text, name = re.split(r"\s+AS\s+", part)
        measures[name.strip()] = spoken(text)
    after = clause(inside, "AFTER MATCH", "PATTERN") or "SKIP TO NEXT ROW"
    found = {"steps": steps, "measures": measures, "after_match": after}
    within = re.search(r"WITHIN\s+INTERVAL\s+'([\d.]+)'\s+(\w+)", inside, re.IGNORECASE)
    if within:
        found["within"] = within[1] + UNITS[within[2].upper().rstrip("S")]
    return found


def window_times(case, sql):
    """Columns told that are a window_time, in Flink the end of the window less 1 ms."""
    if sql:
        measures = (
            re.split(r"\s+AS\s+", part)
            for part in split(clause(sql, "MEASURES", "ONE ROW PER MATCH", "AFTER MATCH"))
        )
        return {name.strip() for text, name in measures if "window_time" in text}
    return (
        {name for name in case["expected"]["columns"] if name.endswith("_tstamp")}
        if "window" in case["rule"]
        else set()
    )


def from_words(rule, case):
    """The same from the neutral words of a case, where `v` is the value of the step that is judged."""
    steps = []
    for variable in rule["pattern"].split():
        name = re.match(r"\w+", variable)[0]
        text = re.sub(r"\b(\w+)\.v\b", r"\1", rule["define"].get(name, ""))
        text = re.sub(r"(?<![\w.])v\b", name, text)
        steps.append(f"{variable}: {text}" if text else variable)
    metric = rule["on"].split()[-1]
    measures = {
        name: spoken(re.sub(r"\.v\b", f".{metric}", text)) for name, text in rule.get("measures", {}).items()
    }
    if not measures:  # of the pizza pipeline: the time of the first row, and all counts
        time, values = (name for name in case["expected"]["columns"] if name not in rule["partition_by"])
        measures = {time: "first(end)", values: f"list({metric})"}
    found = {"steps": steps, "measures": measures, "after_match": rule.get("after_match", "skip to next row")}
    if "within_ms" in rule:
        found["within"] = f"{rule['within_ms']}ms"
    return found
