"""A bar on the terminal while files are worked on."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import TypeVar

Item = TypeVar("Item")


def progress(items: Sequence[Item], what: str = "evaluating") -> Iterator[Item]:
    """The items, with a bar on a terminal."""
    if not sys.stderr.isatty():
        yield from items
        return
    from rich.console import Console  # only on a terminal
    from rich.progress import track

    yield from track(items, description=what, console=Console(stderr=True))
