"""How the offline commands speak to people: help with defaults and examples, a bar while they work."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from typing import TypeVar

Item = TypeVar("Item")


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Text as it is written; a default is shown unless it is nothing or off."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default is None or action.default is False or action.default == "":
            return action.help
        return super()._get_help_string(action)


def progress(items: Sequence[Item], what: str = "evaluating") -> Iterator[Item]:
    """The items, with a bar on a terminal."""
    if not sys.stderr.isatty():
        yield from items
        return
    from rich.console import Console  # only on a terminal
    from rich.progress import track

    yield from track(items, description=what, console=Console(stderr=True))
