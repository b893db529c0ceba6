"""How bytes travel: MQTT, Kafka, TLS, back-off; shared by sources, sinks and the subscriber library."""
