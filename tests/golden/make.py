"""`python -m tests.golden.make`: what the agent says of the golden recordings, anew. The folder's page says when."""

from __future__ import annotations

import argparse
import gzip
import json
import tempfile
from pathlib import Path

import numpy as np

from agent.detectors.power_quality.model import WaveModel
from sensors.drivers.recording import Recorder
from tests.golden import inputs
from tests.golden.replaying import HERE, RECORDINGS, pipeline_of, processor, replayed, resume, unpacked
from tests.storage import single_file

WRITTEN_AT = 380  # row of `inputs.old`


def main() -> None:
    """Write the fixtures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", action="store_true", help="make recordings and checkpoint anew, too")
    anew = parser.parse_args().inputs
    with tempfile.TemporaryDirectory() as folder:
        if anew:
            make_inputs(Path(folder))
        for name in (*RECORDINGS, "old"):
            make(name, Path(folder))


def make(name: str, folder: Path) -> None:
    """Alerts and results of a recording."""
    pipeline = pipeline_of(name)
    engine = pipeline.engine()
    if name == "old":
        resume(engine, pipeline, unpacked("old.checkpoint", folder))
    alerts, results = replayed(engine, pipeline, unpacked(f"{name}.rec", folder))
    results = {"processor": processor(), **results}
    (HERE / f"{name}.alerts.jsonl.gz").write_bytes(gzip.compress(alerts, mtime=0))
    (HERE / f"{name}.results.json").write_text(json.dumps(results, indent=1) + "\n")


def make_inputs(folder: Path) -> None:
    """Recordings, what the detectors of waves take from files, and the checkpoint."""
    wave = np.round(325.27 * np.sin(2 * np.pi * np.arange(2000) / 10 + 0.3), 1)
    (HERE / "waves.reference.csv").write_text("voltage\n" + "".join(f"{volts}\n" for volts in wave[:100]))
    noisy = wave + np.random.default_rng(5).normal(0, 1, len(wave))
    model = WaveModel.fit(noisy.reshape(-1, 200), 0.1)
    model.save(HERE / "waves.model.json")
    record("machines", inputs.machines(), folder)
    record("waves", inputs.waves(), folder)
    record("metrics", inputs.metrics(), folder)
    record("old", inputs.old(range(WRITTEN_AT, 620)), folder)
    pipeline = pipeline_of("old")
    engine = pipeline.engine()
    for batch in inputs.old(range(WRITTEN_AT)):
        engine.process(batch)
    file = folder / "checkpoint"
    single_file.save(file, {"engine": engine.snapshot(), "prints": pipeline.fingerprints, "positions": {}})
    (HERE / "old.checkpoint.gz").write_bytes(gzip.compress(file.read_bytes(), mtime=0))


def record(name: str, batches: object, folder: Path) -> None:
    """Write a recording."""
    file = folder / f"{name}.made"
    with Recorder(file) as recorder:
        for batch in batches:  # type: ignore[attr-defined]
            recorder.write(batch)
    (HERE / f"{name}.rec.gz").write_bytes(gzip.compress(file.read_bytes(), mtime=0))


if __name__ == "__main__":
    main()
