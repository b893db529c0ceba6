"""One row an element of a nested list."""

from __future__ import annotations

from typing import Any

import numpy as np

from sensors.batch import Ints
from sensors.codecs.paths import Path, get

Context = tuple[Any, ...]
"""The record, then the element of each list on the way to the row."""


def explode(records: list[dict[str, Any]], path: Path) -> tuple[list[Context], Ints]:
    """A context for each element of the nested list, and `(n,)` the record that each comes from.

    As UNNEST after a left join: a record whose lists hold no element at all has one context of Nones.
    """
    contexts: list[Context] = []
    owner: list[int] = []
    nothing = (None,) * len(path.levels)
    for row, record in enumerate(records):
        found: list[Context] = [(record,)]
        for keys in path.levels:
            found = [(*context, element) for context in found for element in _elements(get(context[-1], keys))]
        found = found or [(record, *nothing)]
        contexts += found
        owner += [row] * len(found)
    return contexts, np.array(owner, np.int64)


def _elements(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
