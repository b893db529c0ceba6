"""Alerts as a person reads them: one line each, for the terminal and for `agent tail`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from agent.alerts.alert import Alert

if TYPE_CHECKING:  # `agent tail` needs no engine
    from agent.ops.observers import Observation

SECOND = 10**9
SEVERITIES = ("info", "warning", "critical", "fatal")
COLOURS = {"info": "cyan", "warning": "yellow", "critical": "red", "fatal": "magenta", "resolved": "green"}
_ANSI = {"cyan": 36, "yellow": 33, "red": 31, "magenta": 35, "green": 32}
_SEVERITY_OF_TEXT = {"INFO": "info", "WARN": "warning", "ERROR": "critical", "FATAL": "fatal"}


@dataclass(frozen=True, slots=True)
class AlertLine:
    """What a line shows of one transition. Times are ns since the epoch, UTC.

    Attributes:
        change: raised, escalated, resolved, ...; "raw" for a reading or window above the limit of a raw rule.
        limit: the condition, such as `mean >= 90`; empty where nothing is known of it.
        seconds: how long the incident has lasted.
        message: the sentence that comes with the alert, if any.
        id: of the event.
    """

    time: int
    change: str
    severity: str
    machine: str
    signal: str
    rule: str
    value: float | None
    unit: str = ""
    limit: str = ""
    seconds: float | None = None
    message: str = ""
    id: str = ""

    @classmethod
    def of(cls, alert: Alert) -> AlertLine:
        """The line of an alert inside the agent."""
        return cls(
            time=alert.time,
            change=str(alert.change),
            severity=alert.severity,
            machine=" ".join(alert.series) or alert.machine,
            signal=alert.signal,
            rule=alert.rule,
            value=alert.value,
            unit=alert.unit,
            limit=alert.raise_limit,
            seconds=((alert.ended_at or alert.time) - alert.started_at) / SECOND,
            message=alert.message,
            id=alert.id,
        )

    @classmethod
    def parse(cls, body: bytes) -> AlertLine:
        """The line of an alert event as it comes from a broker.

        Raises:
            ValueError: the body is no alert event.
        """
        event = json.loads(body)
        try:
            data: Mapping[str, Any] = event["data"]
            return cls(
                time=_nanoseconds(event["time"]),
                change=str(event["type"]).rpartition(".")[2],
                severity=_SEVERITY_OF_TEXT.get(event.get("severitytext", ""), "info"),
                machine=" ".join(map(str, data.get("series") or [data["machine"]])),
                signal=str(data.get("signal", "")),
                rule=str(data["rule"]["id"]),
                value=data.get("value"),
                unit=data.get("unit") or "",
                limit=(data.get("threshold") or {}).get("raise") or "",
                seconds=data.get("duration_s"),
                message="" if str(event["type"]).endswith(".raw") else str(data.get("message") or ""),
                id=str(event.get("id", "")),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"no alert event: {error!r}") from error

    @property
    def colour(self) -> str:
        """Green when it is over, else the colour of the severity."""
        return COLOURS["resolved" if self.change == "resolved" else self.severity]

    def what(self) -> str:
        """The sentence that came with the alert, else what is known: `m2, hot: mean = 90.6 °C, limit mean >= 90`."""
        if self.message:
            return _printable(self.message)
        return _printable(f"{self.machine}, {self.rule}: {self._measured()}")

    def _measured(self) -> str:
        value = "" if self.value is None else f" = {self.value:.6g}{' ' + self.unit if self.unit else ''}"
        text = f"{self.signal}{value}"
        if self.change == "resolved" and self.seconds is not None:
            return f"{text}, after {duration(self.seconds)}"
        return f"{text}, limit {self.limit}" if self.limit else text

    def line(self, colour: bool = False, now: int | None = None) -> str:
        """One line; with `now` (ns) the age stands in front instead of the time of day."""
        when = clock(self.time) if now is None else f"{ago(now - self.time):>9}"
        change = f"{self.severity.upper():8} {self.change:9}"
        if colour:
            change = f"\x1b[1;{_ANSI[self.colour]}m{change}\x1b[0m"
        return f"{when}  {change} {self.what()}"

    def open_line(self, when: str, colour: bool = False) -> str:
        """One line of what is open: since when, how bad, which rule, and what it is."""
        change = f"{self.severity.upper():8} {self.change:9}"
        if colour:
            change = f"\x1b[1;{_ANSI[self.colour]}m{change}\x1b[0m"
        return f"{when}  {change} {_printable(self.rule):16} {self.what()}"


class LinePrinter:
    """Prints one line an event. An observer: what `--no-tui` and `--json` show.

    Args:
        lines: of an observation.
        stop: called when the lines cannot be printed any more, as when the reader of a pipe has gone.

    Attributes:
        error: why they cannot.
    """

    def __init__(self, lines: Callable[[Observation], Iterable[str]], stop: Callable[[], object]) -> None:
        self.error: OSError | None = None
        self._lines, self._stop = lines, stop

    def update(self, observation: Observation) -> None:
        """Print what there is to say of a batch."""
        text = "\n".join(self._lines(observation))
        if not text or self.error is not None:
            return
        try:
            print(text, flush=True)  # noqa: T201
        except OSError as error:
            self.error = error
            self._stop()


def json_lines(observation: Observation) -> Iterator[str]:
    """The alerts as JSON, as subscribers get them."""
    return (message.body.decode() for message in observation.messages if message.kind in ("alert", "raw"))


def alert_lines(observation: Observation) -> Iterator[AlertLine]:
    """The transitions and the raw rows of a batch; of each raw rule at most its last 100 rows."""
    for alert in observation.decisions.alerts:
        yield AlertLine.of(alert)
    for name, rows in observation.decisions.raw.items():
        label, table = observation.labels[name], observation.series[name]
        column = rows.values.get(label.metric)
        for row in range(max(0, len(rows) - 100), len(rows)):
            yield AlertLine(
                time=int(rows.end[row]),
                change="raw",
                severity=label.severity,
                machine=" ".join(table.name(int(rows.key[row]))),
                signal=label.signal,
                rule=name,
                value=None if column is None else float(column[row]),
                unit=label.unit,
                limit=label.raise_limit,
            )


def clock(nanoseconds: int) -> str:
    """Time of day, local, `14:03:07`."""
    return time.strftime("%H:%M:%S", time.localtime(nanoseconds // SECOND))


def ago(nanoseconds: int) -> str:
    """`now`, `3 s ago`, `in 5 min`."""
    if abs(nanoseconds) < SECOND:
        return "now"
    text = duration(abs(nanoseconds) / SECOND)
    return f"{text} ago" if nanoseconds > 0 else f"in {text}"


def duration(seconds: float) -> str:
    """A length of time in its largest unit: `3 s`, `5 min`, `2 h`, `4 d`."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _nanoseconds(text: str) -> int:
    moment = datetime.fromisoformat(text)
    whole = int(moment.replace(microsecond=0, tzinfo=moment.tzinfo or UTC).timestamp())
    return whole * SECOND + moment.microsecond * 1000


def _printable(text: str) -> str:
    """The text without control characters: a machine's name must not command the terminal."""
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)
