"""How the agent is, for whoever watches the watcher: one retained message now and then."""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import orjson

from agent.alerts.alert import Message
from agent.engine.engine import Engine
from agent.ops.counters import Stats
from agent.ops.observers import ObserverCounters, Observers
from agent.outbox import Outbox
from agent.outbox.counters import OutboxCounters
from agent.outbox.delivery import Delivery
from agent.settings.build import Pipeline
from sensors.source import Counters, Source

MOST_SERIES = 10
"""Series that the report names for a counter."""
Worst = Mapping[str, Mapping[str, Mapping[str, int]]]
"""Part -> counter -> name of a series -> how often, the worst first."""


def version_of_agent() -> str:
    """The installed version; `source` where the agent runs from a checkout that is not installed."""
    try:
        return version("edge-agent")
    except PackageNotFoundError:
        return "source"


def report(
    pipeline: Pipeline,
    sources: Mapping[str, Source],
    engine: Engine,
    outbox: Outbox,
    deliveries: Mapping[str, Delivery],
    counters: Stats,
    uptime: float,
    clock_steps: int,
) -> dict[str, Any]:
    """Counters of everything between the sources (of readings and of commands) and the sinks. Plain JSON."""
    return {
        "uptime_s": round(uptime, 1),
        "version": version_of_agent(),
        "configuration": configuration_mark(pipeline.fingerprints),
        "clock_steps": clock_steps,
        "readings": engine.counts.readings,
        "refused": {"future": engine.counts.refused_future, "before_1970": engine.counts.refused_negative},
        "series": {"/".join(by): len(table) for by, table in engine.tables.items()},
        "series_refused": sum(table.refused for table in engine.tables.values()),
        "alerts": engine.counts.alerts,
        "sources": {name: dataclasses.asdict(source.counters) for name, source in sources.items()},
        "outbox": {
            "failing": outbox.failing,
            "appended": outbox.counters.appended,
            "dropped": {f"{kind}/{reason}": count for (kind, reason), count in outbox.counters.dropped.items()},
            "dead": outbox.counters.dead,
            "quarantined": outbox.counters.quarantined,
        },
        "sinks": {
            name: {
                "connected": delivery.connected,
                "sent": delivery.sent,
                "waiting": outbox.lag(name),
                "reconnects": delivery.reconnects,
                "last_error": delivery.last_error,
            }
            for name, delivery in deliveries.items()
        },
        "counters": counters,
        "worst_series": worst_series(engine),
    }


def stats(
    sources: Mapping[str, Source],
    engine: Engine,
    outbox: Outbox,
    deliveries: Mapping[str, Delivery],
    observers: Observers,
) -> Stats:
    """Every counter of every part; `agent.ops.counters` says what each means."""
    return {
        **engine.stats(),
        **{f"source.{name}": _numbers(source.counters) for name, source in sources.items()},
        "outbox": _numbers(outbox.counters) | {"dropped": outbox.counters.dropped.total()},
        **{
            f"sink.{name}": {
                "sent": delivery.sent,
                "waiting": outbox.lag(name),
                "reconnects": delivery.reconnects,
            }
            for name, delivery in deliveries.items()
        },
        **{f"observer.{name}": _numbers(counters) for name, counters in observers.counters().items()},
    }


def worst_series(engine: Engine) -> Worst:
    """Of each counter that is known by series, those that it concerns most."""
    found: dict[str, dict[str, dict[str, int]]] = {}
    parts = {name: (step.kind, step.stats_by_series()) for name, step in engine.steps.items()}
    parts |= {name: ("rule", rule.stats_by_series()) for name, rule in engine.rules.items()}
    for name, (kind, counters) in parts.items():
        for counter, counts in counters.items():
            worst = counts.worst(MOST_SERIES)
            if worst:
                names = {" ".join(engine.series(name).name(key)): count for key, count in worst.items()}
                found.setdefault(f"{kind}.{name}", {})[counter] = names
    return found


def _numbers(counters: Counters | OutboxCounters | ObserverCounters) -> dict[str, int]:
    """Those of its fields that are a number."""
    fields = ((field.name, getattr(counters, field.name)) for field in dataclasses.fields(counters))
    return {name: value for name, value in fields if isinstance(value, int)}


def message(report: Mapping[str, Any]) -> Message:
    """The report as a message of kind `health`."""
    now = time.time_ns()
    return Message(f"health/{now}", "health", "", "", orjson.dumps(report), now)


def configuration_mark(fingerprints: Mapping[str, str]) -> str:
    """A short hash of the configuration of windows, detectors and rules."""
    return hashlib.sha256("".join(sorted(fingerprints.values())).encode()).hexdigest()[:12]
