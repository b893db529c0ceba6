"""One call for either kind of broker."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from agent.subscriber.kafka import KafkaEvents
from agent.subscriber.mqtt import MqttEvents


def subscribe(url: str, **options: Any) -> MqttEvents | KafkaEvents:
    """Events of `mqtt://host`, `mqtts://host` or `kafka://host:9092/topic,topic`.

    Options are the fields of `MqttEvents` or `KafkaEvents`.

    Raises:
        ValueError: it is no such address.
    """
    parts = urlsplit(url)
    if parts.scheme in ("mqtt", "mqtts"):
        return MqttEvents(url, **options)
    if parts.scheme == "kafka" and parts.netloc:
        topics = tuple(topic for topic in parts.path.strip("/").split(",") if topic)
        if topics:
            options["topics"] = topics
        return KafkaEvents(parts.netloc, **options)
    raise ValueError(f"{url!r}: write mqtt://HOST, mqtts://HOST or kafka://HOST:PORT/TOPIC")
