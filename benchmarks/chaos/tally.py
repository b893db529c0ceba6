"""What a fault did: raised, lost, repeated, how long, how much memory. One JSON line each."""

from __future__ import annotations

import json
import resource
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass


@dataclass
class Tally:
    """The row of one fault in the table.

    Attributes:
        raised: alerts that were safe before or during the fault.
        lost: of these, how many never arrived. Wanted: 0.
        same_id: arrivals of an id that had arrived before; a subscriber drops them.
        other_id: arrivals of what nobody raised: a repeat under another id. Wanted: 0.
        recovery_seconds: from the end of the fault until everything was delivered.
        peak_mb: most memory of the process, MB.
        note: what else is worth saying.
    """

    fault: str
    raised: int
    lost: int
    same_id: int
    other_id: int
    recovery_seconds: float
    peak_mb: float
    note: str = ""

    @classmethod
    def of(cls, fault: str, raised: Iterable[str], arrived: Iterable[str], seconds: float, **more: object) -> Tally:
        """Compare what was raised with what arrived, by id."""
        wanted, got = set(raised), Counter(arrived)
        return cls(
            fault,
            raised=len(wanted),
            lost=len(wanted - got.keys()),
            same_id=sum(got.values()) - len(got),
            other_id=len(got.keys() - wanted),
            recovery_seconds=round(seconds, 3),
            peak_mb=float(str(more.pop("peak_mb", peak_mb()))),
            note=str(more.pop("note", "")),
        )

    def line(self) -> str:
        """As a JSON line."""
        return json.dumps({"benchmark": "chaos", **asdict(self)})


def peak_mb(who: int = resource.RUSAGE_SELF) -> float:
    """Most resident memory so far, MB."""
    return round(resource.getrusage(who).ru_maxrss / (1000 if sys.platform == "linux" else 1e6), 1)
