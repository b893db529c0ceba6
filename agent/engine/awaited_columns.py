"""Columns that steps and rules read and that have not come yet: a misspelt metric never raises an alert."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

import numpy as np

from agent.core.operator import EnginePart
from sensors.batch import Batch


class AwaitedColumns:
    """Observes batches until every column was seen once; from then on it costs nothing.

    Args:
        parts: windows, detectors and rules by name; the `inputs` of those that read readings are awaited.
        sources: names of the sources.
    """

    def __init__(self, parts: Mapping[str, EnginePart], sources: Collection[str]) -> None:
        self._awaited: dict[str, dict[str, list[str]]] = {}  # source, "" = any -> column -> names of the parts
        self._seen: dict[str, dict[str, None]] = {}  # source, "" = any -> columns that had a value
        for name, part in parts.items():
            if part.on == "" or part.on in sources:
                columns = self._awaited.setdefault(part.on, {})
                for column in part.inputs():
                    columns.setdefault(column, []).append(name)

    def observe(self, batch: Batch) -> None:
        """Note which columns the batch has a value of."""
        for on in ("", batch.source):
            awaited = self._awaited.get(on)
            if not awaited or not len(batch):
                continue
            seen = self._seen.setdefault(on, {})
            fresh = [name for name in (*batch.values, *batch.texts) if name not in seen]
            seen.update(dict.fromkeys(name for name in fresh if _has_value(batch, name)))
            for column in [column for column in awaited if _has_value(batch, column)]:
                del awaited[column]

    def columns(self, on: str) -> Iterator[tuple[str, str, list[str]]]:
        """Part, column it waits for, and columns that had a value, where readings of `on` have come."""
        seen = self._seen.get(on)
        if seen is not None:
            for column, names in self._awaited.get(on, {}).items():
                for name in names:
                    yield name, column, list(seen)


def _has_value(batch: Batch, column: str) -> bool:
    if column in batch.values:
        return not np.isnan(batch.values[column]).all()
    return column in batch.texts and bool((batch.texts[column].codes >= 0).any())
