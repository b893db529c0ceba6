"""The configuration: TOML < environment (`AGENT_...`) < command line; unknown keys are refused at any depth."""

from __future__ import annotations

import os
import socket
import tomllib
from collections.abc import Mapping, Sequence
from datetime import date, time
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from agent.settings.errors import TOO_DEEP, check_shape
from agent.settings.former_keys import translated
from agent.settings.registry import ConfigError, nearest
from sensors.units import Duration

Table = dict[str, Any]


def _state_directory() -> str:
    """Where systemd says (`StateDirectory=`), else `state` in the working directory."""
    return os.environ.get("STATE_DIRECTORY", "state").split(":")[0]


class AgentSettings(BaseModel):
    """The table `[agent]`."""

    model_config = ConfigDict(extra="forbid")

    site: str = Field(
        "site", pattern=r"^[a-z0-9_-]{1,64}$", description="Place of the gateway; part of every topic."
    )
    name: str = Field(
        default_factory=lambda: "".join(
            c if c.isalnum() or c in "_-" else "-" for c in socket.gethostname().lower()
        )[:64],
        pattern=r"^[a-z0-9_-]{1,64}$",
        description="Name of this agent; part of every topic. Default: the host name.",
    )
    state: Path = Field(
        default_factory=lambda: Path(_state_directory()), description="Directory of outbox and checkpoint."
    )
    checkpoint_every: Duration = Field(
        Duration("10s"), description="How often what changed of the engine's state is saved, at most."
    )
    checkpoint_bytes_per_day: int = Field(
        2_000_000_000,
        ge=1_000_000,
        description="What saving it may write a day, as flash wears: the larger a save, the longer the next waits. "
        "A crash repeats what was read since the last one.",
    )
    tick: Duration = Field(Duration("1s"), description="How often the clock moves on where nothing is read.")
    max_future: Duration | None = Field(
        Duration("1h"),
        description="Readings further ahead of the host clock are refused; none by `max_future = false`.",
    )
    series: int = Field(100_000, ge=1, description="Most series a grouping keeps.")
    idle: Duration | None = Field(
        Duration("7d"),
        description="Series not seen for so long, with no open alert, are forgotten; `false` keeps all.",
    )
    drain_timeout: Duration = Field(Duration("3s"), description="How long a stop tries to deliver what is left.")
    metrics: bool = Field(False, description="Publish window results too (topic `.../metric`).")
    health: Duration = Field(Duration("60s"), description="How often counters are published (topic `health`).")
    log: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level of log lines.")

    @field_validator("max_future", "idle", mode="before")
    @classmethod
    def _off(cls, value: object) -> object:
        return None if value is False else value


class OutboxSettings(BaseModel):
    """The table `[outbox]`: what is kept for receivers that are away, and how it is sent when they return."""

    model_config = ConfigDict(extra="forbid")

    alert_bytes: int = Field(
        64 << 20,
        ge=1 << 16,
        description="What alerts may occupy on disk; they may take the room of the metrics, too. When it is full "
        "the oldest go, and are counted.",
    )
    metric_bytes: int = Field(
        16 << 20, ge=1 << 16, description="What window results may occupy; they go before any alert."
    )
    alert_age: Duration = Field(Duration("7d"), description="How long alerts are kept.")
    metric_age: Duration = Field(Duration("1h"), description="How long window results are kept.")
    ring_bytes: int = Field(
        8 << 20, ge=1 << 16, description="What is kept in memory while the disk is full or fails."
    )
    replay_after: Duration = Field(
        Duration("10s"), description="What has waited longer when a sink connects is replayed."
    )
    replay_per_second: int = Field(
        5000, ge=1, description="How fast the backlog is replayed; what is new does not wait for it."
    )
    replay_metrics: bool = Field(False, description="Replay late window results, too.")
    confirm_every: Duration = Field(
        Duration("10s"), description="How often confirmations alone are written; a crash repeats at most this much."
    )


class PluginSettings(BaseModel):
    """The table `[plugins]`: parts of your own; see docs/extending.md."""

    model_config = ConfigDict(extra="forbid")

    paths: tuple[Path, ...] = Field(
        (),
        description="Python files with sources, codecs, windows, detectors, rules or sinks; relative to this "
        "configuration.",
    )


class Settings(BaseSettings):
    """A whole configuration. Tables of components are keyed by name; `registry.Registry` makes the objects."""

    model_config = SettingsConfigDict(extra="forbid", env_prefix="AGENT_", env_nested_delimiter="__")

    agent: AgentSettings = Field(default_factory=AgentSettings)
    outbox: OutboxSettings = Field(default_factory=OutboxSettings)
    plugins: PluginSettings = Field(default_factory=PluginSettings)
    source: dict[str, Table] = Field(default_factory=dict)
    window: dict[str, Table] = Field(default_factory=dict)
    detector: dict[str, Table] = Field(default_factory=dict)
    rule: dict[str, Table] = Field(default_factory=dict)
    sink: dict[str, Table] = Field(default_factory=dict)

    _warnings: tuple[str, ...] = PrivateAttr(())

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is right but will not be in the next release."""
        return self._warnings


def load(file: Path | None, overrides: Sequence[str] = ()) -> Settings:
    """Settings of a TOML file, the environment, and `KEY.PATH=VALUE` overrides of the command line.

    Raises:
        ConfigError: the file is missing or no TOML, a key is unknown, a value does not fit. Each problem names file
            and key path.
    """
    tables = read_toml(file) if file is not None else {}
    chosen: dict[str, Any] = {}
    for override in overrides:
        _set(chosen, override)
    where = str(file) if file is not None else "configuration"
    warnings: list[str] = []

    def layer(tables: dict[str, Any], origin: str) -> InitSettingsSource:
        try:
            check_shape(tables)
            translation, found = translated(tables)
        except ValueError as error:
            raise ConfigError([f"{origin}: {error}"]) from error
        warnings.extend(found)
        return InitSettingsSource(Settings, translation)

    class Layers(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return layer(chosen, "--set"), layer(env_settings(), "environment"), layer(tables, where)

    try:
        settings = Layers()
    except ValidationError as error:
        raise ConfigError([f"{where}: {_problem(item)}" for item in error.errors()]) from error
    except SettingsError as error:
        raise ConfigError([f"environment: {error}"]) from error
    beside = Path() if file is None else file.parent
    settings._warnings = tuple(dict.fromkeys(warnings))
    settings.plugins.paths = tuple(beside / path for path in settings.plugins.paths)
    return settings


def read_toml(file: Path) -> dict[str, Any]:
    """The tables of a TOML file."""
    try:
        return tomllib.loads(file.read_bytes().decode("utf-8-sig"))
    except FileNotFoundError as error:
        raise ConfigError([f"{file}: no such file"]) from error
    except OSError as error:
        raise ConfigError([f"{file}: {error.strerror}"]) from error
    except UnicodeDecodeError as error:
        raise ConfigError([f"{file}: not UTF-8 at byte {error.start}"]) from error
    except ValueError as error:  # also of a number with thousands of digits
        raise ConfigError([f"{file}: {error}"]) from error
    except RecursionError as error:
        raise ConfigError([f"{file}: {TOO_DEEP}"]) from error


def unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """Variables that look like ours and change nothing, with the nearest known name."""
    known = set(Settings.model_fields)
    found = []
    for name in environment:
        if name.startswith("AGENT_"):
            first = name.removeprefix("AGENT_").split("__")[0].lower()
            if first not in known:
                found.append(f"{name}{nearest(first, known)}")
    return found


def _set(tables: dict[str, Any], override: str) -> None:
    path, equals, text = override.partition("=")
    if not equals:
        raise ConfigError([f"--set {override}: write KEY.PATH=VALUE, as in source.line.port=/dev/ttyUSB0"])
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        value = text
    if isinstance(value, date | time):  # our settings have times as text
        value = text
    *parents, last = path.strip().split(".")
    for parent in parents:
        tables = tables.setdefault(parent, {})
        if not isinstance(tables, dict):
            raise ConfigError([f"--set {override}: {parent} is no table"])
    tables[last] = value


def _problem(item: Any) -> str:
    path = ".".join(map(str, item["loc"]))
    if item["type"] == "extra_forbidden":
        *parents, key = item["loc"]
        tables = {"agent": AgentSettings, "outbox": OutboxSettings, "plugins": PluginSettings}
        model: Any = tables.get(str(parents[0]), Settings) if parents else Settings
        return f"{path}: unknown key{nearest(str(key), model.model_fields)}"
    if item["type"] == "path_type":
        return f"{path}: a path is a text, in quotes"
    return f"{path}: {str(item['msg']).removeprefix('Value error, ')}"
