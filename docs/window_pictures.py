"""Draws docs/pictures/windows.svg: what each kind of window makes of a few readings, from real runs of the engine.

python docs/window_pictures.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from agent.settings.build import build_pipeline
from agent.settings.settings import Settings
from sensors.batch import Batch

SECOND = 10**9
START = 1_700_000_000 * SECOND
WIDTH, ROW, LEFT, TOP, LENGTH = 470, 9, 16, 46, 16.0
INK, BAR, LATE, CAUSE = "#334155", "#93c5fd", "#fca5a5", "#dc2626"
READINGS = [0.6, 1.4, 2.2, 3.1, 3.4, 4.7, 6.2, 6.9, 11.3, 12.1, 10.6, 13.6, 15.2]
"""Seconds, in order of arrival: a gap after 6.9, and 10.6 comes late."""
KINDS: dict[str, dict[str, Any]] = {
    'tumbling: size = "4s"': {"type": "tumbling", "size": "4s"},
    'hopping: size = "4s", step = "2s"': {"type": "hopping", "size": "4s", "step": "2s"},
    'hopping, emit = "current": at each reading': {
        "type": "hopping", "size": "4s", "step": "2s", "emit": "current",
    },
    'cumulate: size = "8s", step = "2s"': {"type": "cumulate", "size": "8s", "step": "2s"},
    'sliding: size = "2s"': {"type": "sliding", "size": "2s"},
    'session: gap = "1500ms"': {"type": "session", "gap": "1500ms"},
    "count: count = 4": {"type": "count", "count": 4},
    "count: count = 4, step = 2": {"type": "count", "count": 4, "step": 2},
    'tumbling, closing = "watermark", grace = "1s"': {
        "type": "tumbling", "size": "4s", "closing": "watermark", "grace": "1s",
    },
}  # fmt: skip


def run(table: dict[str, Any]) -> list[tuple[float, float, int, float]]:
    """Start, end, readings and the time of the reading that told it, of each result."""
    window = {"metric": "x", "aggregates": ["count"], **table}
    tables: dict[str, Any] = {"agent": {"idle": False}, "window": {"w": window}}
    engine = build_pipeline(Settings(**tables)).engine()
    time = START + (np.array(READINGS) * SECOND).astype(np.int64)
    batch = Batch(("m",), np.zeros(len(time), np.int32), time, {"x": np.ones(len(time))}, int(time.max()))
    rows = engine.process(batch).results["w"]
    return [
        ((start - START) / SECOND, (end - START) / SECOND, int(count), READINGS[at])
        for start, end, count, at in zip(
            rows.start.tolist(), rows.end.tolist(), rows.values["count"].tolist(), rows.at.tolist(), strict=True
        )
    ]


def x(second: float) -> float:
    """Place of a time."""
    return LEFT + second / LENGTH * (WIDTH - 2 * LEFT)


def panel(title: str, table: dict[str, Any]) -> tuple[list[str], float]:
    """The drawing of one kind, and its height."""
    found = run(table)
    height = TOP + ROW * len(found) + 8
    out = [f'<text x="{LEFT}" y="14" font-weight="bold">{title}</text>']
    for second in range(0, int(LENGTH) + 1, 2):
        place = f'x1="{x(second):.1f}" x2="{x(second):.1f}" y1="{TOP - 8}" y2="{height - 6}"'
        out.append(f'<line {place} stroke="#e2e8f0"/>')
        out.append(f'<text x="{x(second):.1f}" y="{TOP - 12}" text-anchor="middle" fill="#94a3b8">{second}</text>')
    latest = -1.0
    for second in READINGS:
        late = second < latest
        latest = max(latest, second)
        out.append(f'<circle cx="{x(second):.1f}" cy="{TOP - 4}" r="2.6" fill="{CAUSE if late else INK}"/>')
    for i, (start, end, count, cause) in enumerate(found):
        y = TOP + 4 + i * ROW
        wide = max(x(end) - x(start), 2)
        out.append(f'<rect x="{x(start):.1f}" y="{y}" width="{wide:.1f}" height="{ROW - 2}" fill="{BAR}"/>')
        out.append(f'<text x="{x(start) + 3:.1f}" y="{y + ROW - 3}" font-size="8">{count}</text>')
        out.append(f'<circle cx="{x(cause):.1f}" cy="{y + ROW / 2 - 1}" r="2" fill="{CAUSE}"/>')
    return out, height


def main() -> None:
    """Write the picture: two columns, each as high as it needs to be."""
    columns = [0.0, 0.0]
    parts = []
    for title, table in KINDS.items():
        drawing, height = panel(title, table)
        side = columns.index(min(columns))
        parts.append(f'<g transform="translate({side * WIDTH} {columns[side]:.0f})">{"".join(drawing)}</g>')
        columns[side] += height + 14
    high, wide = max(columns), 2 * WIDTH
    style = f'font-family="sans-serif" font-size="10" fill="{INK}"'
    body = "\n".join(parts)
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high:.0f}" {style}>\n{body}\n</svg>\n'
    (Path(__file__).parent / "pictures" / "windows.svg").write_text(svg)


if __name__ == "__main__":
    main()
