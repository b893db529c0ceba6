"""Configuration tables to objects: `type` picks the class, the other keys are its dataclass fields.

Classes are named as strings, so that importing this pulls in none of them and a missing optional library breaks
only its own driver. Other packages, and files beside the configuration, add classes (`agent.settings.plugins`);
these are checked when they are first named (`agent.settings.part_checks`), and cannot take the name of one that is built
in.
"""

from __future__ import annotations

import dataclasses
import difflib
import pkgutil
import re
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from agent.core.files import ColumnsFile, FromFile
from agent.settings import part_checks as checks
from agent.settings.errors import ConfigError as ConfigError
from agent.settings.files import read_columns, read_text
from agent.settings.former_keys import RENAMED, RETIRED, advice, both
from agent.settings.plugins import Found, Outside, installed

REGISTRY: dict[str, dict[str, str]] = {
    "source": {
        "serial": "sensors.drivers.serial:SerialSource",
        "tcp": "sensors.drivers.tcp:TcpSource",
        "file": "sensors.drivers.file:FileSource",
        "recording": "sensors.drivers.recording:RecordingSource",
        "mqtt": "sensors.drivers.mqtt:MqttSource",
        "kafka": "sensors.drivers.kafka:KafkaSource",
        "temperature": "sensors.drivers.simulated:Temperature",
        "voltage": "sensors.drivers.simulated:Voltage",
        "orders": "sensors.drivers.simulated:Orders",
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
        "tumbling": "agent.windows.hopping:Tumbling",
        "hopping": "agent.windows.hopping:Hopping",
        "count": "agent.windows.count:CountWindow",
        "running": "agent.windows.running:Running",
        "cumulate": "agent.windows.hopping:Cumulate",
        "session": "agent.windows.session:Session",
        "sliding": "agent.windows.sliding:Sliding",
    },
    "detector": {
        "anomaly_rate": "agent.detectors.ensembles.anomaly_rate:AnomalyRate",
        "auto": "agent.detectors.univariate.auto:Auto",
        "calibrated": "agent.detectors.ensembles.calibrated:Calibrated",
        "combined": "agent.detectors.ensembles.combined:Combined",
        "contexts": "agent.detectors.univariate.contexts:Contexts",
        "cusum": "agent.detectors.univariate.cusum:Cusum",
        "ewma": "agent.detectors.univariate.ewma:Ewma",
        "mains": "agent.detectors.power_quality.mains:Mains",
        "missing": "agent.detectors.univariate.missing:Missing",
        "kl": "agent.detectors.histograms.kl:Kl",
        "neighbour": "agent.detectors.univariate.neighbour:Neighbour",
        "noise_burst": "agent.detectors.univariate.noise_burst:NoiseBurst",
        "page_hinkley": "agent.detectors.univariate.page_hinkley:PageHinkley",
        "pca": "agent.detectors.multivariate.pca:Pca",
        "robust_z": "agent.detectors.univariate.robust_z:RobustZ",
        "seasonal": "agent.detectors.univariate.seasonal:Seasonal",
        "spatial": "agent.detectors.univariate.spatial:Spatial",
        "spectral": "agent.detectors.power_quality.spectral:Spectral",
        "spike": "agent.detectors.univariate.spike:Spike",
        "stuck": "agent.detectors.univariate.stuck:Stuck",
        "tutorial_kl": "agent.detectors.histograms.tutorial_kl:TutorialKL",
    },
    "rule": {
        "count": "agent.rules.count:Count",
        "deadman": "agent.rules.deadman:Deadman",
        "filter": "agent.rules.filter:Filter",
        "having": "agent.rules.having:Having",
        "pattern": "agent.rules.pattern.pattern:Pattern",
        "rate": "agent.rules.rate:Rate",
        "stuck": "agent.rules.stuck:Unchanged",
        "threshold": "agent.rules.threshold:Threshold",
    },
    "sink": {
        "mqtt": "agent.sinks.mqtt:MqttSink",
        "kafka": "agent.sinks.kafka:KafkaSink",
        "lines": "agent.sinks.lines:LinesSink",
    },
}
_DEFAULT_TYPE = {"rule": "threshold", "detector": "auto"}
_NESTED = ("codec", "detector")
"""Kinds whose base, or a class below it, annotates a field that holds a table of that kind."""
_AROUND = {
    "detector": {"metric": "", "on": "", "by": ("machine",)}
}  # what the component around a nested table sets


@dataclass(frozen=True, slots=True)
class Made:
    """A part that is not built in, as it was made.

    Attributes:
        path: of its table.
        word: what it is called in messages: its type and where it comes from.
    """

    path: str
    kind: str
    word: str
    part: Any


class Registry:
    """All classes that a configuration can name, and the objects made of them.

    Args:
        files: parts of files beside the configuration.

    Attributes:
        made: parts of others made so far.
        warnings: what is right but will not be in the next release.
    """

    def __init__(self, files: Found = MappingProxyType({})) -> None:
        self._files = files
        self._checked: dict[tuple[str, str], Any] = {}
        self.made: list[Made] = []
        self.warnings: list[str] = []

    def names(self, kind: str) -> list[str]:
        """Names of the classes of a kind."""
        return sorted({*REGISTRY[kind], *installed()[kind], *self._files.get(kind, ())})

    def build(
        self, kind: str, path: str, table: Mapping[str, Any], around: Mapping[str, Any] = MappingProxyType({})
    ) -> Any:
        """The object that a table describes.

        Args:
            kind: "source", "codec", "window", "detector", "rule" or "sink".
            path: where the table stands, such as `source.line`, for messages.
            table: the table as read.
            around: values of fields that another component sets, where it has them.

        Raises:
            ConfigError: an unknown type or key (with the nearest known one), a value that does not fit, a missing
                library, a part that breaks the protocol of its kind; all problems of the table at once.
        """
        name = table.get("type", _DEFAULT_TYPE.get(kind))
        if not isinstance(name, str):
            raise ConfigError([f"{path}: type is missing; one of {', '.join(self.names(kind))}"])
        cls, outside = self._class(kind, name, f"{path}.type")
        fields = {f.name.rstrip("_"): f for f in dataclasses.fields(cls) if f.init}
        hints = _hints(cls)
        problems: list[str] = []
        meant: set[str] = set()  # keys that are there, but misspelt
        arguments = {name: value for name, value in around.items() if name in fields}
        for written, value in table.items():
            key = written
            if key == "type":
                continue
            now = RENAMED.get(kind, {}).get(key, key)
            if now != key and now in fields and key not in fields:
                if now in table:
                    problems.append(both(path, key, now))
                    continue
                self.warnings.append(advice(path, key, now))
                key = now
            if key not in fields:
                if key in RETIRED.get(kind, {}):
                    self.warnings.append(f"{path}.{key}: {RETIRED[kind][key]}")
                    continue
                problems.append(f"{path}.{key}: unknown key{nearest(key, fields.keys() - around)}")
                meant |= set(difflib.get_close_matches(key, fields, n=1))
                continue
            try:
                arguments[fields[key].name] = self._value(hints[fields[key].name], value, f"{path}.{written}")
            except ConfigError as error:
                problems += error.problems
        for key, item in fields.items():
            missing = item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING
            if missing and item.name not in arguments and key not in {*table, *meant}:
                problems.append(f"{path}.{key}: missing; {kind} {name} needs it")
        if problems:
            raise ConfigError(problems)
        if outside is not None:
            return self._outside(kind, path, cls, arguments, f'"{name}" ({outside.origin})')
        try:
            return cls(**arguments)
        except (ValueError, TypeError) as error:
            raise ConfigError([f"{path}: {error}"]) from error

    def keys_of(self, kind: str, name: str) -> tuple[str, ...]:
        """Keys that a table of this type may have.

        Raises:
            ConfigError: an unknown type, or a missing library.
        """
        cls, _ = self._class(kind, name, f"{kind}.{name}")
        return tuple(f.name.rstrip("_") for f in dataclasses.fields(cls) if f.init)

    def _outside(self, kind: str, path: str, cls: Any, arguments: Mapping[str, Any], word: str) -> Any:
        """A part of somebody else, made with care."""
        try:
            part = checks.construct(cls, arguments)
        except ValueError as error:
            raise ConfigError([f"{path}: {error}"]) from error
        except checks.BrokenPartError as error:
            raise ConfigError([f"{path}: {word} {error}"]) from error
        problems = checks.hooks(kind, part)
        if problems:
            raise ConfigError([f"{path}: {word} {problem}" for problem in problems])
        self.made.append(Made(path, kind, word, part))
        return part

    def _class(self, kind: str, name: str, path: str) -> tuple[Any, Outside | None]:
        """The class of this name, and where it comes from if it is not built in."""
        outside = list(installed()[kind].get(name, ()))
        if name in self._files.get(kind, ()):
            outside.append(self._files[kind][name])
        if name in REGISTRY[kind]:
            if outside:
                taken = f'{outside[0].origin} is a {kind} "{name}", too; built-ins cannot be shadowed'
                raise ConfigError([f"{path}: {taken}, give it another name"])
            return _load(REGISTRY[kind][name], path, name), None
        if not outside:
            raise ConfigError([f'{path}: unknown {kind} "{name}"{nearest(name, self.names(kind))}'])
        if len(outside) > 1:
            origins = " and ".join(part.origin for part in outside)
            raise ConfigError([f'{path}: "{name}" is {origins}; one of them needs another name'])
        if (kind, name) not in self._checked:
            self._checked[kind, name] = self._check(kind, outside[0], path)
        return self._checked[kind, name], outside[0]

    def _check(self, kind: str, outside: Outside, path: str) -> Any:
        word = f'{path}: "{outside.name}" ({outside.origin})'
        cls = outside.cls
        try:
            if outside.point is not None:
                cls = checks.within(outside.point.load)
        except ModuleNotFoundError as error:
            raise ConfigError([f"{word} needs the Python package {error.name}, which is not installed"]) from error
        except Exception as error:
            raise ConfigError([f"{word} cannot be imported: {checks.describe(error)}"]) from error
        problems = checks.problems_of(kind, cls) or _unreadable(cls)
        if problems:
            raise ConfigError([f"{word} {problem}" for problem in problems])
        return cls

    def _value(self, hint: Any, value: Any, path: str) -> Any:
        """The value checked against the annotation of its field."""
        nested = _nested(hint)
        if nested is not None:
            if isinstance(value, str):
                value = {"type": value}
            if not isinstance(value, Mapping):
                raise ConfigError([f'{path}: expected a table with "type" or the name of a {nested}'])
            return self._inside(nested, path, value)
        file = _file(hint)
        if file is not None:
            named, (table, _, key) = self._value(str, value, path), path.rpartition(".")
            try:
                if not named:
                    return None
                return read_columns(Path(named)) if file is ColumnsFile else read_text(named, key)
            except ValueError as error:
                raise ConfigError([f"{table}: {error}"]) from error
        item = _nested_item(hint)
        if item is not None:
            if not isinstance(value, list | tuple):
                raise ConfigError([f"{path}: expected a list, each a table or the name of a {item}"])
            return self._all_inside(hint, value, path)
        from pydantic import TypeAdapter, ValidationError  # slow to import; only configuration needs it

        try:
            return TypeAdapter(hint).validate_python(value)
        except ValidationError as error:
            raise ConfigError(
                [f"{'.'.join([path, *map(str, item['loc'])])}: {_plain(item)}" for item in error.errors()]
            ) from error

    def _inside(self, kind: str, path: str, table: Mapping[str, Any]) -> Any:
        """A component inside another, which sets for both what they watch."""
        around = _AROUND.get(kind, {})
        problems = [f"{path}.{key}: the {kind} around it says that; leave it out" for key in table if key in around]
        if problems:
            raise ConfigError(problems)
        return self.build(kind, path, table, around)

    def _all_inside(self, hint: Any, values: Iterable[Any], path: str) -> tuple[Any, ...]:
        """A list of components inside another."""
        made, problems = [], []
        for i, value in enumerate(values):
            try:
                made.append(self._value(typing.get_args(hint)[0], value, f"{path}.{i}"))
            except ConfigError as error:
                problems += error.problems
        if problems:
            raise ConfigError(problems)
        return tuple(made)


def build(kind: str, path: str, table: Mapping[str, Any], around: Mapping[str, Any] = MappingProxyType({})) -> Any:
    """The object that a table describes, of a configuration without files of parts; see `Registry.build`."""
    return Registry().build(kind, path, table, around)


def nearest(word: str, known: Iterable[str]) -> str:
    """`; did you mean "x"?`, or the list of all known names."""
    known = sorted(known)
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f'; did you mean "{close[0]}"?' if close else f"; known are {', '.join(known)}"


def _load(where: str, path: str, name: str) -> Any:
    try:
        return pkgutil.resolve_name(where)
    except ImportError as error:
        missing = error.name or str(error)
        raise ConfigError(
            [f'{path}: "{name}" needs the Python package {missing}, which is not installed']
        ) from error


@lru_cache(maxsize=64)
def _hints(cls: Any) -> dict[str, Any]:
    return typing.get_type_hints(cls, include_extras=True)


def _unreadable(cls: Any) -> list[str]:
    """Fields of a class that no value of a configuration can fill."""
    from pydantic import TypeAdapter
    from pydantic.errors import PydanticSchemaGenerationError, PydanticUserError

    fields = [item.name for item in dataclasses.fields(cls) if item.init]
    if "type" in fields:
        return ["has a field type; that key picks the class, call it something else"]
    try:
        hints = _hints(cls)
    except (NameError, TypeError, AttributeError) as error:
        return [f"has a field whose type is not known: {error}; import it where the class is written"]
    problems = []
    for name in fields:
        if (_nested(hints[name]) or _nested_item(hints[name]) or _file(hints[name])) is None:
            try:
                TypeAdapter(hints[name])
            except (PydanticSchemaGenerationError, PydanticUserError):
                problems.append(
                    f"has a field {name} of type {hints[name]!r}, which no value of TOML fits; use numbers, texts, "
                    "lists, dicts, Path, Duration or a part, or field(init=False)"
                )
    return problems


def _nested_item(hint: Any) -> str | None:
    """The kind of the items, where the annotation is `tuple[X, ...]` of components."""
    arguments = typing.get_args(hint)
    return _nested(arguments[0]) if typing.get_origin(hint) is tuple and arguments[1:] == (...,) else None


def _nested(hint: Any) -> str | None:
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    classes = [option for option in options if isinstance(option, type)]
    return next((kind for kind in _NESTED for cls in classes if issubclass(cls, checks.base_of(kind))), None)


def _file(hint: Any) -> type[FromFile] | None:
    """What a field wants to get of the file that its value names; None where it is no file."""
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    return next((option for option in options if isinstance(option, type) and issubclass(option, FromFile)), None)


def _plain(item: Any) -> str:
    """What is wrong with a value; of a word that is none of some, the nearest of them."""
    text = str(item["msg"]).removeprefix("Value error, ")
    if item["type"] == "literal_error":
        words = [word.strip("'") for word in re.split(r", | or ", item["ctx"]["expected"])]
        near = difflib.get_close_matches(str(item["input"]), words, n=1, cutoff=0.6)
        text += f'; did you mean "{near[0]}"?' if near else ""
    return text
