"""What is remembered of incidents beside their alerts, so that a crash makes neither a second raise nor a gap.

A note is written in the same transaction as the alert it belongs to; the checkpoint comes later and covers it. At
the start the checkpoint is loaded first, and then a note is

* passed over if the checkpoint covers it (it is as old or older, by the sequence of alerts);
* passed over if what led to it will be read again from the position in the checkpoint: the same alerts come again,
  with the same ids and numbers, and the outbox drops them;
* adopted otherwise: what was read is gone, the note is all there is.

The mark beside the notes says where the sources stood; it serves if the checkpoint is lost or damaged. For that
case notes of incidents that fire are kept although a checkpoint covers them.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson

from agent.engine.engine import Decisions, Engine
from agent.engine.state import UNFIT

log = logging.getLogger(__name__)

_INCIDENT = "incident/"


@dataclass(slots=True)
class IncidentJournal:
    """The notes of one agent.

    Attributes:
        prints: name of a rule -> fingerprint of its configuration; a note fits only where it is the same.
    """

    prints: Mapping[str, str]
    _pending: set[str] = field(default_factory=set)
    _firing: set[str] = field(default_factory=set)

    def of(self, decisions: Decisions, source: str, positions: Mapping[str, Any]) -> dict[str, bytes | None]:
        """What to keep with the alerts of these decisions on a batch of `source`."""
        notes: dict[str, bytes | None] = {}
        sequence = now = 0
        for (rule, series), saved in decisions.incidents.items():
            name = _INCIDENT + json.dumps([rule, *series])
            more = {"rule": rule, "series": series, "print": self.prints.get(rule), "source": source}
            notes[name] = orjson.dumps({**saved, **more})
            (self._firing.add if saved["life"]["firing"] else self._firing.discard)(name)
            sequence, now = int(saved["sequence"]), int(saved["now"])
        if decisions.silences is not None:
            notes["silences"] = orjson.dumps(decisions.silences)
        self._pending |= notes.keys()
        if sequence:
            notes["mark"] = orjson.dumps({"sequence": sequence, "now": now, "positions": positions})
        return notes

    def begin_save(self) -> set[str]:
        """The notes that a checkpoint of the present state will cover."""
        covered, self._pending = self._pending, set()
        return covered

    def saved(self, covered: set[str]) -> dict[str, bytes | None]:
        """The checkpoint is safe: the notes to remove."""
        return dict.fromkeys(covered - self._pending - self._firing)

    def not_saved(self, covered: set[str]) -> None:
        """The checkpoint could not be written."""
        self._pending |= covered

    def resume(
        self,
        kept: Mapping[str, bytes],
        engine: Engine,
        sequence: int | None,
        replayed: Iterable[str],
        unfit: Container[str] = (),
    ) -> dict[str, Any]:
        """Adopt what the checkpoint does not know.

        Args:
            kept: notes of the outbox.
            engine: as restored from the checkpoint.
            sequence: of the last alert in the checkpoint; None if there is no checkpoint.
            replayed: sources that will be read again from where the checkpoint was.
            unfit: rules that the checkpoint has, but did not fit.

        Returns:
            Where the sources stood at the last alert, by name, if there is no checkpoint; else nothing.
        """
        again = set(replayed)
        for name, note in kept.items():
            if name == "silences" or name.startswith(_INCIDENT):
                self._pending.add(name)
                try:
                    self._adopt(
                        name, orjson.loads(note), engine, -1 if sequence is None else sequence, again, unfit
                    )
                except UNFIT as error:
                    log.error("the note %s is damaged (%r); going on without it", name, error)
        return {} if sequence is not None or "mark" not in kept else self._advance(kept["mark"], engine)

    def catch_up(self, kept: Mapping[str, bytes], engine: Engine, replayed: Container[str]) -> None:
        """Go on from a checkpoint before the newest, which covered notes that are gone.

        What will be read again is decided again. Of the rest, an incident without a note has ended since: its series
        is new to the rule; and the numbers of its alerts are not given twice.

        Args:
            kept: notes of the outbox; without their mark nothing is known.
            engine: after `resume`.
            replayed: sources that will be read again from where that checkpoint was.
        """
        if "mark" not in kept:
            return
        again = True
        for name, rule in engine.rules.items():
            if rule.life is None or all(source in replayed for source in engine.sources_of(name) or {""}):
                continue
            again, table = False, engine.series(name)
            firing = rule.life.firing().tolist()
            ended = [key for key in firing if _INCIDENT + json.dumps([name, *table.name(key)]) not in kept]
            rule.touch(np.array(ended, np.int64))
            rule.evict(np.array(ended, np.int64))
        engine.incidents.find_offline()
        if not again:
            self._advance(kept["mark"], engine)

    def _advance(self, mark: bytes, engine: Engine) -> dict[str, Any]:
        """Number alerts from after the last one; where the sources stood then."""
        try:
            saved = orjson.loads(mark)
            engine.advance_to(int(saved["sequence"]), int(saved["now"]))
            return dict(saved["positions"])
        except UNFIT as error:
            log.error("the note of positions is damaged (%r); going on without it", error)
            return {}

    def _adopt(
        self, name: str, saved: Any, engine: Engine, sequence: int, again: set[str], unfit: Container[str]
    ) -> None:
        if name == "silences":
            engine.incidents.silences.restore(saved)
            return
        if saved["print"] != self.prints.get(saved["rule"]):
            return
        if saved["life"]["firing"]:
            self._firing.add(name)
        if int(saved["sequence"]) <= sequence:
            if saved["rule"] in unfit:
                engine.adopt(saved["rule"], tuple(saved["series"]), saved)
            return
        if saved.get("source") in again or again.issuperset(engine.sources_of(saved["rule"]) or {""}):
            return
        engine.adopt(saved["rule"], tuple(saved["series"]), saved)
