"""What a configuration says to the commands that work on files: the tables, and the codec that reads a file live."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from agent.settings.registry import REGISTRY, build
from sensors.codecs.csv import Csv
from sensors.codecs.fields import Fields


def tables_of(config: Path | None) -> dict[str, Any]:
    """The tables of a configuration; none without one.

    Raises:
        ValueError: it cannot be read; the message names it.
    """
    if config is None:
        return {}
    try:
        return tomllib.loads(config.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"cannot read {config}: {error.strerror}") from error
    except ValueError as error:
        raise ValueError(f"{config}: {error}") from error


def codec_of(config: Path | None, detector: str, path: Path) -> Fields | None:
    """The codec of the source that reads a file: the one `detector` stands on, the one of this path, or the first.

    None without a configuration, and where the codec is one of frames without names.

    Raises:
        ConfigError: the table of the codec is wrong.
    """
    tables = tables_of(config)
    sources: dict[str, dict[str, Any]] = tables.get("source", {})
    steps: dict[str, dict[str, Any]] = {**tables.get("window", {}), **tables.get("detector", {})}
    name, seen = detector, set()
    while name in steps and name not in seen:
        seen.add(name)
        name = str(steps[name].get("on", ""))
    of_path = (n for n, table in sources.items() if Path(str(table.get("path", ""))).name == path.name)
    with_time = (n for n, table in sources.items() if table.get("codec", {}).get("time"))
    found = name if name in sources else next(of_path, next(with_time, next(iter(sources), "")))
    if not found:
        return None
    table = sources[found].get("codec")
    if table is None:
        return Csv() if sources[found].get("type") == "file" else None
    if table.get("type") not in REGISTRY["codec"]:
        return None  # a part of others, of which only the agent knows where it is
    codec = build("codec", f"source.{found}.codec", table)
    return codec if isinstance(codec, Fields) else None


def names_detector(config: Path | None, detector: str) -> bool:
    """Whether `detector` is a table of the configuration; if not, but a type, only the codec is taken from there."""
    if config is None:
        return False
    return detector in tables_of(config).get("detector", {}) or detector not in REGISTRY["detector"]
