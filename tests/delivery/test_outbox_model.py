"""The outbox against a simple model: whatever happens in whatever order, nothing is lost, doubled or out of order."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from agent.alerts.alert import Kind, Message
from agent.outbox import Outbox
from agent.outbox.cursor import PRESENT, MessageBatch
from tests.delivery.fakes import message

SINKS: dict[str, frozenset[Kind]] = {"a": frozenset({"alert", "state", "raw"}), "b": frozenset({"alert"})}


class OutboxMachine(RuleBasedStateMachine):
    """The model: a list of what was appended, and for each sink a list of what it has confirmed."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.directory = Path(tempfile.mkdtemp())
        self.clock = 0.0
        self.appended: list[Message] = []
        self.got: dict[str, list[Message]] = {name: [] for name in SINKS}
        self.batches: dict[str, MessageBatch | None] = dict.fromkeys(SINKS)
        self.notes: dict[str, bytes] = {}

    def run(self, coroutine: object) -> object:
        return self.loop.run_until_complete(asyncio.wait_for(coroutine, 20))  # type: ignore[arg-type]

    def open(self) -> None:
        self.box = Outbox(self.directory / "o.db", SINKS, confirm_seconds=0.0, monotonic=lambda: self.clock)
        self.run(self.box.__aenter__())

    @initialize()
    def start(self) -> None:
        self.open()

    @rule(
        items=st.lists(st.tuples(st.sampled_from("mn"), st.sampled_from(["alert", "state"])), max_size=4),
        note=st.none() | st.binary(max_size=3),
    )
    def append(self, items: list[tuple[str, Kind]], note: bytes | None) -> None:
        made = [
            message(len(self.appended) + n, kind, machine, "x" if kind == "state" else "")
            for n, (machine, kind) in enumerate(items)
        ]
        self.run(self.box.append(made, notes={"note": note}))
        self.appended += made
        if note is None:
            self.notes.pop("note", None)
        else:
            self.notes["note"] = note

    @rule(count=st.integers(7, 20), kind=st.sampled_from(["alert", "raw"]), again=st.integers(0, 3))
    def burst(self, count: int, kind: Kind, again: int) -> None:
        """As many as go into one row, some of them known already."""
        made = [message(len(self.appended) + n, kind, "mn"[n % 2]) for n in range(count)]
        self.run(self.box.append([*self.appended[-again:], *made] if again else made))
        self.appended += made

    @rule(index=st.integers(0, 50))
    def repeat(self, index: int) -> None:
        if index < len(self.appended):
            again = self.appended[index]
            newer = [m for m in self.appended[index + 1 :] if m.kind == "state" == again.kind]
            # ids of what all sinks have are forgotten at a restart; who repeats a state repeats what came after it;
            # what comes of a state repeated alone is in test_outbox_again
            self.run(self.box.append([again, *(m for m in newer if m.machine == again.machine)]))

    @rule(index=st.integers(0, 50), cut=st.integers(1, 5))
    def restart_and_repeat(self, index: int, cut: int) -> None:
        """As the engine does that goes on from a checkpoint."""
        self.restart()
        since = self.appended[index:]
        for start in range(0, len(since), cut):
            self.run(self.box.append(since[start : start + cut]))

    @rule(sink=st.sampled_from(sorted(SINKS)), limit=st.integers(1, 5), replay=st.none() | st.integers(0, 3))
    def take(self, sink: str, limit: int, replay: int | None) -> None:
        self.batches[sink] = self.run(self.box.next(sink, limit, replay))  # type: ignore[assignment]

    @rule(sink=st.sampled_from(sorted(SINKS)))
    def confirm(self, sink: str) -> None:
        batch = self.batches[sink]
        if batch is not None:
            self.box.confirm(sink, batch)
            self.got[sink] += batch.messages
            self.batches[sink] = None

    @rule(sink=st.sampled_from(sorted(SINKS)), seconds=st.sampled_from([0.0, 60.0]))
    def reconnect(self, sink: str, seconds: float) -> None:
        self.clock += seconds
        self.batches[sink] = None
        self.run(self.box.begin(sink))

    @rule()
    def restart(self) -> None:
        self.run(self.box.__aexit__(None, None, None))
        self.batches = dict.fromkeys(SINKS)
        self.open()

    @invariant()
    def each_sink_has_a_part_in_order(self) -> None:
        for sink, kinds in SINKS.items():
            for machine in "mn":
                events = [m.id for m in self.got[sink] if m.machine == machine and m.kind not in PRESENT]
                first = list(dict.fromkeys(events))
                wanted = [
                    m.id
                    for m in self.appended
                    if m.machine == machine and m.kind in kinds and m.kind not in PRESENT
                ]
                assert first == wanted[: len(first)]

    def teardown(self) -> None:
        if hasattr(self, "box"):
            for sink, kinds in SINKS.items():
                while (batch := self.run(self.box.next(sink))) is not None:
                    self.box.confirm(sink, batch)  # type: ignore[arg-type]
                    self.got[sink] += batch.messages  # type: ignore[attr-defined]
                wanted = [m for m in self.appended if m.kind in kinds]
                events = {m.id for m in self.got[sink] if m.kind not in PRESENT}
                assert events == {m.id for m in wanted if m.kind not in PRESENT}
                for machine in "mn":
                    states = [m.id for m in wanted if m.kind == "state" and m.machine == machine]
                    told = [m.id for m in self.got[sink] if m.kind == "state" and m.machine == machine]
                    assert told[-1:] == states[-1:]
            assert self.box.notes() == self.notes
            self.run(self.box.__aexit__(None, None, None))
            assert self.box.usage() == {}
        self.loop.close()
        shutil.rmtree(self.directory)


TestOutboxModel = OutboxMachine.TestCase
TestOutboxModel.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
