"""Fixtures for all tests."""

import hypothesis  # noqa: F401 else its plugin imports it at the end, where CPython 3.11 fails now and then

from tests.brokers import (  # noqa: F401
    certificates,
    kafka,
    mosquitto,
    real_kafka,
    secure_mosquitto,
)


def pytest_addoption(parser):
    parser.addoption("--cases", default=None, help="folder of conformance cases; default: the copies in tests/")
