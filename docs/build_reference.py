"""Writes docs/configuration.md and docs/counters.md from the code: `python docs/build_reference.py`.

The words are those of the docstrings; a test fails when the page is not what this would write.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import re
import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel

sys.path.insert(0, str(Path(__file__).parents[1]))

from agent.ops import counters
from agent.settings.registry import REGISTRY
from agent.settings.settings import AgentSettings, OutboxSettings, PluginSettings
from sensors.units import Duration

PAGE = Path(__file__).with_name("configuration.md")
COUNTERS = Path(__file__).with_name("counters.md")
HEAD = """# Configuration

<!-- written by `python docs/build_reference.py` from the code; change the docstrings there -->

One TOML file. Each table of a component is named by you: `[window.mean_5s]` is the window called `mean_5s`. Its key
`type` picks the class, the other keys are listed here. Unknown keys are refused with the nearest known one;
`agent check -c FILE` says so before anything starts. Durations are text with a unit: `"100ms"`, `"5s"`, `"1h 30m"`.

The environment goes before the file: `AGENT_AGENT__SITE=plant-2`, `AGENT_SOURCE__LINE__PORT=/dev/ttyUSB1`; the
command line goes before both: `--set source.line.port=/dev/ttyUSB1`. `config/` has a commented example for each
use.

"""
ORDER = ("source", "codec", "window", "detector", "rule", "sink")


def page() -> str:
    """The whole page."""
    parts = [
        HEAD,
        _table("agent", AgentSettings),
        _table("outbox", OutboxSettings),
        _table("plugins", PluginSettings),
    ]
    for kind in ORDER:
        table = "codec = { type = ... }` of a source" if kind == "codec" else f"[{kind}.NAME]`"
        parts.append(f"## `{table}\n\n")
        parts += [_component(name, where) for name, where in REGISTRY[kind].items()]
    return "".join(parts).rstrip() + "\n"


def _table(name: str, model: type[BaseModel]) -> str:
    lines = [f"## `[{name}]`\n\n", "| key | default | meaning |\n|---|---|---|\n"]
    for key, item in model.model_fields.items():
        default = _shown(item.default) if item.default_factory is None and not item.is_required() else ""
        lines.append(f"| `{key}` | {default} | {item.description} |\n")
    return "".join(lines) + "\n"


def _component(name: str, where: str) -> str:
    module, _, attribute = where.partition(":")
    try:
        cls: Any = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        return f'### `type = "{name}"`\n\nNot documented here: {error}.\n\n'
    meanings: dict[str, str] = {}
    for parent in reversed(cls.__mro__[:-1]):  # what a base class says of its fields holds here, too
        summary, said = _docstring(inspect.cleandoc(parent.__doc__ or ""))
        meanings |= said
    lines = [f'### `type = "{name}"`\n\n{summary}\n\n', "| key | default | meaning |\n|---|---|---|\n"]
    for item in dataclasses.fields(cls):
        if not item.init or item.name.startswith("_"):
            continue
        lines.append(f"| `{item.name.rstrip('_')}` | {_default(item)} | {_cell(meanings.get(item.name, ''))} |\n")
    return "".join(lines) + "\n"


def _docstring(text: str) -> tuple[str, dict[str, str]]:
    """Words before the first section, and the meaning of each attribute."""
    head = re.split(r"^(?:Attributes|Args|Raises):$", text, maxsplit=1, flags=re.MULTILINE)[0].strip()
    meanings: dict[str, str] = {}
    for section in re.findall(r"^(?:Attributes|Args):\n((?:[ ]+.*\n?|\n)*)", text, flags=re.MULTILINE):
        for item in re.finditer(r"^    (\w+):[ ]*(.*(?:\n {5,}.*)*)", section, flags=re.MULTILINE):
            meanings[item[1]] = " ".join(item[2].split())
    return head, meanings


def _default(item: dataclasses.Field[Any]) -> str:
    if item.default is not dataclasses.MISSING:
        return _shown(item.default)
    if item.default_factory is not dataclasses.MISSING:
        value = item.default_factory()
        return _shown(value) if isinstance(value, list | dict | tuple | frozenset | str | int) and value else ""
    return "*needed*"


def _shown(value: object) -> str:
    if value is None or value == "" or (not isinstance(value, bool | int | float) and not value):
        return ""
    if isinstance(value, Duration):
        return f'`"{value}"`'
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        value = list(value)
    if isinstance(value, frozenset | set):
        value = sorted(value)
    return f"`{_cell(repr(value))}`".replace("'", '"') if not dataclasses.is_dataclass(value) else ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page())
    COUNTERS.write_text(counters.page())
