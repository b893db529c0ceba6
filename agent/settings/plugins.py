"""Parts that others wrote: those of installed packages, and those of plain files beside the configuration.

A package names its classes in the entry-point groups `edge_agent.sources`, `.codecs`, `.windows`, `.detectors`,
`.rules` and `.sinks`. A file is named under `[plugins] paths`; each class in it that inherits the base of a kind and
has a name, `type = "my_detector"`, is a part.
"""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from agent.settings.part_checks import BASES, base_of, describe, within


class PluginError(Exception):
    """What is wrong with a file of parts."""


@dataclass(frozen=True, slots=True)
class Outside:
    """A part that is not built in.

    Attributes:
        origin: the package or file it comes from, for people.
        cls: its class; None = `point` has to be loaded.
    """

    name: str
    origin: str
    cls: Any = None
    point: EntryPoint | None = None


Found = Mapping[str, Mapping[str, Outside]]
"""Kind -> name -> part."""


@lru_cache(maxsize=1)
def installed() -> dict[str, dict[str, list[Outside]]]:
    """Kind -> name -> parts of installed packages; two packages may use one name."""
    found: dict[str, dict[str, list[Outside]]] = {kind: {} for kind in BASES}
    for kind, names in found.items():
        for point in entry_points(group=f"edge_agent.{kind}s"):
            package = "" if point.dist is None else f"package {point.dist.name}, "
            parts = names.setdefault(point.name, [])
            if all(point.value != part.point.value for part in parts if part.point is not None):
                parts.append(Outside(point.name, package + point.value, point=point))
    return found


def from_files(paths: Iterable[Path], built_in: Mapping[str, Iterable[str]]) -> tuple[Found, list[str]]:
    """The parts of these files, and what is wrong with the files.

    Args:
        paths: of the files.
        built_in: kind -> names that are taken.
    """
    found: dict[str, dict[str, Outside]] = {kind: {} for kind in BASES}
    problems: list[str] = []
    for path in paths:
        try:
            classes = list(_parts(_module(path)))
        except PluginError as error:
            problems.append(f"plugins.paths: {error}")
            continue
        if not classes:
            bases = "Source, Codec, Operator, StreamingDetector, Rule or Sink"
            problems.append(
                f"plugins.paths: {path}: no part in it; a part inherits {bases} of agent.api and has a name, "
                'type = "my_name"'
            )
        for kind, name, cls in classes:
            where = f"{path}, class {cls.__name__}"
            taken = found[kind].get(name)
            if name in built_in[kind]:
                problems.append(
                    f'plugins.paths: {where}: there is a {kind} "{name}" in the agent; built-ins cannot be shadowed, '
                    "give it another type"
                )
            elif taken is not None:
                problems.append(f'plugins.paths: {where}: "{name}" is also {taken.origin}; give one another type')
            else:
                found[kind][name] = Outside(name, where, cls)
    return found, problems


def _module(path: Path) -> ModuleType:
    """The file as a module; a second time the same one, so that a reload of the configuration changes no class."""
    if "\0" in str(path):
        raise PluginError(f"{str(path)!r}: is no path")
    name = f"edge_agent_plugins.{path.stem}_{sha256(str(path.resolve()).encode()).hexdigest()[:8]}"
    if name in sys.modules:
        return sys.modules[name]
    if not path.is_file():
        raise PluginError(f"{path}: no such file; paths are relative to the configuration")
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise PluginError(f"{path}: is no Python file; its name has to end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look up the types of their fields there
    load = spec.loader.exec_module
    try:
        within(lambda: load(module))
    except Exception as error:
        del sys.modules[name]
        raise PluginError(f"{path}: cannot be imported: {describe(error, str(path))}") from error
    return module


def _parts(module: ModuleType) -> Iterator[tuple[str, str, type[Any]]]:
    """Kind, name and class of each part written in the module."""
    for cls in list(vars(module).values()):
        if not issubclass(type(cls), type) or cls.__module__ != module.__name__:
            continue
        name = inspect.getattr_static(cls, "type", None)
        kinds = [kind for kind in BASES if issubclass(cls, base_of(kind))]
        if kinds and isinstance(name, str) and name:
            yield _kind(cls, kinds), name, cls


def _kind(cls: type[Any], kinds: list[str]) -> str:
    """An operator declares whether it is a window; a detector otherwise."""
    return cls.kind if "window" in kinds and cls.kind in kinds else kinds[-1]
