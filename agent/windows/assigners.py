"""Which windows there are, in panes: hopping, tumbling and cumulating."""

from __future__ import annotations

import math
from typing import Protocol

from sensors.batch import Ints


class WindowAssigner(Protocol):
    """Which windows there are; windows are numbered, panes too, both from the epoch plus an offset."""

    width: int
    """Most panes a window has."""

    def oldest(self, pane: Ints) -> Ints:
        """Number of the oldest window that contains each pane."""

    def newest(self, pane: Ints) -> Ints:
        """Number of the newest window that contains each pane."""

    def after(self, pane: Ints) -> Ints:
        """Number of the oldest window that lies wholly after each pane, or contains no pane up to it."""

    def first(self, window: Ints) -> Ints:
        """First pane of each window."""

    def end(self, window: Ints) -> Ints:
        """Pane after the last of each window."""

    def closed(self, pane: Ints) -> Ints:
        """Number of the newest window that ends at or before the start of each pane."""


class HoppingAssigner:
    """Windows of `width` panes, one each `hop` panes; hop = width is a tumbling window."""

    def __init__(self, width: int, hop: int) -> None:
        self.width, self.hop = width, hop

    def oldest(self, pane: Ints) -> Ints:
        return (pane - self.width) // self.hop + 1

    def newest(self, pane: Ints) -> Ints:
        return pane if self.hop == 1 else pane // self.hop

    def after(self, pane: Ints) -> Ints:
        return self.newest(pane) + 1

    def first(self, window: Ints) -> Ints:
        return window * self.hop

    def end(self, window: Ints) -> Ints:
        return window * self.hop + self.width

    def closed(self, pane: Ints) -> Ints:
        return (pane - self.width) // self.hop


class CumulatingAssigner:
    """Windows of `width` panes one after the other, each emitted again at every `hop` panes as it fills (CUMULATE)."""

    def __init__(self, width: int, hop: int) -> None:
        self.width, self.hop, self.times = width, hop, width // hop

    def oldest(self, pane: Ints) -> Ints:
        return pane // self.hop

    def newest(self, pane: Ints) -> Ints:
        return pane // self.width * self.times + self.times - 1

    def after(self, pane: Ints) -> Ints:
        return self.newest(pane) + 1

    def first(self, window: Ints) -> Ints:
        return window // self.times * self.width

    def end(self, window: Ints) -> Ints:
        return (window + 1) * self.hop

    def closed(self, pane: Ints) -> Ints:
        return pane // self.hop - 1


def pane_length(size: int, step: int) -> int:
    """The greatest length that divides both."""
    return math.gcd(size, step)
