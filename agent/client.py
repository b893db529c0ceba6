"""The name of `agent.subscriber` before it had that name; kept for programs that import it."""

from agent.subscriber import Event, KafkaEvents, Ledger, MqttEvents, subscribe

__all__ = ["Event", "KafkaEvents", "Ledger", "MqttEvents", "subscribe"]
