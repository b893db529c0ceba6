"""How a Kafka client proves who it is and encrypts: the options of aiokafka's clients."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from sensors.transport.tls import Tls, read_secret

Mechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]


def options(
    secure: bool, tls: Tls | None, sasl: Mechanism | None, user: str, password_file: Path | None
) -> dict[str, Any]:
    """Keyword arguments of a producer or consumer. Reads files: call it off the event loop.

    `secure` encrypts, trusting the system's authorities; a `tls` table says so too, and with which certificates.

    Raises:
        OSError: a file cannot be read.
    """
    chosen: dict[str, Any] = {}
    encrypted = secure or tls is not None
    if encrypted:
        chosen["ssl_context"] = (tls or Tls()).context()
    if sasl is not None:
        chosen["sasl_mechanism"] = sasl
        chosen["sasl_plain_username"] = user
        chosen["sasl_plain_password"] = "" if password_file is None else read_secret(password_file)
    chosen["security_protocol"] = ("SASL_" if sasl else "") + ("SSL" if encrypted else "PLAINTEXT")
    return chosen
