"""Work that takes a while says on a terminal how far it is; how it is cut changes nothing."""

import io

import numpy as np
import pytest

from agent.offline import evaluate
from agent.offline import progress as progress_module
from agent.offline.evaluate import EvaluationOptions, scored
from agent.offline.labelled import read_table
from agent.offline.progress import Meter, progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """A clock that is set by hand, and what is written meanwhile."""

    class Clock:
        now = 100.0

        def monotonic(self):
            return self.now

    one = Clock()
    monkeypatch.setattr(progress_module, "time", one)
    return one


def walk(monkeypatch, clock, seconds, count, terminal):
    monkeypatch.setattr("sys.stderr", terminal)
    for _ in progress(range(count), "scoring"):
        clock.now += seconds
    return terminal.getvalue()


def test_a_long_work_says_how_far_it_is_and_how_long_it_will_take(monkeypatch, clock):
    shown = walk(monkeypatch, clock, 20.0, 10, Terminal())
    assert "scoring: 10%, about 3 min 0 s left" in shown
    assert "scoring: 50%, about 1 min 40 s left" in shown
    assert shown.endswith("\r\x1b[K")


def test_short_work_and_a_pipe_say_nothing(monkeypatch, clock):
    assert walk(monkeypatch, clock, 0.2, 10, Terminal()) == ""
    assert walk(monkeypatch, clock, 20.0, 10, io.StringIO()) == ""


def test_the_line_is_taken_away_where_the_work_fails(monkeypatch, clock):
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    items = progress(range(9))
    next(items)
    clock.now += 60
    next(items)
    items.close()
    assert terminal.getvalue().endswith("\r\x1b[K")


def test_a_meter_that_is_not_to_be_shown_is_silent(monkeypatch, clock):
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    meter = Meter("replaying", 100, shown=False)
    clock.now += 60
    meter.update(50)
    meter.close()
    assert terminal.getvalue() == ""


CONFIG = """
[window.mean]
type = "tumbling"
metric = "x"
size = "4s"

[detector.drift]
type = "robust_z"
on = "mean"
metric = "mean"
warmup = 5

[detector.plain]
type = "ewma"
metric = "x"
"""


@pytest.mark.parametrize(
    ("detector", "configured"), [("drift", True), ("plain", True), ("ewma", False), ("spike", False)]
)
def test_the_pieces_in_which_a_recording_is_judged_change_nothing(tmp_path, monkeypatch, detector, configured):
    x = np.random.default_rng(0).normal(0, 1, 400)
    x[300:320] += 10
    lines = [f"{i},{v:.3f},{int(300 <= i < 320)}" for i, v in enumerate(x)]
    (tmp_path / "a.csv").write_text("\n".join(["time,x,label", *lines]) + "\n")
    (tmp_path / "agent.toml").write_text(CONFIG)
    (item,) = read_table(tmp_path / "a.csv")
    options = EvaluationOptions(detector=detector, config=tmp_path / "agent.toml" if configured else None)
    shown, score, found = scored(options, item, pytest.fail)
    monkeypatch.setattr(evaluate, "PIECE", 37)
    again, other, pieces = scored(options, item, pytest.fail)
    assert np.array_equal(score, other, equal_nan=True)
    assert np.array_equal(found.at, pieces.at)
    assert np.array_equal(shown.label, again.label)
