"""One figure a line."""

from __future__ import annotations

import json
from typing import Any


def emit(benchmark: str, figure: str, value: float, unit: str, **more: Any) -> None:
    """Print one measured figure as a JSON line; `peer`, `peer_value` give a `ratio` where a peer ran beside."""
    line: dict[str, Any] = {"benchmark": benchmark, "figure": figure, "value": _short(value), "unit": unit}
    line |= {name: _short(item) if isinstance(item, float) else item for name, item in more.items()}
    print(json.dumps(line), flush=True)


def _short(value: float) -> float:
    return float(f"{value:.6g}")
