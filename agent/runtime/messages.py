"""What goes out for the decisions on a batch, in order."""

from __future__ import annotations

import orjson

from agent.alerts.alert import Identity, Message, topic_name
from agent.alerts.cloudevents import encode_alert, encode_raw, encode_results
from agent.engine.engine import Decisions, Engine


def encode(decisions: Decisions, engine: Engine, identity: Identity, metrics: bool = False) -> list[Message]:
    """Alerts with their retained states, then raw events, then window results if they are wanted.

    Args:
        decisions: on one batch.
        engine: that made them; it has the names of series.
        identity: of the agent.
        metrics: whether window results and scores go out too.
    """
    messages: list[Message] = []
    for alert in decisions.alerts:
        messages += encode_alert(alert, identity, engine.labels[alert.rule].by)
    for reply in decisions.replies:
        body = orjson.dumps({"id": reply.id, "ok": not reply.error, "count": reply.count, "error": reply.error})
        identifier, verb = f"reply/{reply.verb}/{reply.id}", topic_name(reply.verb)
        messages.append(Message(identifier, "reply", "", verb, body, engine.now))
    for name, rows in decisions.raw.items():
        messages += encode_raw(engine.labels[name], rows, engine.series(name).name, identity)
    if metrics:
        for name, rows in decisions.results.items():
            if len(rows):
                table = engine.series(name)
                messages += encode_results(name, rows, table.name, table.by, identity)
    return messages
