"""The drivers, one file or folder each: serial line, TCP, file, MQTT, Kafka, recording, simulated machines."""
