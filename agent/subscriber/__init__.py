"""For subscribers: alerts of one or many agents as an asyncio iterator, checked, each once, gaps noticed.

    from agent.subscriber import subscribe

    async with subscribe("mqtt://broker.plant:1883", site="plant-1") as events:
        async for event in events:
            print(event.change, event.machine, event.signal, event.value)

`subscribe` takes `mqtt://`, `mqtts://` and `kafka://` addresses. See docs/subscribers.md.
"""

from agent.subscriber.events import Deduplicator, Event
from agent.subscriber.kafka import KafkaEvents
from agent.subscriber.mqtt import MqttEvents
from agent.subscriber.subscribe import subscribe

__all__ = ["Deduplicator", "Event", "KafkaEvents", "MqttEvents", "subscribe"]
