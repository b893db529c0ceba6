"""What tells this agent apart from others that have the same names: copies of one SD card, a trial beside production."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path

_HOST = (Path("/etc/machine-id"), Path("/sys/firmware/devicetree/base/serial-number"))
"""An installation, and a board: a copied card has the id of the other, in another Raspberry Pi another serial number."""


def client_name(site: str, agent: str, part: str, state: Path) -> str:
    """Under which name a source or sink is known to its broker: no other part of any agent has it."""
    return f"{site}-{agent}-{part}-{instance(state)}"


def instance(state: Path) -> str:
    """Six letters and digits that stay the same while the agent keeps its state directory and its machine."""
    mark = hashlib.sha256(str(state.absolute()).encode())
    for file in _HOST:
        with contextlib.suppress(OSError):
            mark.update(b"\n" + file.read_bytes())
    return mark.hexdigest()[:6]
