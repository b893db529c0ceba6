"""What a codec makes of bytes as they come: whole, in pieces, as one message; and what the agent decides of a file."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from agent.settings.build import build_pipeline
from agent.settings.registry import build
from agent.settings.settings import load
from sensors.batch import Batch
from sensors.codecs import Codec
from sensors.source import Counters

Row = dict[str, Any]


def codec_of(table: str) -> Codec:
    """The codec of an inline table, checked as one of a configuration."""
    return build("codec", "source.case.codec", tomllib.loads(f"codec = {{ {table} }}")["codec"])


def rows_of(*batches: Batch | None) -> list[Row]:
    """A dict a row, without what is missing; times as ISO text in UTC."""
    found = []
    for batch in batches:
        for row in range(len(batch) if batch is not None else 0):
            record: Row = {"time": utc(int(batch.time[row]))}
            if batch.machines[batch.machine[row]]:
                record["machine"] = batch.machines[batch.machine[row]]
            record |= {n: float(c[row]) for n, c in batch.values.items() if not math.isnan(c[row])}
            record |= {n: t.words[t.codes[row]] for n, t in batch.texts.items() if t.codes[row] >= 0}
            found.append(record)
    return found


def utc(instant: int) -> str:
    seconds, rest = divmod(instant, 10**9)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}" + (f".{rest:09}".rstrip("0") if rest else "")


def read(table: str, data: bytes, read_at: int = 0) -> tuple[list[Row], Counters]:
    """The rows of a stream, and what was counted; in whatever pieces it comes, they are the same."""
    results = []
    for cuts in ([0, len(data)], range(0, len(data) + 7, 7), range(len(data) + 1)):
        codec = codec_of(table)
        batches = [codec.feed(data[a:b], read_at) for a, b in pairwise(cuts)]
        results.append((rows_of(*batches, codec.finish(read_at)), codec.counters))
    assert results[0] == results[1] == results[2]
    return results[0]


def message(table: str, *messages: bytes, read_at: int = 0) -> tuple[list[Row], Counters]:
    """The rows of messages of a broker, and what was counted; all at once, or one by one."""
    together, apart = codec_of(table), codec_of(table)
    machines = [f"topic-{number}" for number in range(len(messages))]
    whole = rows_of(together.decode(list(messages), read_at, None, machines))
    single = [apart.decode([one], read_at, None, [name]) for one, name in zip(messages, machines, strict=True)]
    assert whole == rows_of(*single)
    assert together.counters == apart.counters
    return whole, together.counters


async def decided(folder: Path, toml: str, files: Mapping[str, bytes]) -> list[tuple[str, str, str, float | None]]:
    """Change, time, rule and value of each alert that a configuration with one source `export` gives."""
    for name, data in files.items():
        (folder / name).write_bytes(data)
    (folder / "agent.toml").write_text(toml.replace("@", f"{folder}/"))
    pipeline = build_pipeline(load(folder / "agent.toml", []))
    engine, found = pipeline.engine(), []
    async with pipeline.sources["export"] as source:
        async for batch in source:
            found += engine.process(batch).alerts
    return [(str(one.change), utc(one.time), one.rule, one.value) for one in found]
