"""Configuration tables to objects: `type` picks the class, the other keys are its dataclass fields.

Classes are named as strings, so that importing this pulls in none of them and a missing optional library breaks
only its own driver. Other packages add classes by the entry-point groups `edge_agent.sources`, `.codecs`,
`.windows`, `.detectors`, `.rules` and `.sinks`.
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import re
import types
import typing
from collections.abc import Iterable, Mapping
from functools import lru_cache
from importlib.metadata import entry_points
from pathlib import Path
from types import MappingProxyType
from typing import Any

from agent.core.files import ColumnsFile, FromFile
from agent.files import read_columns, read_text

REGISTRY: dict[str, dict[str, str]] = {
    "source": {
        "serial": "sensors.serial_port:SerialSource",
        "tcp": "sensors.tcp:TcpSource",
        "file": "sensors.file:FileSource",
        "recording": "sensors.recording:RecordingSource",
        "mqtt": "sensors.mqtt:MqttSource",
        "kafka": "sensors.kafka:KafkaSource",
        "temperature": "sensors.simulated:Temperature",
        "voltage": "sensors.simulated:Voltage",
        "orders": "sensors.simulated:Orders",
    },
    "codec": {
        "json": "sensors.codecs.json_lines:JsonLines",
        "csv": "sensors.codecs.csv:Csv",
        "keyvalue": "sensors.codecs.keyvalue:KeyValue",
        "influx": "sensors.codecs.influx:Influx",
        "nmea": "sensors.codecs.nmea:Nmea",
        "binary": "sensors.codecs.binary:Binary",
    },
    "window": {
        "tumbling": "agent.windows.aligned:Tumbling",
        "hopping": "agent.windows.aligned:Hopping",
        "count": "agent.windows.count:CountWindow",
        "running": "agent.windows.running:Running",
        "cumulate": "agent.windows.aligned:Cumulate",
        "session": "agent.windows.session:Session",
        "sliding": "agent.windows.sliding:Sliding",
    },
    "detector": {
        "anomaly_rate": "agent.detectors.anomaly_rate:AnomalyRate",
        "auto": "agent.detectors.auto:Auto",
        "calibrated": "agent.detectors.calibrated:Calibrated",
        "combined": "agent.detectors.combination:Combined",
        "contexts": "agent.detectors.contexts:Contexts",
        "cusum": "agent.detectors.cusum:Cusum",
        "ewma": "agent.detectors.ewma:Ewma",
        "mains": "agent.detectors.mains:Mains",
        "missing": "agent.detectors.missing:Missing",
        "kl": "agent.detectors.kl:Kl",
        "neighbour": "agent.detectors.neighbour:Neighbour",
        "noise_burst": "agent.detectors.noise_burst:NoiseBurst",
        "page_hinkley": "agent.detectors.page_hinkley:PageHinkley",
        "pca": "agent.detectors.pca:Pca",
        "robust_z": "agent.detectors.robust_z:RobustZ",
        "seasonal": "agent.detectors.seasonal:Seasonal",
        "spatial": "agent.detectors.spatial:Spatial",
        "spectral": "agent.detectors.spectral:Spectral",
        "spike": "agent.detectors.spike:Spike",
        "stuck": "agent.detectors.stuck:Stuck",
        "tutorial_kl": "agent.detectors.tutorial_kl:TutorialKL",
    },
    "rule": {
        "count": "agent.rules.count:Count",
        "deadman": "agent.rules.deadman:Deadman",
        "filter": "agent.rules.filter:Filter",
        "having": "agent.rules.having:Having",
        "pattern": "agent.rules.pattern:Pattern",
        "rate": "agent.rules.rate:Rate",
        "stuck": "agent.rules.stuck:Stuck",
        "threshold": "agent.rules.threshold:Threshold",
    },
    "sink": {
        "mqtt": "agent.sinks.mqtt:MqttSink",
        "kafka": "agent.sinks.kafka:KafkaSink",
        "lines": "agent.sinks.lines:LinesSink",
    },
}
_DEFAULT_TYPE = {"rule": "threshold", "detector": "auto"}
_NESTED = {"Codec": "codec", "Streaming": "detector"}  # a field annotated with it holds a table of this kind
_AROUND = {
    "detector": {"metric": "", "on": "", "by": ("machine",)}
}  # what the component around a nested table says


class ConfigError(Exception):
    """What is wrong with a configuration, one sentence a problem, each with its key path."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(self.problems))


def kinds(kind: str) -> dict[str, str]:
    """Names of the classes of a kind, built in and from other packages, with where they are."""
    return REGISTRY[kind] | _installed(kind)


@lru_cache(maxsize=8)
def _installed(kind: str) -> dict[str, str]:
    return {point.name: point.value for point in entry_points(group=f"edge_agent.{kind}s")}


def build(kind: str, path: str, table: Mapping[str, Any], around: Mapping[str, Any] = MappingProxyType({})) -> Any:
    """The object that a table describes.

    Args:
        kind: "source", "codec", "window", "detector", "rule" or "sink".
        path: where the table stands, such as `source.line`, for messages.
        table: the table as read.
        around: values of fields that another component says, where it has them.

    Raises:
        ConfigError: an unknown type or key (with the nearest known one), a value that does not fit, a missing
            library; all problems of the table at once.
    """
    name = table.get("type", _DEFAULT_TYPE.get(kind))
    if not isinstance(name, str):
        raise ConfigError([f"{path}: type is missing; one of {', '.join(sorted(kinds(kind)))}"])
    if name not in kinds(kind):
        raise ConfigError([f'{path}.type: unknown {kind} "{name}"{nearest(name, kinds(kind))}'])
    cls = _load(kinds(kind)[name], f"{path}.type", name)
    fields = {f.name.rstrip("_"): f for f in dataclasses.fields(cls) if f.init}
    hints = _hints(cls)
    problems: list[str] = []
    meant: set[str] = set()  # keys that are there, but misspelt
    arguments = {name: value for name, value in around.items() if name in fields}
    for key, value in table.items():
        if key == "type":
            continue
        if key not in fields:
            problems.append(f"{path}.{key}: unknown key{nearest(key, fields.keys() - around)}")
            meant |= set(difflib.get_close_matches(key, fields, n=1))
            continue
        try:
            arguments[fields[key].name] = _value(hints[fields[key].name], value, f"{path}.{key}")
        except ConfigError as error:
            problems += error.problems
    for key, item in fields.items():
        missing = item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING
        if missing and item.name not in arguments and key not in {*table, *meant}:
            problems.append(f"{path}.{key}: missing; {kind} {name} needs it")
    if problems:
        raise ConfigError(problems)
    try:
        return cls(**arguments)
    except (ValueError, TypeError) as error:
        raise ConfigError([f"{path}: {error}"]) from error


def keys_of(kind: str, name: str) -> tuple[str, ...]:
    """Keys that a table of this type may have.

    Raises:
        ConfigError: an unknown type, or a missing library.
    """
    if name not in kinds(kind):
        raise ConfigError([f'unknown {kind} "{name}"{nearest(name, kinds(kind))}'])
    cls = _load(kinds(kind)[name], f"{kind}.{name}", name)
    return tuple(f.name.rstrip("_") for f in dataclasses.fields(cls) if f.init)


def nearest(word: str, known: Iterable[str]) -> str:
    """`; did you mean "x"?`, or the list of all known names."""
    known = sorted(known)
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f'; did you mean "{close[0]}"?' if close else f"; known are {', '.join(known)}"


def _load(where: str, path: str, name: str) -> Any:
    module, _, attribute = where.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except ImportError as error:
        missing = error.name or str(error)
        raise ConfigError(
            [f'{path}: "{name}" needs the Python package {missing}, which is not installed']
        ) from error


@lru_cache(maxsize=64)
def _hints(cls: Any) -> dict[str, Any]:
    return typing.get_type_hints(cls, include_extras=True)


def _value(hint: Any, value: Any, path: str) -> Any:
    """The value checked against the annotation of its field."""
    nested = _nested(hint)
    if nested is not None:
        if isinstance(value, str):
            value = {"type": value}
        if not isinstance(value, Mapping):
            raise ConfigError([f'{path}: expected a table with "type" or the name of a {nested}'])
        return _inside(nested, path, value)
    file = _file(hint)
    if file is not None:
        named, (table, _, key) = _value(str, value, path), path.rpartition(".")
        try:
            return (
                None if not named else read_columns(Path(named)) if file is ColumnsFile else read_text(named, key)
            )
        except ValueError as error:
            raise ConfigError([f"{table}: {error}"]) from error
    item = _nested_item(hint)
    if item is not None:
        if not isinstance(value, list | tuple):
            raise ConfigError([f"{path}: expected a list, each a table or the name of a {item}"])
        return _all_inside(hint, value, path)
    from pydantic import TypeAdapter, ValidationError  # slow to import; only configuration needs it

    try:
        return TypeAdapter(hint).validate_python(value)
    except ValidationError as error:
        raise ConfigError(
            [f"{'.'.join([path, *map(str, item['loc'])])}: {_plain(item)}" for item in error.errors()]
        ) from error


def _inside(kind: str, path: str, table: Mapping[str, Any]) -> Any:
    """A component inside another, which says for both what they watch."""
    around = _AROUND.get(kind, {})
    problems = [f"{path}.{key}: the {kind} around it says that; leave it out" for key in table if key in around]
    if problems:
        raise ConfigError(problems)
    return build(kind, path, table, around)


def _all_inside(hint: Any, values: Iterable[Any], path: str) -> tuple[Any, ...]:
    """A list of components inside another."""
    made, problems = [], []
    for i, value in enumerate(values):
        try:
            made.append(_value(typing.get_args(hint)[0], value, f"{path}.{i}"))
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    return tuple(made)


def _nested_item(hint: Any) -> str | None:
    """The kind of the items, where the annotation is `tuple[X, ...]` of components."""
    arguments = typing.get_args(hint)
    return _nested(arguments[0]) if typing.get_origin(hint) is tuple and arguments[1:] == (...,) else None


def _nested(hint: Any) -> str | None:
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    for option in options:
        kind = _NESTED.get(getattr(option, "__name__", ""))
        if kind is not None:
            return kind
    return None


def _file(hint: Any) -> type[FromFile] | None:
    """What a field wants to get of the file that its value names; None where it is no file."""
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    return next((option for option in options if isinstance(option, type) and issubclass(option, FromFile)), None)


def _plain(item: Any) -> str:
    """What is wrong with a value; of a word that is none of some, the nearest of them."""
    said = str(item["msg"]).removeprefix("Value error, ")
    if item["type"] == "literal_error":
        words = [word.strip("'") for word in re.split(r", | or ", item["ctx"]["expected"])]
        near = difflib.get_close_matches(str(item["input"]), words, n=1, cutoff=0.6)
        said += f'; did you mean "{near[0]}"?' if near else ""
    return said
