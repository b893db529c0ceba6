"""Certificates and passwords, always from files: for brokers in either direction."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar


def secret_path(name: str | Path) -> Path:
    """Where a secret is: relative names are looked up in systemd's credentials directory, if there is one."""
    return Path(os.environ.get("CREDENTIALS_DIRECTORY", ".")) / name


def read_secret(name: str | Path) -> str:
    """The first line of a file, such as a password.

    Raises:
        OSError: the file cannot be read.
    """
    return secret_path(name).read_text("utf-8").split("\n", 1)[0].rstrip("\r")


@dataclass(frozen=True, slots=True)
class Tls:
    """How a connection is encrypted and who is who.

    Attributes:
        ca: certificates of the authorities to trust, PEM; empty = those of the system.
        certificate, key: our own, PEM, if the broker wants to know us (mutual TLS).
        key_password_file: holds the password of the key, if it has one.
        check_host: whether the broker's certificate must name the host we call.
    """

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    key_password_file: Path | None = None
    check_host: bool = True

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    def context(self) -> ssl.SSLContext:
        """A fresh context with what the files hold now; it reads them, so call it off the event loop.

        Raises:
            OSError: a file is missing or no certificate (`ssl.SSLError` is one).
        """
        context = ssl.create_default_context(cafile=None if self.ca is None else secret_path(self.ca))
        context.check_hostname = self.check_host
        if self.certificate is not None:
            password = None if self.key_password_file is None else read_secret(self.key_password_file)
            key = None if self.key is None else secret_path(self.key)
            context.load_cert_chain(secret_path(self.certificate), key, password)
        return context

    def stamps(self) -> tuple[tuple[int, int], ...]:
        """Changes when a file does: (mtime in ns, size) of each; a missing file is (0, 0)."""
        return tuple(_stamp(file) for file in (self.ca, self.certificate, self.key) if file is not None)


def _stamp(file: Path) -> tuple[int, int]:
    try:
        status = os.stat(secret_path(file))
    except OSError:
        return (0, 0)
    return (status.st_mtime_ns, status.st_size)
