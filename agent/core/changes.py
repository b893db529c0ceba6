"""Which series changed, for incremental checkpoints."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sensors.batch import Ints


class Changes:
    """Which series have changed since they were taken last, and a call before one changes.

    Attributes:
        before: called with the series that are about to change, while a snapshot is being copied; a series may be
            among them more than once.
    """

    def __init__(self) -> None:
        self._changed = np.zeros(16, np.bool_)
        self.before: Callable[[Ints], None] | None = None

    def touch(self, keys: Ints) -> None:
        """These series change next, `(k,)`; negative keys are passed over."""
        if len(keys) == 1:  # as live, one reading a call
            key = int(keys[0])
            if self.before is None and 0 <= key < len(self._changed):
                self._changed[key] = True
                return
        if len(keys) and int(keys.min()) < 0:
            keys = keys[keys >= 0]
        if len(keys) == 0:
            return
        if self.before is not None:
            self.before(keys)
        self.mark(keys)

    def mark(self, keys: Ints) -> None:
        """Count these series, none negative, as changed, though nothing changes now."""
        if len(keys) == 0:
            return
        highest = int(keys.max())
        if highest >= len(self._changed):
            self._changed = np.append(self._changed, np.zeros(highest + 1, np.bool_))
        self._changed[keys] = True

    def take(self) -> Ints:
        """The series changed since this was called last, ascending."""
        changed = np.flatnonzero(self._changed)
        self._changed[changed] = False
        return changed
