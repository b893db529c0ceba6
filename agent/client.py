"""The name of `agent.subscriber` before it had that name; kept for programs that import it."""

from agent.subscriber import Deduplicator, Event, KafkaEvents, MqttEvents, subscribe

__all__ = ["Deduplicator", "Event", "KafkaEvents", "Ledger", "MqttEvents", "subscribe"]

Ledger = Deduplicator  # its former name
