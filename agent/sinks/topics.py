"""Where a message goes on MQTT: topic, quality of service, retained or not, how long it is of use.

<root>/v1/<site>/<agent>/status                          availability; also the will      1  retained
<root>/v1/<site>/<agent>/health                          counters                         0  retained  5 min
<root>/v1/<site>/<agent>/<machine>/state                 the machine in short             1  retained
<root>/v1/<site>/<agent>/<machine>/alert/<signal>.<rule> present state of one alert       1  retained
<root>/v1/<site>/<agent>/<machine>/event/alert           each change of an alert          1            7 d
<root>/v1/<site>/<agent>/<machine>/event/raw             each raw event                   1            7 d
<root>/v1/<site>/<agent>/<machine>/metric                window results and scores        0            60 s
<root>/v1/<site>/<agent>/cmd/<verb>/result               answer to a command              1            60 s
homeassistant/device/<agent>_<machine>/config            Home Assistant discovery         1  retained
"""

from __future__ import annotations

from typing import NamedTuple

from agent.alerts.alert import Kind, Message

DAY = 86400


class Route(NamedTuple):
    """How a kind of message travels; `expiry` in seconds, 0 = never (MQTT 5)."""

    tail: str
    qos: int
    retain: bool
    expiry: int


ROUTES: dict[Kind, Route] = {
    "status": Route("status", 1, True, 0),
    "health": Route("health", 0, True, 300),
    "state": Route("{machine}/alert/{name}", 1, True, 0),
    "alert": Route("{machine}/event/alert", 1, False, 7 * DAY),
    "raw": Route("{machine}/event/raw", 1, False, 7 * DAY),
    "metric": Route("{machine}/metric", 0, False, 60),
    "reply": Route("cmd/{name}/result", 1, False, 60),
    "discovery": Route("", 1, True, 0),
}


def topic_of(message: Message, base: str, agent: str, discovery: str) -> str:
    """The topic of a message; `base` is `<root>/v1/<site>/<agent>`."""
    kind = message.kind
    if kind == "discovery":
        return f"{discovery}/device/{agent}_{message.machine}/config"
    if kind == "state" and not message.name:
        return f"{base}/{message.machine}/state"
    return f"{base}/{ROUTES[kind].tail.format(machine=message.machine, name=message.name)}"
