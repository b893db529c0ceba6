"""Draws docs/pictures/rules.svg: what each kind of rule does to a signal, from real runs of the engine.

python docs/rule_pictures.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from agent.settings.build import build_pipeline
from agent.settings.settings import Settings
from sensors.batch import Batch, tick

SECOND = 10**9
START = 1_700_000_000 * SECOND
WIDTH, HEIGHT, LEFT, TOP = 340, 130, 44, 34
INK, LINE, FIRE, EVENT, LIMIT = "#334155", "#2563eb", "#fecaca", "#dc2626", "#64748b"


def signals() -> dict[str, tuple[np.ndarray, dict[str, Any], list[float]]]:
    """Title -> one value a second (NaN = nothing is sent), tables of the configuration, limits to draw."""
    rng = np.random.default_rng(4)
    t = np.arange(90)
    hill = 80 + 13 * np.sin(t / 14) + rng.normal(0, 1.2, len(t))
    jump = np.concatenate([np.full(30, 50.0), np.linspace(50, 80, 6), np.full(54, 80.0)]) + rng.normal(
        0, 0.4, len(t)
    )
    flat = 60 + 6 * np.sin(t / 6) + rng.normal(0, 0.5, len(t))
    flat[35:65] = flat[35]
    gap = 60 + 6 * np.sin(t / 6)
    gap[30:60] = np.nan
    spiky = 60 + rng.normal(0, 2, len(t))
    spiky[[20, 40, 43, 45, 46, 70]] += 20
    waves = 50 + 40 * np.abs(np.sin(t / 6.3)) + rng.normal(0, 1.0, len(t))
    return {
        'threshold: when = "v &gt;= 90", clear = "v &lt; 86", for = "3s"': (
            hill, {"rule": {"r": {"when": "v >= 90", "clear": "v < 86", "for": "3s"}}}, [90, 86],
        ),
        'filter: where = "v &gt; 90" (each row an event)': (
            hill, {"rule": {"r": {"type": "filter", "where": "v > 90"}}}, [90],
        ),
        'rate: when = "abs(rate) &gt; 3"': (
            jump, {"rule": {"r": {"type": "rate", "metric": "v", "when": "abs(rate) > 3"}}}, [],
        ),
        'stuck: after = "10s"': (flat, {"rule": {"r": {"type": "stuck", "metric": "v", "after": "10s"}}}, []),
        'deadman: after = "10s"': (gap, {"rule": {"r": {"type": "deadman", "after": "10s"}}}, []),
        'count: when = "v &gt; 70", least = 3, of = 8': (
            spiky, {"rule": {"r": {"type": "count", "when": "v > 70", "least": 3, "of": 8}}}, [70],
        ),
        'pattern: start, up: &gt; start, down: (up - down) / up &gt; 10 %': (
            waves,
            {
                "window": {"w": {"type": "tumbling", "metric": "v", "size": "5s"}},
                "rule": {
                    "r": {
                        "type": "pattern", "on": "w", "metric": "mean",
                        "steps": ["start", "up: > start", "down: (up - down) / up > 10 %"],
                    }
                },
            },
            [],
        ),
        'having: on a running mean, when = "mean &gt; 58"': (
            jump,
            {
                "window": {"w": {"type": "running", "metric": "v", "aggregates": ["mean"]}},
                "rule": {"r": {"type": "having", "on": "w", "when": "mean > 58", "columns": ["mean"]}},
            },
            [58],
        ),
    }  # fmt: skip


def run(
    values: np.ndarray, tables: dict[str, Any]
) -> tuple[list[tuple[float, str]], list[tuple[float, float, bool]]]:
    """Changes of the incident (second, what) and raw events (from, to, taken back)."""
    engine = build_pipeline(Settings(**{"agent": {"idle": False}, **tables})).engine()
    changes, events = [], []
    for second, value in enumerate(values.tolist()):
        now = START + second * SECOND
        batch = tick(now)
        if value == value:
            batch = Batch(("m",), np.zeros(1, np.int32), np.array([now]), {"v": np.array([value])}, now)
        decisions = engine.process(batch)
        changes += [((alert.time - START) / SECOND, str(alert.change)) for alert in decisions.alerts]
        for rows in decisions.raw.values():
            back = rows.values.get("retract", np.zeros(len(rows)))
            events += [
                ((a - START) / SECOND, (b - START) / SECOND, bool(c))
                for a, b, c in zip(rows.start.tolist(), rows.end.tolist(), back.tolist(), strict=True)
            ]
    return changes, events


def panel(title: str, values: np.ndarray, tables: dict[str, Any], limits: list[float]) -> list[str]:
    """The drawing of one kind."""
    changes, events = run(values, tables)
    low, high = np.nanmin(values) - 3, np.nanmax(values) + 3

    def x(second: float) -> float:
        return LEFT + second / (len(values) - 1) * (WIDTH - LEFT - 10)

    def y(value: float) -> float:
        return TOP + (high - value) / (high - low) * (HEIGHT - TOP - 12)

    def band(begin: float, end: float) -> str:
        place = f'x="{x(begin):.1f}" y="{TOP}" width="{x(end) - x(begin):.1f}" height="{HEIGHT - TOP - 12}"'
        return f'<rect {place} fill="{FIRE}" opacity="0.7"/>'

    out = [f'<text x="{LEFT}" y="18" font-weight="bold">{title}</text>']
    since = None
    for second, change in [*changes, (len(values) - 1.0, "resolved")]:
        if change == "raised":
            since = second
        elif change == "resolved" and since is not None:
            out.append(band(since, second))
            since = None
    for begin, end, _ in events:
        if end > begin:
            out.append(band(begin, end))
    for limit in limits:
        across = f'x1="{LEFT}" x2="{WIDTH - 10}" y1="{y(limit):.1f}" y2="{y(limit):.1f}"'
        out.append(f'<line {across} stroke="{LIMIT}" stroke-dasharray="4 3"/>')
        out.append(f'<text x="{LEFT - 6}" y="{y(limit) + 4:.1f}" text-anchor="end">{limit:g}</text>')
    pen = "M"
    path = []
    for second, value in enumerate(values.tolist()):
        if value != value:
            pen = "M"
            continue
        path.append(f"{pen}{x(second):.1f} {y(value):.1f}")
        pen = "L"
    out.append(f'<path d="{" ".join(path)}" fill="none" stroke="{LINE}" stroke-width="1.4"/>')
    for begin, end, back in events:
        if end == begin:
            level = values[int(end)]
            fill = "white" if back else EVENT
            out.append(
                f'<circle cx="{x(end):.1f}" cy="{y(float(level)):.1f}" r="2.6" fill="{fill}" stroke="{EVENT}"/>'
            )
    for second, change in changes:
        out.append(
            f'<line x1="{x(second):.1f}" x2="{x(second):.1f}" y1="{TOP}" y2="{HEIGHT - 12}" stroke="{EVENT}"/>'
        )
        out.append(f'<text x="{x(second) + 3:.1f}" y="{TOP + 9}" fill="{EVENT}">{change}</text>')
    out.append(f'<text x="{WIDTH - 10}" y="{HEIGHT}" text-anchor="end" fill="{LIMIT}">{len(values)} s</text>')
    return out


def main() -> None:
    """Write the picture."""
    drawn = []
    for number, (title, (values, tables, limits)) in enumerate(signals().items()):
        place = f"translate({number % 2 * (WIDTH + 16)} {number // 2 * (HEIGHT + 14)})"
        drawn.append(f'<g transform="{place}">' + "\n".join(panel(title, values, tables, limits)) + "</g>")
    width, height = 2 * WIDTH + 16, -(-len(drawn) // 2) * (HEIGHT + 14)
    look = f'font-family="sans-serif" font-size="10" fill="{INK}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" {look}>'
    body = "\n".join(drawn)
    Path(__file__).with_name("pictures").joinpath("rules.svg").write_text(
        f'{head}\n<rect width="100%" height="100%" fill="white"/>\n{body}\n</svg>\n'
    )


if __name__ == "__main__":
    main()
