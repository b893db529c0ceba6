"""Which columns that steps and rules read have not come yet: a misspelt metric keeps silent for ever."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Protocol

import numpy as np

from sensors.batch import Batch


class Part(Protocol):
    """Something that reads columns of a step or source."""

    on: str

    def inputs(self) -> tuple[str, ...]: ...


class Unseen:
    """Looks at batches until every column was seen once; from then on it costs nothing.

    Args:
        parts: windows, detectors and rules by name; the `inputs` of those that read readings are awaited.
        sources: names of the sources.
    """

    def __init__(self, parts: Mapping[str, Part], sources: Collection[str]) -> None:
        self._awaited: dict[str, dict[str, list[str]]] = {}  # source, "" = any -> column -> names of the parts
        self._there: dict[str, dict[str, None]] = {}  # source, "" = any -> columns that came
        for name, part in parts.items():
            if part.on == "" or part.on in sources:
                columns = self._awaited.setdefault(part.on, {})
                for column in part.inputs():
                    columns.setdefault(column, []).append(name)

    def look(self, batch: Batch) -> None:
        """Note which columns the batch has a value of."""
        for on in ("", batch.source):
            awaited = self._awaited.get(on)
            if not awaited or not len(batch):
                continue
            there = self._there.setdefault(on, {})
            there.update(dict.fromkeys((*batch.values, *batch.texts)))
            for column in [column for column in awaited if _comes(batch, column)]:
                del awaited[column]

    def columns(self, on: str) -> Iterator[tuple[str, str, list[str]]]:
        """Part, column it waits for, and columns there are, where readings of `on` have come."""
        there = self._there.get(on, {})
        for column, names in self._awaited.get(on, {}).items():
            for name in names if there else ():
                yield name, column, [known for known in there if known != column]


def _comes(batch: Batch, column: str) -> bool:
    if column in batch.values:
        return not np.isnan(batch.values[column]).all()
    return column in batch.texts and bool((batch.texts[column].codes >= 0).any())
