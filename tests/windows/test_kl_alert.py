"""A drift from configuration to alert."""

import numpy as np
import orjson

from agent.settings.build import build_pipeline
from agent.settings.settings import Settings
from sensors.batch import Batch

SECOND = 10**9


def test_an_alert_of_a_drift_names_the_bins_that_moved():
    tables = {
        "agent": {"idle": False},
        "detector": {
            "drift": {"type": "kl", "metric": "x", "size": "5s", "step": "1s", "bins": 20, "learn": "20s"}
        },
        "rule": {"drifted": {"on": "drift", "when": "score > 0.5", "clear": "score < 0.2"}},
    }
    engine = build_pipeline(Settings(**tables)).engine()
    rng = np.random.default_rng(1)
    n = 6000
    level = np.where(np.arange(n) < 4000, 10.0, 12.0)
    time = 1_700_000_000 * SECOND + np.arange(n) * SECOND // 100
    batch = Batch(("m",), np.zeros(n, np.int32), time, {"x": rng.normal(level, 1)}, int(time[-1]))
    raised = [alert for alert in engine.process(batch).alerts if alert.change == "raised"]
    assert len(raised) == 1
    assert 40 <= (raised[0].time - int(time[0])) / SECOND <= 45
    moved = orjson.loads(orjson.dumps(raised[0].evidence))["moved"]
    assert len(moved) == 3
    assert any(bin["window"] > bin["reference"] + 0.02 for bin in moved)
