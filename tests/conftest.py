"""Fixtures for all tests."""

from tests.brokers import (  # noqa: F401
    certificates,
    kafka,
    mosquitto,
    real_kafka,
    secure_mosquitto,
)


def pytest_addoption(parser):
    parser.addoption("--cases", default=None, help="folder of conformance cases; default: the copies in tests/")
