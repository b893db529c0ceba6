"""Fixtures for all tests."""

from tests.brokers import (  # noqa: F401
    certificates,
    kafka,
    mosquitto,
    real_kafka,
    secure_mosquitto,
)
