"""A long run holds no more memory at its end than after its beginning."""

import gc

import numpy as np

from agent.runtime.messages import encode
from agent.settings.build import build_pipeline
from agent.settings.settings import Settings
from sensors.batch import Batch

SECOND = 10**9
START = 1_700_000_000 * SECOND


def test_deciding_leaves_no_circles_behind():
    """Circles of objects are found late, and what they hold are the arrays of whole batches."""
    pipeline = build_pipeline(
        Settings(
            agent={"site": "s", "name": "a", "metrics": True},
            window={
                "mean": {"type": "hopping", "metric": "x", "size": "5s", "step": "1s"},
                "sum": {"type": "tumbling", "metric": "x", "size": "5s", "aggregates": ["sum"], "emit": "current"},
                "session": {"type": "session", "metric": "x", "gap": "2s"},
                "sliding": {"type": "sliding", "metric": "x", "size": "2s"},
            },
            detector={
                "kl": {"type": "kl", "metric": "x", "size": "5s", "step": "1s", "learn": "5s"},
                "ewma": {"type": "ewma", "metric": "x"},
            },
            rule={
                "hot": {"on": "mean", "when": "mean >= 100"},
                "long": {"when": "x >= 100", "for": "2s"},
                "drift": {"on": "kl", "when": "score > 1"},
                "gone": {"type": "deadman", "after": "10s"},
                "raw": {"when": "x >= 119", "mode": "raw"},
            },
        )
    )
    engine = pipeline.engine()
    rng = np.random.default_rng(1)
    machines = tuple(f"m{number}" for number in range(50))
    index = np.arange(50, dtype=np.int32)

    def run(first, last):
        for number in range(first, last):
            time = START + number * SECOND // 4
            batch = Batch(machines, index, np.full(50, time), {"x": rng.uniform(60, 120, 50)}, time, source="s")
            encode(engine.process(batch), engine, pipeline.identity, metrics=True)

    run(0, 100)
    gc.collect()
    gc.disable()
    try:
        run(100, 200)
        assert gc.collect() == 0
    finally:
        gc.enable()
