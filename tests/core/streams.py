"""Random streams of readings, and what an engine says of them however they are cut."""

import numpy as np
from hypothesis import strategies as st

from agent.runtime.messages import encode
from agent.settings.build import build_pipeline
from agent.settings.settings import Settings
from sensors.batch import Batch

START = 1_700_000_000_000_000_000
MACHINES = ("a", "b", "c")


@st.composite
def streams(draw, most=60):
    """Readings of three machines: out of order, repeated, missing, wild."""
    n = draw(st.integers(1, most))
    machine = draw(st.lists(st.integers(0, 2), min_size=n, max_size=n))
    steps = draw(st.lists(st.integers(-1500, 4000), min_size=n, max_size=n))
    values = draw(
        st.lists(
            st.one_of(
                st.floats(60, 120), st.sampled_from([float("nan"), float("inf"), -float("inf"), 1e308, -0.0])
            ),
            min_size=n,
            max_size=n,
        )
    )
    time = START + np.maximum(np.cumsum(steps), 0) * 1_000_000
    return Batch(
        MACHINES,
        np.array(machine, np.int32),
        time.astype(np.int64),
        {"x": np.array(values)},
        int(time.max()) + 5_000_000_000,
    )


def cuts(n):
    """Where to cut a stream of n rows."""
    return st.lists(st.integers(0, n), max_size=6).map(sorted)


def pieces(batch, places):
    """The batch cut at these places."""
    return [batch.slice(i, j) for i, j in zip([0, *places], [*places, len(batch)], strict=True)]


def pipeline(tables):
    """Fresh parts of a configuration given as tables."""
    return build_pipeline(Settings(**{"agent": {"site": "s", "name": "a", "metrics": True}, **tables}))


def said(engine, identity, batches):
    """Everything that goes out, kind by kind, byte for byte."""
    found = {}
    for batch in batches:
        for message in encode(engine.process(batch), engine, identity, metrics=True):
            found.setdefault(message.kind, []).append((message.id, message.machine, message.name, message.body))
    return found
