"""Files that a configuration names, as parts get them: read already, so that no part opens one.

A field of a part annotated `TextFile | None` or `ColumnsFile | None` is a path in the configuration; the registry reads
it while the part is built (`agent.settings.files`). What a part has learnt from a file counts for what its saved state
fits to: see `agent.settings.fingerprints`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from sensors.batch import Floats


@dataclass(frozen=True, slots=True)
class FromFile:
    """What was in a file.

    Attributes:
        path: as it was given, for messages.
        digest: hash of the content.
    """

    path: str
    digest: str


@dataclass(frozen=True, slots=True)
class TextFile(FromFile):
    """A text, such as JSON."""

    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ColumnsFile(FromFile):
    """Columns of numbers by name."""

    columns: Mapping[str, Floats] = field(repr=False, compare=False)

    def first(self, names: Sequence[str]) -> Floats:
        """The first of the columns `names` that the file has, or its only column, `(n,)`.

        Raises:
            ValueError: if the file has none of them, and more than one column.
        """
        for name in names:
            if name in self.columns:
                return np.asarray(self.columns[name], np.float64).ravel()
        if len(self.columns) == 1:
            return np.asarray(next(iter(self.columns.values())), np.float64).ravel()
        known = ", ".join(self.columns) or "none"
        raise ValueError(f"{self.path} has no column {' or '.join(names)}; it has {known}")
