"""What the outbox counts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class OutboxCounters:
    """What the outbox has done since it was opened; `dropped` is by (kind, reason), `confirmed` by sink."""

    appended: int = 0
    repeated: int = 0
    unwanted: int = 0
    superseded: int = 0
    dead: int = 0
    commits: int = 0
    failed_commits: int = 0
    quarantined: int = 0
    dropped: Counter[tuple[str, str]] = field(default_factory=Counter)
    confirmed: Counter[str] = field(default_factory=Counter)
