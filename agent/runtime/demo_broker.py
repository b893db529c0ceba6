"""An MQTT broker inside the process, for `agent --simulate`: loopback only, MQTT 3.1.1, nothing kept."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from agent.settings.errors import ConfigError


@asynccontextmanager
async def embedded_broker(port: int = 1883) -> AsyncIterator[int]:
    """A running broker on 127.0.0.1; yields its port: `port`, or a free one where that is taken.

    Raises:
        ConfigError: amqtt (extra `[demo]`) is not installed.
    """
    try:
        from amqtt.broker import Broker
    except ImportError as error:
        raise ConfigError(
            ["no MQTT broker: name one in [sink.broker] of a configuration, or pip install 'edge-agent[demo]'"]
        ) from error
    for name in ("amqtt", "transitions"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    port = port if _free(port) else _any_port()
    broker = Broker(
        {
            "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}"}},
            "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
        }
    )
    await broker.start()
    logging.getLogger("asyncio").addFilter(_no_news)
    try:
        yield port
    finally:
        await asyncio.wait_for(broker.shutdown(), 5)
        logging.getLogger("asyncio").removeFilter(_no_news)


def _no_news(record: logging.LogRecord) -> bool:
    """Not when a client goes away before it has said all of its first packet: amqtt lets that be an exception."""
    return "client_connected_cb" not in record.getMessage()


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _any_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
