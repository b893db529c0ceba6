"""What a subscriber is told beside the score, from a file of readings through a real broker: bins, sensors, names."""

import asyncio
import json

import aiomqtt
import jsonschema
import numpy as np

from tests.integration.agent_process import ROOT, AgentProcess

SCHEMA = json.loads((ROOT / "agent/alerts/schema/alert.v1.json").read_text())
START = 1_750_000_000 * 10**9


def recording(path, columns, step):
    """A CSV of one machine, `step` ns between lines."""
    names = ",".join(columns)
    lines = [
        f"{START + i * step},m1," + ",".join("" if np.isnan(value) else f"{value:.4f}" for value in values)
        for i, values in enumerate(zip(*columns.values(), strict=True))
    ]
    path.write_text(f"time,machine,{names}\n" + "\n".join(lines) + "\n")
    return path


async def alerts(tmp_path, url, columns, step, detector, rule):
    """All alerts that a subscriber gets of a recording until its incident is over."""
    path = recording(tmp_path / "readings.csv", columns, step)
    config = tmp_path / "agent.toml"
    config.write_text(f"""
[agent]
site = "hall-1"
name = "line-a"
state = "{tmp_path}/state"

[source.file]
type = "file"
path = "{path}"
speed = "max"
codec = {{ type = "csv", time = "time", time_unit = "ns", machine = "machine" }}

[detector.one]
{detector}

[rule.found]
on = "one"
{rule}

[sink.broker]
type = "mqtt"
url = "{url}"
""")
    host, port = url.removeprefix("mqtt://").split(":")
    events = []
    async with asyncio.timeout(30), aiomqtt.Client(host, int(port), protocol=aiomqtt.ProtocolVersion.V5) as client:
        await client.subscribe("edge/v1/hall-1/line-a/+/event/alert", qos=1)
        async with AgentProcess("run", "-c", config):
            async for message in client.messages:
                event = json.loads(message.payload)
                jsonschema.validate(event, SCHEMA)
                events.append(event)
                if event["type"].endswith("resolved"):
                    return events


async def test_a_drift_names_the_bins_that_moved(tmp_path, mosquitto):
    rng = np.random.default_rng(1)
    level = np.where((np.arange(9000) >= 5000) & (np.arange(9000) < 7000), 12.0, 10.0)
    raised, *_ = await alerts(
        tmp_path, mosquitto.url, {"level": rng.normal(level, 1)}, 10**7,
        'type = "kl"\nmetric = "level"\nsize = "5s"\nstep = "1s"\nbins = 20\nlearn = "20s"',
        'when = "score > 0.5"\nclear = "score < 0.2"',
    )  # fmt: skip
    moved = raised["data"]["evidence"]["moved"]
    assert len(moved) == 3
    assert all(set(bin) == {"low", "high", "reference", "window", "share"} for bin in moved)
    changes = [abs(bin["window"] - bin["reference"]) for bin in moved]
    assert changes == sorted(changes, reverse=True)
    assert changes[0] > 0.05
    assert raised["data"]["signal"] == "level"


async def test_several_sensors_name_those_that_contribute_most(tmp_path, mosquitto):
    rng = np.random.default_rng(0)
    n = 1500
    pressure = 5 + np.convolve(rng.normal(0, 1, n + 20), np.ones(20) / 20, "valid")[:n]
    columns = {
        "pressure": pressure,
        "flow": 2 * pressure + rng.normal(0, 0.05, n),
        "power": 10 - pressure + rng.normal(0, 0.05, n),
        "oil": rng.normal(40, 1, n),
    }
    columns["power"][900:960] += 5
    raised, *_ = await alerts(
        tmp_path, mosquitto.url, columns, 10**9,
        'type = "pca"\nmetrics = ["pressure", "flow", "power", "oil"]', 'when = "score >= 1"',
    )  # fmt: skip
    sensors = raised["data"]["evidence"]["sensors"]
    assert next(iter(sensors)) == "power"
    assert 1 <= len(sensors) <= 3
    assert sensors["power"] > 0.3


async def test_a_voltage_alert_names_the_disturbance_with_depth_and_duration(tmp_path, mosquitto):
    rng = np.random.default_rng(6)
    wave = 325 * np.sin(2 * np.pi * 50 * np.arange(12_000) / 1000 + 1) + rng.standard_normal(12_000)
    wave[8000:8100] *= 0.4
    raised, *_ = await alerts(
        tmp_path, mosquitto.url, {"voltage": wave}, 10**6,
        'type = "mains"\nmetric = "voltage"\nwindow = 1000\nlearn = 5',
        'when = "score > 1"\nfor = "100ms"\nhold = "500ms"',
    )  # fmt: skip
    evidence = raised["data"]["evidence"]
    assert evidence["disturbance"] == "sag"
    assert abs(evidence["size"] - 0.6) < 0.02
    assert evidence["size_unit"] == "of normal"
    assert abs(evidence["duration_s"] - 0.1) < 0.01
    assert raised["data"]["started_at"].startswith("2025-06-15T15:06:48")


async def test_a_silent_machine_is_told_how_long_and_how_long_is_usual(tmp_path, mosquitto):
    gap = np.ones(200)
    gap[100:140] = np.nan
    path_values = {"level": gap, "other": np.ones(200)}
    raised, *_ = await alerts(
        tmp_path, mosquitto.url, path_values, 10**9, 'type = "missing"\nmetric = "level"', 'when = "score >= 1"'
    )
    assert raised["data"]["evidence"] == {"silence_s": 5.0, "usual_s": 1.0}
