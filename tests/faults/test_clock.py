"""The host's clock is set: nobody is taken for dead, no window has a negative length, and detection goes on."""

import numpy as np
import pytest

from agent.runtime.host_clock import HostClock
from agent.settings.build import build_pipeline
from agent.settings.settings import Settings
from sensors.batch import Batch

SECOND = 10**9
HOUR = 3600 * SECOND
YEARS = 10 * 365 * 24 * HOUR
NOW = 1_795_000_000 * SECOND
BOOT = 20 * SECOND  # 1970, and a bit


class Host:
    """A host whose clock can be set; a second passes at each `second`. Readings bear the time of the host."""

    def __init__(self, emit, wall=NOW):
        self.wall, self.monotonic = wall, 5 * SECOND
        self.clock = HostClock(lambda: self.wall, lambda: self.monotonic)
        self.pipeline = build_pipeline(
            Settings(
                agent={"site": "s", "name": "a"},
                window={
                    "w": {"type": "hopping", "metric": "x", "size": "5s", "step": "1s", "aggregates": ["mean"],
                          "emit": emit},
                    "all": {"type": "tumbling", "metric": "x", "size": "5s", "aggregates": ["mean"], "emit": emit,
                            "closing": "watermark", "idle": "10s"},
                    "slide": {"type": "sliding", "metric": "x", "size": "5s", "aggregates": ["mean"], "emit": emit},
                },
                detector={"d": {"type": "kl", "metric": "x", "size": "5s", "step": "1s"}},
                rule={
                    "sliding": {"on": "slide", "when": "mean >= 90", "clear": "mean < 61"},
                    "pattern": {"type": "pattern", "steps": ["low: x < 80", "high: x >= 90"], "metric": "x",
                                "delay": "1s"},
                    "plain": {"when": "x >= 90", "clear": "x < 80"},
                    "long": {"when": "x >= 90", "clear": "x < 80", "for": "2s", "hold": "2s"},
                    "mean": {"on": "w", "when": "mean >= 90", "clear": "mean < 61"},
                    "tumbling": {"on": "all", "when": "mean >= 90", "clear": "mean < 80"},
                    "calm": {"when": "x >= 90", "clear": "x < 80", "cooldown": "5s", "no_data": "30s"},
                    "gone": {"type": "deadman", "after": "10s"},
                },
            )
        )  # fmt: skip
        self.engine = self.pipeline.engine()
        self.alerts = []
        self.windows = []
        self.matches = 0

    def second(self, value):
        self.wall += SECOND
        self.monotonic += SECOND
        read_at, step = self.clock.read()
        index = np.zeros(1 if value is not None else 0, np.int32)
        times = np.full(len(index), read_at)
        batch = Batch(
            ("m",), index, times, {"x": np.full(len(index), value, float)}, read_at, source="s", clock_step=step
        )
        decisions = self.engine.process(batch)
        self.alerts += decisions.alerts
        self.matches += len(decisions.raw.get("pattern", ()))
        self.windows += [rows for rows in decisions.results.values() if len(rows)]

    def seconds(self, number, value):
        for _ in range(number):
            self.second(value)

    def said(self):
        found, self.alerts = self.alerts, []
        return {(alert.rule, str(alert.change)) for alert in found}


EVERY = {"plain", "long", "mean", "tumbling", "calm", "sliding"}


@pytest.mark.parametrize("emit", ["current", "final"])
@pytest.mark.parametrize(
    ("wall", "steps"),
    [
        (NOW, [+YEARS]),
        (NOW, [-HOUR]),
        (NOW, [+HOUR]),
        (NOW, [-YEARS]),
        (NOW, [+YEARS, -YEARS]),
        (NOW, [+HOUR, -HOUR]),
        (NOW, [-HOUR, +HOUR]),
        (NOW, [-30 * SECOND]),
        (BOOT, [NOW - BOOT]),
        (BOOT, [NOW - BOOT, -HOUR]),
    ],
)
@pytest.mark.parametrize("firing", [False, True])
async def test_after_the_clock_was_set_detection_goes_on(emit, wall, steps, firing):
    host = Host(emit, wall)
    host.seconds(30, 60.0)
    assert host.said() == set()
    if firing:
        host.seconds(20, 95.0)
        assert host.said() == {(rule, "raised") for rule in EVERY}
    for step in steps:
        host.wall += step
        host.seconds(20, 95.0 if firing else 60.0)
        assert host.said() <= set(), "the step itself says something"
    if not firing:
        host.seconds(20, 95.0)
        assert host.said() == {(rule, "raised") for rule in EVERY}
    host.seconds(20, 60.0)
    assert host.said() == {(rule, "resolved") for rule in EVERY}
    host.seconds(15, None)
    assert host.said() == {("gone", "raised")}
    assert host.matches == 1
    assert all((rows.end >= rows.start).all() for rows in host.windows)
    assert sum(map(len, host.windows)) < 5000


async def test_a_gateway_without_a_clock_boots_in_1970_until_it_is_told_the_time():
    host = Host("final")
    host.seconds(30, 95.0)
    assert host.said() == {(rule, "raised") for rule in EVERY}
    for _ in range(2):  # twice: what the first time left behind must not stop the clock for good
        saved = host.engine.snapshot()
        host = Host("final", BOOT)
        host.engine.restore(saved)
        host.clock.resume(host.engine.host_time)
        host.seconds(5, 95.0)
        host.wall = NOW + HOUR
        host.seconds(20, 95.0)
        assert host.said() == set()
    host.seconds(20, 60.0)
    assert host.said() == {(rule, "resolved") for rule in EVERY}
    host.seconds(15, None)
    assert host.said() == {("gone", "raised")}
