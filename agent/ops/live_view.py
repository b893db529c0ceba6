"""The live view: machines, their windows and scores, the last alerts. It only looks on.

`update` is called for each batch, in a thread of its own, and costs a few array assignments; drawing happens a few
times a second in `run`.
Of many machines the worst are shown.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from agent.alerts.alert import Change, Label
from agent.core.keys import Name
from agent.core.rows import Rows
from agent.ops.alert_lines import COLOURS, SEVERITIES, AlertLine, alert_lines, clock, duration
from agent.ops.observers import Observation
from sensors.batch import Floats

_BLOCKS = "▁▂▃▄▅▆▇█"
_HISTORY = 24  # drawings that the small curve reaches back
_OPEN_LIMIT = 10_000  # incidents kept for a machine's state
_CURVES = 1000  # series that get a curve


_Row = tuple[tuple[str, ...], int, AlertLine | None]
"""Grouping and row of a series, and the worst of its open incidents."""


@dataclass(slots=True)
class _Column:
    """Last value of one step for each series, and the values at the last drawings."""

    step: str
    name: str
    by: tuple[str, ...]
    last: Floats = field(default_factory=lambda: np.zeros(0))
    past: npt.NDArray[np.float64] = field(default_factory=lambda: np.full((_CURVES, _HISTORY), np.nan))

    def put(self, rows: Rows, series: int) -> None:
        known = rows.key >= 0
        keys, values = rows.key, rows.values[self.name]
        if not known.all():
            keys, values = keys[known], values[known]
        more = series - len(self.last)
        if more > 0:
            self.last = np.concatenate([self.last, np.full(more, np.nan)])
        self.last[keys] = values  # of equal keys the last one stays

    def step_on(self) -> None:
        """One drawing further: the curve moves."""
        self.past = np.roll(self.past, -1, axis=1)
        self.past[:, -1] = np.nan
        self.past[: len(self.last), -1] = self.last[:_CURVES]

    def value(self, row: int) -> str:
        value = float(self.last[row]) if row < len(self.last) else np.nan
        return "" if np.isnan(value) else f"{value:.2f}" if abs(value) < 1e5 else f"{value:.4g}"

    def curve(self, row: int) -> str:
        past = self.past[row] if row < _CURVES else np.zeros(0)
        past = past[np.isfinite(past)]
        if len(past) < 2:
            return ""
        low, high = float(past.min()), float(past.max())
        if high <= low:
            return _BLOCKS[0] * len(past)
        return "".join(_BLOCKS[level] for level in ((past - low) / (high - low) * 7.99).astype(int).tolist())


class LiveView:
    """Draws what the engine decides.

    Args:
        title: what runs, for the head line.
        subscribe: the command that shows the alerts from outside.
        counters: numbers to show, such as what is sent and what waits; called at each drawing.
        console: where to draw.
        rate: drawings a second.
    """

    def __init__(
        self,
        title: str,
        subscribe: str = "",
        counters: Callable[[], Mapping[str, int]] = dict,
        console: Console | None = None,
        rate: float = 4.0,
    ) -> None:
        self._title, self._subscribe, self._counters, self._rate = title, subscribe, counters, rate
        self.console = console or Console()
        self._lock = threading.Lock()  # drawn in one thread, updated in another
        self._labels: Mapping[str, Label] | None = None
        self._names: dict[tuple[str, ...], Sequence[Name | None]] = {}
        self._columns: dict[str, _Column] = {}
        self._open: dict[str, AlertLine] = {}
        self._alerts: deque[AlertLine] = deque(maxlen=50)
        self._raw: dict[str, int] = {}
        self._started = time.monotonic()
        self._samples = self._raised = 0
        self._speed: deque[tuple[float, int]] = deque(maxlen=int(5 * rate) + 1)
        self._event_time = 0

    def update(self, observation: Observation) -> None:
        """Note what was decided on a batch."""
        with self._lock:
            self._update(observation)

    def _update(self, observation: Observation) -> None:
        batch, decisions = observation.batch, observation.decisions
        if observation.labels is not self._labels:  # the engine is another one, after a reload
            self._labels, self._names, self._columns = observation.labels, {}, {}
        self._names |= {series.by: series.names for series in observation.series.values()}
        self._samples += len(batch)
        if len(batch):
            self._event_time = int(batch.time[-1])
        for step, rows in decisions.results.items():
            if len(rows) and rows.values:
                by, names = observation.series[step]
                if step not in self._columns:
                    self._columns[step] = _Column(step, _shown(rows), by)
                self._columns[step].put(rows, len(names))
        for alert in decisions.alerts:
            self._raised += alert.change is Change.RAISED
            if alert.change is Change.RESOLVED:
                self._open.pop(alert.incident, None)
            else:
                self._open[alert.incident] = AlertLine.of(alert)
                if len(self._open) > _OPEN_LIMIT:
                    self._open.pop(next(iter(self._open)))
        for name, rows in decisions.raw.items():
            self._raw[name] = self._raw.get(name, 0) + len(rows)
        self._alerts.extend(alert_lines(observation))

    async def run(self) -> None:
        """Draw until cancelled; the last picture stays on the screen."""
        with Live(console=self.console, auto_refresh=False, get_renderable=lambda: self.draw()) as live:
            try:
                while True:
                    live.refresh()
                    await asyncio.sleep(1 / self._rate)
            finally:
                live.refresh()

    def draw(self) -> RenderableType:
        """The picture of now."""
        with self._lock:
            return self._draw()

    def _draw(self) -> RenderableType:
        now = time.monotonic()
        self._speed.append((now, self._samples))
        for column in self._columns.values():
            column.step_on()
        height = self.console.size.height
        alerts = min(8, max(2, height // 4))
        machines = max(3, height - alerts - 9)
        parts: list[RenderableType] = [self._head(now), "", self._machines(machines), "", self._last(alerts)]
        if self._subscribe:
            parts += ["", Text.assemble(("alerts from outside:  ", "dim"), (self._subscribe, "bold"))]
        return Group(*parts)

    def _head(self, now: float) -> Text:
        (before, then), (_, samples) = self._speed[0], self._speed[-1]
        rate = (samples - then) / (now - before) if now > before else 0.0
        shown = {"samples/s": round(rate), "alerts": self._raised, "open": len(self._open)}
        shown |= {f"raw {name}": count for name, count in self._raw.items()}
        shown |= {name: count for name, count in self._counters().items() if count}
        text = Text.assemble((self._title, "bold"), f"  {duration(now - self._started)}")
        if self._event_time:
            text.append(f"  machine time {clock(self._event_time)}", "dim")
        for name, count in shown.items():
            text.append(f"  {name} ", "dim")
            text.append(f"{count:,}", "bold red" if name == "open" and count else "bold")
        return text

    def _machines(self, most: int) -> Table:
        table = Table(box=None, pad_edge=False, header_style="dim", expand=False)
        table.add_column("machine")
        columns = list(self._columns.values())
        for column in columns:
            table.add_column(
                column.step if column.name == column.step else f"{column.step} {column.name}", justify="right"
            )
        table.add_column("", no_wrap=True)
        table.add_column("state")
        shown, total = self._worst(columns, most)
        for by, row, line in shown:
            own = [column for column in columns if column.by == by]
            values = [column.value(row) if column.by == by else "" for column in columns]
            colour = COLOURS[line.severity] if line else "green"
            state = f"{line.severity}: {line.rule} since {clock(line.time)}" if line else "ok"
            curve = Text(own[0].curve(row), colour)
            table.add_row(_safe(" ".join(self._names[by][row] or ())), *values, curve, Text(state, colour))
        if total > len(shown):
            table.add_row(Text(f"... and {total - len(shown):,} more", "dim"))
        return table

    def _worst(self, columns: list[_Column], most: int) -> tuple[list[_Row], int]:
        """At most `most` series, those with the worst open incident first, and how many there are."""
        worst: dict[str, AlertLine] = {}
        for line in self._open.values():
            known = worst.get(line.machine)
            if known is None or SEVERITIES.index(line.severity) > SEVERITIES.index(known.severity):
                worst[line.machine] = line
        chosen: list[_Row] = []
        calm: list[_Row] = []
        total = 0
        for by in dict.fromkeys(column.by for column in columns):
            names = list(self._names[by])
            seen = np.zeros(len(names), np.bool_)
            for column in columns:
                if column.by == by:
                    seen[: len(column.last)] |= np.isfinite(column.last[: len(seen)])
            for row, name in enumerate(names):
                incident = worst.get(" ".join(name)) if worst and name is not None else None
                if name is None or not (seen[row] or incident):  # the agent itself has no value in these columns
                    continue
                total += 1
                if incident is not None:
                    chosen.append((by, row, incident))
                elif len(calm) < most:
                    calm.append((by, row, None))
        chosen.sort(key=lambda item: -SEVERITIES.index(item[2].severity) if item[2] else 0)
        return (chosen + calm)[:most], total

    def _last(self, most: int) -> RenderableType:
        if not self._alerts:
            return Text("no alerts so far", "dim")
        table = Table(box=None, pad_edge=False, show_header=False)
        for line in reversed(list(self._alerts)[-most:]):
            change = Text(f"{line.severity.upper()} {line.change}", f"bold {line.colour}")
            table.add_row(clock(line.time), change, Text(line.what()))
        return table


def is_terminal() -> bool:
    """Whether a live view can be drawn on stdout."""
    return sys.stdout.isatty() and Console().is_terminal and not Console().is_dumb_terminal


def _shown(rows: Rows) -> str:
    """The column of a step that is worth showing: its mean or score, else the first."""
    return next((name for name in ("mean", "score", "kl") if name in rows.values), next(iter(rows.values)))


def _safe(text: str) -> Text:
    """Text without markup or control characters."""
    return Text("".join(character if character.isprintable() else "?" for character in text))
