"""How alerts announce themselves to Home Assistant (MQTT device discovery, HA 2024.11 or newer).

Each alert is a binary sensor of class *problem* of its machine: on while its retained state is there, unavailable
while the agent is offline. One announcement an alert, so that none has to know the others; what they have in common
is the device.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version

import orjson

from agent.alerts.alert import Identity, Message, topic_name
from sensors.transport.mqtt import Publish

MOST = 10_000


@dataclass
class HomeAssistant:
    """What has been announced on this connection, and what is to be announced again.

    Attributes:
        base: what the agent's topics begin with.
        identity: whose alerts; part of the names of the devices.
        prefix: first level of Home Assistant's own topics.
    """

    base: str
    identity: Identity
    prefix: str = "homeassistant"
    random: random.Random = field(default_factory=random.Random)

    def __post_init__(self) -> None:
        self._known: dict[tuple[str, str], None] = {}
        self._again_at = 0.0

    @property
    def birth(self) -> str:
        """Where Home Assistant says `online` when it has started."""
        return f"{self.prefix}/status"

    def born(self) -> None:
        """It has started: announce all again, after a moment, since other agents do so too."""
        self._again_at = time.monotonic() + self.random.uniform(0.0, 5.0)

    def announce(self, messages: Iterable[Message]) -> list[Publish]:
        """Announcements of alerts that are new among these messages, and of all if it is time."""
        announcements = []
        for message in messages:
            alert = (message.machine, message.name)
            if message.kind == "state" and message.name and alert not in self._known and len(self._known) < MOST:
                self._known[alert] = None
                announcements.append(self._announcement(*alert))
        if self._again_at and time.monotonic() >= self._again_at:
            self._again_at = 0.0
            announcements = [self._announcement(*alert) for alert in self._known]
        return announcements

    def _announcement(self, machine: str, name: str) -> Publish:
        device = f"edge_{topic_name(self.identity.site)}_{topic_name(self.identity.agent)}_{machine}"
        unique = f"{device}_{topic_name(name)}"
        topic = f"{self.base}/{machine}/alert/{name}"
        signal, _, rule = name.partition(".")
        body = {
            "device": {"identifiers": [device], "name": machine, "manufacturer": "edge-agent"},
            "origin": {"name": "edge-agent", "sw_version": _version()},
            "availability": [{"topic": f"{self.base}/status", "value_template": "{{ value_json.state }}"}],
            "qos": 1,
            "components": {
                unique: {
                    "platform": "binary_sensor",
                    "device_class": "problem",
                    "unique_id": unique,
                    "name": f"{signal} {rule}".strip(),
                    "state_topic": topic,
                    "value_template": "{{ 'ON' if value else 'OFF' }}",
                    "json_attributes_topic": topic,
                    "json_attributes_template": "{{ value if value else '{}' }}",
                }
            },
        }
        return Publish(f"{self.prefix}/device/{unique}/config", orjson.dumps(body), 1, True)


def _version() -> str:
    try:
        return version("edge-agent")
    except PackageNotFoundError:
        return "unknown"
