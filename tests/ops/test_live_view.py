"""The live view and the plain lines: what they show, and that they stay bounded."""

from __future__ import annotations

import asyncio
import dataclasses
import io
import time

import numpy as np
import pytest
from rich.console import Console

from agent.alerts.alert import Alert, Change, Identity, Message
from agent.alerts.cloudevents import encode_alert
from agent.core.operator import Operator
from agent.engine.engine import Decisions, Engine
from agent.ops.alert_lines import AlertLine, LinePrinter, ago, alert_lines, clock, duration, json_lines
from agent.ops.live_view import LiveView
from agent.ops.observers import Observation
from agent.rules import Rule, Verdict
from sensors.batch import Batch

SECOND = 10**9
NOON = 1_700_000_000 * SECOND


@dataclasses.dataclass
class Double(Operator):
    """A step: twice the reading."""

    on: str = ""
    by: tuple[str, ...] = ("machine",)
    metric: str = "t"

    def process(self, rows):
        return dataclasses.replace(rows, values={"mean": rows.values["t"] * 2})


@dataclasses.dataclass
class Hot(Rule):
    """A raw rule: doubled readings of 90 and more."""

    on: str = "double"
    by: tuple[str, ...] = ("machine",)
    type: str = "threshold"
    signal: str = "t.mean"
    unit: str = "°C"
    raise_limit: str = "mean >= 90"
    clear_limit: str = ""
    metric: str = "mean"
    severity: str = "critical"
    limit: str = ">= 90"

    def process(self, rows):
        return Verdict(raw=rows.take(rows.values["mean"] >= 90))


def _engine() -> Engine:
    return Engine({"double": Double()}, {"hot": Hot()}, Identity("plant", "gateway"))


def _batch(values: list[float], machines: int = 3) -> Batch:
    names = tuple(f"m{number}" for number in range(machines))
    n = len(values)
    machine = (np.arange(n) % machines).astype(np.int32)
    return Batch(names, machine, NOON + np.arange(n) * SECOND, {"t": np.array(values)}, NOON)


ALERT = Alert(
    id="1",
    incident="i1",
    key="k",
    change=Change.RAISED,
    rule="overheating",
    rule_type="threshold",
    machine="m2",
    series=("m2",),
    signal="t.mean",
    severity="critical",
    value=90.6,
    unit="°C",
    raise_limit="mean >= 90",
    clear_limit="mean < 88",
    window_start=NOON,
    window_end=NOON + 5 * SECOND,
    time=NOON + 5 * SECOND,
    recorded=NOON + 5 * SECOND,
    started_at=NOON,
    sequence=1,
)
RESOLVED = dataclasses.replace(ALERT, id="2", change=Change.RESOLVED, value=80.0, ended_at=NOON + 9 * SECOND)


def _view(height: int = 30) -> tuple[LiveView, io.StringIO]:
    stream = io.StringIO()
    console = Console(file=stream, width=120, height=height, force_terminal=True, color_system=None)
    return LiveView("agent", "mosquitto_sub -t x", lambda: {"sent": 7, "waiting": 0}, console), stream


def _picture(view: LiveView) -> str:
    with view.console.capture() as capture:
        view.console.print(view.draw())
    return capture.get()


def _decide(engine: Engine, batch: Batch, alerts: list[Alert] = ()) -> Decisions:
    return dataclasses.replace(engine.process(batch), alerts=list(alerts))


def _observe(engine: Engine, batch: Batch, alerts: list[Alert] = ()) -> Observation:
    return Observation.of(engine, batch, _decide(engine, batch, alerts))


def test_the_view_shows_machines_values_states_and_how_to_subscribe():
    view, _ = _view()
    engine, batch = _engine(), _batch([1.0, 2.0, 3.0, 4.0])
    view.update(_observe(engine, batch, [ALERT]))
    lines = _picture(view).splitlines()
    rows = {line.split()[0]: line for line in lines if line.startswith("m")}
    assert "8.00" in rows["m0"]
    assert "ok" in rows["m0"]
    assert f"critical: overheating since {clock(ALERT.time)}" in rows["m2"]
    assert list(rows)[:4] == ["machine", "m2", "m0", "m1"]
    assert any("CRITICAL raised" in line and "t.mean = 90.6 °C, limit mean >= 90" in line for line in lines)
    assert "alerts 1" in lines[0]
    assert "open 1" in lines[0]
    assert "sent 7" in lines[0]
    assert "waiting" not in lines[0]
    assert "mosquitto_sub -t x" in lines[-1]
    view.update(_observe(engine, batch, [RESOLVED]))
    assert "critical: overheating" not in _picture(view)


def test_a_thousand_machines_cost_little_and_the_worst_is_on_top():
    view, _ = _view(height=24)
    engine, batch = _engine(), _batch(list(np.linspace(0, 40, 2000)), machines=1000)
    alert = dataclasses.replace(ALERT, machine="m777", series=("m777",))
    decisions = _decide(engine, batch, [alert])
    view.update(Observation.of(engine, batch, decisions))
    picture = _picture(view).splitlines()
    assert len(picture) <= 24
    assert [line for line in picture if line.startswith("m")][1].startswith("m777")
    assert any("and 991 more" in line for line in picture)
    started = time.process_time()
    for _ in range(20):
        view.update(Observation.of(engine, batch, decisions))
        view.draw()
    assert (time.process_time() - started) / 20 < 0.05


def test_a_series_without_any_value_is_not_listed():
    view, _ = _view()
    engine, batch = _engine(), _batch([1.0, np.nan, 3.0])
    view.update(_observe(engine, batch))
    rows = {line.split()[0] for line in _picture(view).splitlines() if line.startswith("m")}
    assert rows >= {"m0", "m2"}
    assert "m1" not in rows


def test_raw_rows_are_counted_and_listed():
    view, _ = _view()
    engine, batch = _engine(), _batch([1.0, 45.0, 50.0])
    view.update(_observe(engine, batch))
    picture = _picture(view)
    assert "raw hot 2" in picture
    assert "hot: t.mean = 100 °C, limit mean >= 90" in picture


def test_a_name_cannot_command_the_terminal():
    evil = dataclasses.replace(ALERT, machine="\x1b[2J[red]", series=("\x1b[2J[red]",))
    assert "\x1b" not in AlertLine.of(evil).line()
    view, _ = _view()
    engine, batch = _engine(), _batch([1.0])
    view.update(_observe(engine, batch, [evil]))
    assert "\x1b[2J" not in _picture(view)
    assert "?[2J[red]" in _picture(view)


async def test_the_view_draws_until_it_is_cancelled():
    view, stream = _view()
    engine, batch = _engine(), _batch([1.0, 2.0, 3.0])
    drawing = asyncio.create_task(view.run())
    await asyncio.sleep(0)
    view.update(_observe(engine, batch))
    drawing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await drawing
    assert "m2" in stream.getvalue()


def _people(observation: Observation) -> list[str]:
    return [line.line() for line in alert_lines(observation)]


def test_without_a_terminal_each_event_is_one_line(capsys):
    printer = LinePrinter(_people, stop=lambda: None)
    printer.update(_observe(_engine(), _batch([1.0, 2.0, 50.0]), [ALERT, RESOLVED]))
    raised, resolved, raw = capsys.readouterr().out.splitlines()
    assert raised.startswith(clock(ALERT.time))
    assert raised.endswith("CRITICAL raised    m2, overheating: t.mean = 90.6 °C, limit mean >= 90")
    assert resolved.endswith("CRITICAL resolved  m2, overheating: t.mean = 80 °C, after 9 s")
    assert raw.endswith("raw       m2, hot: t.mean = 100 °C, limit mean >= 90")
    printer.update(_observe(_engine(), _batch([])))
    assert capsys.readouterr().out == ""


def test_when_nobody_reads_the_lines_any_more_the_printer_asks_to_stop(monkeypatch):
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    stopped = []
    printer = LinePrinter(_people, stop=lambda: stopped.append(True))
    monkeypatch.setattr("sys.stdout", Gone())
    for _ in range(2):
        printer.update(_observe(_engine(), _batch([50.0])))
    assert stopped == [True]
    assert isinstance(printer.error, BrokenPipeError)


def test_the_json_lines_are_the_alerts_and_raw_events_that_go_out():
    out = [Message(f"{kind}/1", kind, "m", "", kind.encode(), NOON) for kind in ("alert", "state", "raw", "metric")]
    assert list(json_lines(Observation(_batch([]), Decisions(), out, {}, {}))) == ["alert", "raw"]


def test_a_series_that_took_the_place_of_another_does_not_change_what_was_seen_before():
    engine, batch = _engine(), _batch([50.0])
    seen = _observe(engine, batch)
    table = engine.series("hot")
    table.evict(np.array([0]))
    table.intern(dataclasses.replace(batch, machines=("other", "m1", "m2")), NOON)
    assert table.name(0) == ("other",)
    assert [line.machine for line in alert_lines(seen)] == ["m0"]


def test_raw_rows_of_a_huge_batch_are_bounded():
    engine, batch = _engine(), _batch([50.0] * 5000)
    assert len(list(alert_lines(_observe(engine, batch)))) == 100


def test_the_sentence_of_an_alert_is_what_a_person_reads():
    told = dataclasses.replace(ALERT, message="machine m2: mean t 90.6 °C >= 90 over 5 s")
    assert AlertLine.of(told).line().endswith("CRITICAL raised    machine m2: mean t 90.6 °C >= 90 over 5 s")


@pytest.mark.parametrize(
    "alert", [ALERT, RESOLVED, dataclasses.replace(ALERT, message="m2 is hot", severity="fatal")]
)
def test_an_event_from_a_broker_reads_the_same(alert):
    history, _ = encode_alert(alert, Identity("plant", "gateway"))
    assert AlertLine.parse(history.body).line() == AlertLine.of(alert).line()


@pytest.mark.parametrize("body", [b"", b"{}", b"[1]", b'{"data": 3}', b"\xff", b'{"data": {}, "time": "x"}'])
def test_what_is_no_alert_event_is_refused(body):
    with pytest.raises(ValueError):  # noqa: PT011  several kinds, each with its own words
        AlertLine.parse(body)


def test_ages_and_durations_are_as_people_say_them():
    assert [duration(s) for s in (0.4, 59, 90, 600, 7200, 200000)] == [
        "0 s",
        "59 s",
        "90 s",
        "10 min",
        "2 h",
        "2 d",
    ]
    assert (ago(10), ago(3 * SECOND), ago(-600 * SECOND)) == ("now", "3 s ago", "in 10 min")
    assert AlertLine.of(ALERT).line(now=ALERT.time + 3 * SECOND).startswith("  3 s ago  CRITICAL")
    assert "\x1b[1;31mCRITICAL raised" in AlertLine.of(ALERT).line(colour=True)
