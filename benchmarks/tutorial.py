"""The Quix tutorial's pipeline, beside Quix Streams itself on the same events, in process.

JSON decode -> hopping mean over 5 s / 1 s, emitted on every event -> round 2 -> alert at >= 90 -> JSON encode. Both
publish the bare mean (`payload = "value"`) and what they raise is compared, alert by alert; the figure `events` is
ours with whole CloudEvents of about 700 bytes instead.
`make bench-peers` installs Quix; without it only our figures are printed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson

from agent.alerts.alert import Identity, Message
from agent.engine.engine import Engine
from agent.ops.memory import tune_garbage_collector
from agent.runtime.messages import encode
from agent.settings.registry import build
from benchmarks.figures import emit

PEER = Path(__file__).parents[1] / ".venv-peers" / "bin" / "python"
START = 1_710_856_626_000
STEP_SECONDS = 0.6  # a machine reports about as often as in the tutorial
IDENTITY = Identity("plant", "bench")
Told = tuple[str, int, float]
"""Machine, start of the window in ms, rounded mean."""


@dataclass(frozen=True, slots=True)
class Events:
    """Messages as they lie in the broker: keys and JSON values, in order."""

    keys: list[str]
    values: list[bytes]

    def __len__(self) -> int:
        return len(self.keys)


def events(count: int, machines: int, seed: int = 0) -> Events:
    """Machines in turn, each a random step of -1, 0 or +1 C; every third one moves between 74 and 95 C."""
    random = np.random.default_rng(seed)
    rounds = -(-count // machines)
    steps = np.cumsum(random.integers(-1, 2, (rounds, machines)), axis=0)
    low, high = np.where(np.arange(machines) % 3 == 2, 74, 45), np.where(np.arange(machines) % 3 == 2, 95, 75)
    span = high - low
    degrees = low + span - np.abs((steps + span // 2) % (2 * span) - span)  # reflected at both ends
    gap = STEP_SECONDS / machines
    times = (START * 10**6 + (np.arange(count) * gap * 10**9)).astype(np.int64)
    values = [
        b'{"Temperature_C": %d, "Timestamp": %d}' % pair
        for pair in zip(degrees.reshape(-1)[:count].tolist(), times.tolist(), strict=True)
    ]
    return Events([str(number % machines) for number in range(count)], values)


def pipeline(payload: str = "value") -> tuple[object, Engine]:
    """Codec and engine as the configuration makes them."""
    codec = build("codec", "source.line.codec", {"type": "json", "time": "Timestamp", "time_unit": "ns"})
    window = build(
        "window",
        "window.mean_5s",
        {"type": "hopping", "metric": "Temperature_C", "size": "5s", "step": "1s", "emit": "current",
         "aggregates": ["mean"]},
    )  # fmt: skip
    rule = build(
        "rule",
        "rule.hot",
        {"on": "mean_5s", "when": "round(mean, 2) >= 90", "mode": "raw", "digits": 2, "payload": payload},
    )
    return codec, Engine({"mean_5s": window}, {"hot": rule}, IDENTITY)


def ours(given: Events, block: int, payload: str = "value") -> tuple[float, list[Message]]:
    """CPU seconds and messages of our pipeline, fed as many messages at once as a fetch from Kafka brings."""
    codec, engine = pipeline(payload)
    sent: list[Message] = []
    started = time.process_time()
    for first in range(0, len(given), block):
        part = slice(first, first + block)
        batch = codec.decode(given.values[part], START * 10**6, machines=given.keys[part])  # type: ignore[attr-defined]  # a Codec
        sent += encode(engine.process(batch), engine, IDENTITY)
    return time.process_time() - started, sent


def theirs(given: Events) -> tuple[dict[str, float], list[Told]] | None:
    """Figures and alerts of Quix Streams; None where it is not installed."""
    if not PEER.exists():
        print("Quix Streams is not installed; `make bench-peers` does it", file=sys.stderr)
        return None
    with tempfile.TemporaryDirectory() as folder:
        read, written = Path(folder) / "events", Path(folder) / "alerts"
        pairs = zip(given.keys, given.values, strict=True)
        read.write_text("".join(json.dumps({"key": k, "value": v.decode()}) + "\n" for k, v in pairs))
        command = [PEER, Path(__file__).parent / "peers" / "quix.py", read, written]
        run = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
        if run.returncode:
            raise RuntimeError(f"Quix Streams failed: {run.stderr[-2000:]}")
        told = []
        for line in written.read_text().splitlines():
            key, start, value = line.split(" ")
            told.append((key, int(start), float(value)))
        return json.loads(run.stdout.splitlines()[-1]), told


def told(messages: list[Message]) -> list[Told]:
    """What our messages say, in Quix's terms."""
    return [(message.machine, message.time // 10**6, orjson.loads(message.body)) for message in messages]


def main(arguments: list[str]) -> int:
    """Run for 3 and 100 machines; ends with 1 if the results differ."""
    parser = argparse.ArgumentParser(prog="benchmarks tutorial", description=__doc__)
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--machines", type=int, nargs="+", default=[3, 100])
    parser.add_argument("--block", type=int, default=10_000, help="messages handed over at once")
    options = parser.parse_args(arguments)
    tune_garbage_collector()  # as the agent does
    code = 0
    for machines in options.machines:
        given = events(options.events, machines)
        seconds, messages = min((ours(given, options.block) for _ in range(3)), key=lambda run: run[0])
        whole = min(ours(given, options.block, "event")[0] for _ in range(3)) / len(given) * 1e6
        peer = theirs(given)
        more: dict[str, object] = {}
        mine = seconds / len(given) * 1e6
        if peer is not None:
            figures, alerts = peer
            other = figures["cpu_seconds"] / len(given) * 1e6
            more = {"peer": "quixstreams 3.28.1", "peer_value": other, "ratio": other / mine}
        emit("tutorial", f"cpu_per_event_{machines}_machines", mine, "us", events=len(given), **more)
        emit("tutorial", f"cpu_per_event_{machines}_machines_events", whole, "us", events=len(given))
        emit("tutorial", f"alerts_{machines}_machines", len(messages), "alerts")
        if peer is not None:
            same = told(messages) == alerts
            emit("tutorial", f"identical_{machines}_machines", float(same), "1 = yes", peer_value=len(alerts))
            code |= not same
    return code
