"""The waveform detectors in the engine, from configuration to alert."""

import tomllib
from pathlib import Path

import numpy as np
import pytest

from agent.alerts.alert import Change, Identity
from agent.engine.engine import Engine
from agent.settings.registry import build
from sensors.batch import Batch

CONFIG = Path(__file__).parents[2] / "config"


def engine(name, detector, rule):
    table = tomllib.loads((CONFIG / name).read_text())
    return Engine(
        {detector: build("detector", f"detector.{detector}", table["detector"][detector])},
        {rule: build("rule", f"rule.{rule}", table["rule"][rule])},
        Identity("site", "agent"),
    )


def batch(wave, first, last, machines=("m1",)):
    time = np.arange(first, last) * 10**6
    return Batch(machines, np.zeros(last - first, np.int32), time, {"voltage": wave[first:last]}, int(time[-1]))


def alerts(engine, wave, piece):
    found = []
    for first in range(0, len(wave), piece):
        found += engine.process(batch(wave, first, min(first + piece, len(wave)))).alerts
    return found


@pytest.mark.parametrize("piece", [30_000, 777])
def test_an_alert_names_the_disturbance_with_depth_and_duration(piece):
    rng = np.random.default_rng(6)
    wave = 325 * np.sin(2 * np.pi * 50 * np.arange(30_000) / 1000 + 1) + rng.standard_normal(30_000)
    wave[20_000:20_100] *= 0.2
    found = alerts(engine("voltage.toml", "wave", "disturbance"), wave, piece)
    assert [alert.change for alert in found] == [Change.RAISED, Change.RESOLVED]
    said = found[0].evidence
    assert said["disturbance"] == "sag"
    assert said["size"] == pytest.approx(0.8, abs=0.01)
    assert said["size_unit"] == "of normal"
    assert said["duration_s"] == pytest.approx(0.1, abs=0.01)
    assert 20 < found[0].started_at / 1e9 < 20.03


@pytest.mark.parametrize(("length", "left"), [(100, 0.6), (700, 0.6), (4500, 0.8), (3000, 0.0)])
def test_the_end_of_an_alert_tells_the_whole_event(length, left):
    rng = np.random.default_rng(6)
    wave = 325 * np.sin(2 * np.pi * 50 * np.arange(30_000) / 1000 + 1)
    wave[20_000 : 20_000 + length] *= left
    wave += rng.standard_normal(len(wave))
    found = alerts(engine("voltage.toml", "wave", "disturbance"), wave, 900)
    assert [alert.change for alert in found] == [Change.RAISED, Change.RESOLVED]
    assert found[0].evidence["event"]["over"] is False
    said = found[1].evidence["event"]
    assert said["over"] is True
    assert said["disturbance"] == ("sag" if left else "interruption")
    assert said["duration_s"] == pytest.approx(length / 1000, abs=0.03)  # a period and a half
    assert said["size"] == pytest.approx(1 - left, abs=0.02)
    assert said["rms_min"] == pytest.approx(left * 325 / np.sqrt(2), abs=2)
    begin = np.datetime64(said["begin"].removesuffix("Z")).astype("datetime64[us]").astype(float) / 1e6
    assert begin == pytest.approx(20, abs=0.025)
    assert said["stretches"] == 1
    assert f": {said['disturbance']} by {100 * said['size']:.3g} % of normal, " in found[1].message


def test_two_sags_of_one_event_are_two_stretches():
    rng = np.random.default_rng(6)
    wave = 325 * np.sin(2 * np.pi * 50 * np.arange(30_000) / 1000 + 1) + rng.standard_normal(30_000)
    wave[20_000:20_300] *= 0.5
    wave[20_900:21_000] *= 0.7
    found = alerts(engine("voltage.toml", "wave", "disturbance"), wave, 900)
    assert [alert.change for alert in found] == [Change.RAISED, Change.RESOLVED]
    said = found[1].evidence["event"]
    assert (said["disturbance"], said["stretches"]) == ("sag", 2)
    assert said["duration_s"] == pytest.approx(0.3, abs=0.015)


def test_the_tutorial_live():
    wave = 230 * np.sqrt(2) * np.sin(2 * np.pi * 50 * np.arange(0, 5, 1 / 1000))
    wave[2300:2400] *= 0.2
    found = alerts(engine("voltage_tutorial.toml", "kl", "anomaly"), wave, 500)
    assert [(alert.change, alert.time // 10**9) for alert in found] == [(Change.RAISED, 2), (Change.RESOLVED, 3)]
    assert found[0].evidence["bin"] in range(50)
    assert abs(found[0].evidence["change"]) > 0.01
