"""How alerts, raw events and window results are written for subscribers: CloudEvents 1.0 in JSON, always finite.

A number that is NaN or infinite is written as null. The schema is `agent/alerts/schema/alert.v1.json`.

Raw events and results come by the thousand, so these are assembled from columns: each column becomes JSON tokens in
one call, and what is the same for a series is made once.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from itertools import repeat
from typing import Any

import numpy as np
import orjson

from agent.alerts.alert import (
    Alert,
    Change,
    Identity,
    Kind,
    Label,
    Message,
    Severity,
    alert_name,
    machine_of,
    spoken_name,
    topic_name,
)
from agent.core.keys import Name
from agent.core.rows import Rows
from sensors.batch import Ints
from sensors.units import SECOND

SCHEMA = "https://edge-agent.io/schema/alert.v1.json"
SEVERITIES: dict[Severity, tuple[str, int]] = {
    "info": ("INFO", 9),
    "warning": ("WARN", 13),
    "critical": ("ERROR", 17),
    "fatal": ("FATAL", 21),
}
"""Text and number of each severity on the scale of OpenTelemetry."""
_EVENTS: frozenset[Kind] = frozenset({"alert", "raw", "metric"})
_STATE = {Change.NO_DATA: "no_data", Change.RESOLVED: "resolved"}


def rfc3339(time: int) -> str:
    """Nanoseconds since the epoch as text, UTC, in whole milliseconds (downwards)."""
    seconds, milliseconds = divmod(time // 1_000_000, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{milliseconds:03d}Z"


def as_replayed(message: Message) -> Message:
    """The message as it is sent late: its CloudEvent, if it is one that reports what happened, says so."""
    if message.kind not in _EVENTS or not message.body.endswith(b"}") or len(message.body) < 3:
        return message
    return message._replace(body=message.body[:-1] + b',"replayed":true}', replayed=True)


def event(alert: Alert, identity: Identity) -> dict[str, Any]:
    """The alert as a CloudEvent, ready for JSON."""
    text, number = SEVERITIES[alert.severity]
    ended = alert.ended_at
    return {
        "specversion": "1.0",
        "id": alert.id,
        "source": identity.source(alert.machine),
        "type": f"io.edge-agent.alert.{alert.change}",
        "subject": alert.key,
        "time": rfc3339(alert.time),
        "recordedtime": rfc3339(alert.recorded),
        **({} if alert.expires is None else {"expirytime": rfc3339(alert.expires)}),
        "datacontenttype": "application/json",
        "dataschema": SCHEMA,
        "severitytext": text,
        "severitynumber": number,
        "correlationid": alert.incident,
        "sequence": str(alert.sequence),
        "data": {
            "key": alert.key,
            "state": _STATE.get(alert.change, "firing"),
            "severity": alert.severity,
            "rule": {"id": alert.rule, "kind": alert.rule_type},
            "machine": alert.machine,
            "series": alert.series,
            "signal": alert.signal,
            "unit": alert.unit,
            "value": alert.value,
            "threshold": {"raise": alert.raise_limit, "clear": alert.clear_limit},
            "score": alert.score,
            "window": {
                "start": rfc3339(alert.window_start),
                "end": rfc3339(alert.window_end),
                "count": alert.count,
                "missing": alert.missing,
            },
            "started_at": rfc3339(alert.started_at),
            "ended_at": None if ended is None else rfc3339(ended),
            "duration_s": max(0, (alert.time if ended is None else ended) - alert.started_at) / SECOND,
            "repeat": alert.repeat,
            "flags": alert.flags,
            "note": alert.note,
            "evidence": alert.evidence,
            "quality": alert.quality,
            "message": alert.message,
        },
    }


def encode_alert(alert: Alert, identity: Identity, by: tuple[str, ...] = ("machine",)) -> list[Message]:
    """The history event and the present state; a resolved alert clears its state with an empty body."""
    body = _json(event(alert, identity))
    machine, name = topic_name(alert.machine), alert_name(alert.signal, alert.rule, by, alert.series)
    state = b"" if alert.change is Change.RESOLVED else body
    return [
        Message(alert.id, "alert", machine, name, body, alert.time),
        Message(alert.id, "state", machine, name, state, alert.time),
    ]


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} in an alert")


def encode_raw(label: Label, rows: Rows, names: Callable[[int], Name], identity: Identity) -> list[Message]:
    """One message a row, for rules in raw mode.

    Args:
        label: of the rule.
        rows: those above the limit. The column `emission` counts the messages of a series: it is the `sequence`
            and makes the id unique.
        names: the name of a row of the key table, as `KeyTable.name`.
        identity: of the agent.
    """
    if label.payload == "value":
        return _encode_values(label, rows, names, identity)
    heads = {key: _head(label, names(key), identity) for key in set(rows.key.tolist())}
    mine = [heads[key] for key in rows.key.tolist()]
    counts = _numbers(rows.values["emission"].astype(np.int64))
    ends = _times(rows.end)
    ids = [b"%d/" % end + count for end, count in zip(rows.end.tolist(), counts, strict=True)]
    bodies = _assemble(
        [head[0] for head in mine], ids,
        [head[1] for head in mine], _json(rfc3339(rows.now)) + b',"time":"', ends, b'","sequence":"', counts,
        [head[2] for head in mine], _times(rows.start), b'","end":"', ends, b'"},"value":',
        _tokens(rows, label.metric), *_objects(rows, (label.metric, "emission")), b"}}",
    )  # fmt: skip
    texts = [(head[0][27:] + rest).decode() for head, rest in zip(mine, ids, strict=True)]
    machines, names_ = [head[3] for head in mine], [head[4] for head in mine]
    return list(map(Message, texts, repeat("raw"), machines, names_, bodies, rows.end.tolist()))


@lru_cache(maxsize=4096)
def _head(label: Label, series: Name, identity: Identity) -> tuple[bytes, bytes, bytes, str, str]:
    """What is the same in all raw events of a series: three pieces of the body, machine and name of the topic."""
    text, number = SEVERITIES[label.severity]
    machine = machine_of(label.by, series)
    alert_key = identity.alert_key(label.rule, label.signal, series)
    attributes = _fields(
        source=identity.source(machine),
        subject=alert_key,
        type="io.edge-agent.alert.raw",
        datacontenttype="application/json",
        dataschema=SCHEMA,
        severitytext=text,
        severitynumber=number,
    )
    data = _fields(
        key=alert_key,
        state="raw",
        severity=label.severity,
        rule={"id": label.rule, "kind": label.kind},
        machine=machine,
        series=list(series),
        signal=label.signal,
        unit=label.unit,
        threshold={"raise": label.raise_limit, "clear": label.clear_limit},
        message=f"{spoken_name(label.by, series)}: {label.condition()}",
    )
    return (
        b'{"specversion":"1.0","id":"' + alert_key.encode() + b"/",
        b'",' + attributes + b',"recordedtime":',
        b'","data":{' + data + b',"window":{"start":"',
        topic_name(machine),
        alert_name(label.signal, label.rule, label.by, series),
    )


def _encode_values(label: Label, rows: Rows, names: Callable[[int], Name], identity: Identity) -> list[Message]:
    """One message a row whose body is the number alone and whose time is the start of the window."""
    prefixes: dict[int, str] = {}
    machines: dict[int, str] = {}
    topics: dict[int, str] = {}
    for key in np.unique(rows.key).tolist():
        series = names(key)
        prefixes[key] = identity.alert_key(label.rule, label.signal, series) + "/"
        machines[key] = topic_name(machine_of(label.by, series))
        topics[key] = alert_name(label.signal, label.rule, label.by, series)
    keys = rows.key.tolist()
    counts = orjson.dumps(rows.values["emission"].astype(np.int64), option=orjson.OPT_SERIALIZE_NUMPY)
    columns = zip(
        map(str.__add__, map(prefixes.__getitem__, keys), counts[1:-1].decode().split(",")),
        repeat("raw"),
        map(machines.__getitem__, keys),
        map(topics.__getitem__, keys),
        _tokens(rows, label.metric),
        rows.start.tolist(),
        repeat(False),
        strict=False,
    )
    return list(map(tuple.__new__, repeat(Message), columns))  # half the time of Message(...)


def encode_results(
    result: str, rows: Rows, names: Callable[[int], Name], by: tuple[str, ...], identity: Identity
) -> list[Message]:
    """One `metric` message a window result or score; its id is made of its series, window and values."""
    heads: dict[int, tuple[str, bytes, str]] = {}
    for key in np.unique(rows.key).tolist():
        series = names(key)
        machine = machine_of(by, series)
        fixed = _fields(
            source=identity.source(machine),
            type="io.edge-agent.window.result",
            subject=result,
            datacontenttype="application/json",
        )
        data = _fields(result=result, machine=machine, series=list(series))
        topic = topic_name(machine)
        heads[key] = (
            identity.alert_key(result, "result", series),
            fixed + b',"data":{' + data + b',"window":{"start":"',
            topic,
        )
    mine = [heads[key] for key in rows.key.tolist()]
    ends = _times(rows.end)
    rests = _assemble(
        [head[1] for head in mine], _times(rows.start), b'","end":"', ends, b'"}', *_objects(rows),
        b'},"time":"', ends, b'"}',
    )  # fmt: skip
    name = topic_name(result)
    messages = []
    for (key_id, _, machine), rest, end in zip(mine, rests, rows.end.tolist(), strict=True):
        identifier = f"{key_id}/{end}/{zlib.crc32(rest):08x}"
        body = b'{"specversion":"1.0","id":"' + identifier.encode() + b'",' + rest
        messages.append(Message(identifier, "metric", machine, name, body, end))
    return messages


Part = bytes | list[bytes]


def _assemble(*parts: Part) -> list[bytes]:
    """Joins columns of text row by row; a list has a text a row, bytes are for all; none has a line break."""
    n = len(next(part for part in parts if isinstance(part, list)))
    flat: list[bytes] = [b"\n"] * (n * (len(parts) + 1))
    for i, part in enumerate(parts):
        flat[i :: len(parts) + 1] = part if isinstance(part, list) else [part] * n
    return b"".join(flat).split(b"\n")[:n]


def _fields(**fields: object) -> bytes:
    """JSON of an object's fields without its braces."""
    return b",".join(_json(name) + b":" + _json(value) for name, value in fields.items())


def _json(value: object) -> bytes:
    """JSON of texts, numbers and collections of these; what is no valid Unicode in a text becomes `?`."""
    try:
        return orjson.dumps(value, default=_plain, option=orjson.OPT_SERIALIZE_NUMPY)
    except TypeError:
        return orjson.dumps(_cleaned(value), default=_plain, option=orjson.OPT_SERIALIZE_NUMPY)


def _cleaned(value: object) -> object:
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    if isinstance(value, Mapping):
        return {_cleaned(name): _cleaned(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_cleaned(part) for part in value]
    return value


def _times(times: Ints) -> list[bytes]:
    """RFC 3339 of each time, as `rfc3339`; each distinct time is written once."""
    milliseconds = np.floor_divide(times, 1_000_000).tolist()
    distinct = list(set(milliseconds))
    shown = np.datetime_as_string(np.array(distinct, dtype="datetime64[ms]"), unit="ms").tolist()
    table = {time: text.encode() + b"Z" for time, text in zip(distinct, shown, strict=True)}
    return [table[time] for time in milliseconds]


def _tokens(rows: Rows, column: str) -> list[bytes]:
    """JSON of each number of a column; null where it is not finite or the column is absent."""
    values = rows.values.get(column)
    if values is None:
        return [b"null"] * len(rows)
    return _numbers(np.ascontiguousarray(values, dtype=np.float64))


def _numbers(values: Any) -> list[bytes]:
    return orjson.dumps(values, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1].split(b",") if len(values) else []


def _objects(rows: Rows, hidden: tuple[str, ...] = ()) -> list[Part]:
    """The parts that write `,"values":{...}` with all columns but the hidden ones; none if there are none."""
    columns: list[tuple[str, list[bytes]]] = [
        (name, _tokens(rows, name)) for name in rows.values if name not in hidden
    ]
    for name, text in rows.texts.items():
        words = [*(_json(word) for word in text.words), b"null"]
        columns.append((name, [words[code] for code in text.codes.tolist()]))
    columns.extend((name, [_json(value) for value in values]) for name, values in rows.lists.items())
    parts: list[Part] = []
    for name, column in columns:
        parts += [(b"," if parts else b',"values":{') + _json(name) + b":", column]
    return [*parts, b"}"] if parts else []


KINDS: frozenset[Kind] = frozenset(("alert", "raw", "state", "metric"))
"""The classes of message made here."""
