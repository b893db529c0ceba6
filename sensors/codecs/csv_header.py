"""Which line of a CSV file names its columns; what kept the lines before from doing so."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

_DATUM = re.compile(  # a number, also with a unit, or a date or time
    r"[+-]?[.,]?[0-9][0-9.,:/+TZ \u00a0'-]*(?:[eE][+-]?[0-9]+)?(?:[^\W\d_]{1,3}|[^\w\s]{1,3}\w{0,3})?"
)
_KEPT = 64
"""Lines before the header that are looked at; more are none of a header, but data without one."""
LONGEST = 4000
"""Characters of a line that is looked at."""


def looks_like_names(cells: Sequence[str]) -> bool:
    """Whether a line may be a header although nobody has said which names it has: words, and no data."""
    return any(map(_has_letter, cells)) and not any(map(_DATUM.fullmatch, cells))


def is_row(names: Sequence[str], cells: Sequence[str], data: Sequence[str]) -> bool:
    """Whether a line before the header may be a row of it: as many cells, and `data` where these names stand."""
    if len(names) != len(cells):
        return False
    found = [cells[names.index(name)] for name in data]
    return not found or (any(found) and all(not cell or _DATUM.fullmatch(cell) for cell in found))


def names_in(cells: Sequence[str], needed: Iterable[str]) -> list[str] | None:
    """The names of a header line that has all that are needed, a comment sign before them or not."""
    names = list(cells)
    wanted = set(needed)
    if not wanted <= set(names) and names[0].startswith("#"):
        names[0] = names[0].lstrip("# ")
    return names if wanted <= set(names) else None


def distinct(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """The names, each once: the second `temp` is called `temp_2`; and those that were there twice."""
    found: dict[str, None] = {}
    twice = []
    for place, name in enumerate(names):
        new, count = name, 1
        while name and new in found:
            count += 1
            new = f"{name}_{count}"
        if new != name:
            twice.append(name)
        found[new or f"\0{place}"] = None
    return ["" if name.startswith("\0") else name for name in found], twice


def lacking(needed: Iterable[str], names: Sequence[str]) -> str:
    """The needed names that are not there, each with the nearest; empty = all are."""
    said = []
    known = {name.casefold(): name for name in reversed(names) if name}
    for name in needed:
        if name not in names:
            near = difflib.get_close_matches(name.casefold(), known, n=1) or [
                other for other in known if name.casefold() in other or other in name.casefold()
            ]
            said.append(f"{name!r}{f' (there is {known[near[0]]!r})' if near else ''}")
    return ", ".join(said)


@dataclass
class LinesBefore:
    """The lines that came before any header.

    Attributes:
        needed: names that a header has to have.
    """

    needed: Sequence[str]
    texts: list[str] = field(default_factory=list)
    reason: str = ""
    _best: float = -1.0

    def add(self, text: str, splits: Iterable[list[str]]) -> str:
        """Keep a line; what to say of it, which is what is wrong with the likeliest header so far."""
        if len(self.texts) < _KEPT and len(text) <= LONGEST:
            self.texts.append(text)
            for cells in splits:
                score = sum(1 if name in cells else 0.5 if _near(name, cells) else 0 for name in self.needed)
                score += 0.1 * looks_like_names(cells) + 0.001 * sum(map(_has_letter, cells[:50]))
                if score > self._best:
                    self._best = score
                    self.reason = self._say(text, cells)
        return self.reason or self._say("", [])

    def clear(self) -> None:
        """A header was found."""
        self.texts.clear()
        self.reason, self._best = "", -1.0

    def _say(self, text: str, cells: list[str]) -> str:
        said = "no header line with the names of the columns came before"
        if not self.needed:
            datum = next(filter(_DATUM.fullmatch, cells), None)
            words = datum is not None and any(map(_has_letter, cells))
            kept = f"; in {_shown(text)!r} {datum!r} looks like data: set columns, or values" if words else ""
            return said + kept
        said += f" (needed: {', '.join(sorted(self.needed))})"
        if self._best < 0.5:
            return said
        return f"{said}; the likeliest, {_shown(text)!r}, lacks {lacking(self.needed, cells)}"


def _near(name: str, cells: Iterable[str]) -> bool:
    folded = [cell.casefold() for cell in cells if cell and len(cell) <= 60]
    return bool(difflib.get_close_matches(name.casefold(), folded, n=1)) or any(
        name.casefold() in cell for cell in folded
    )


def _shown(text: str) -> str:
    return text if len(text) <= 80 else text[:77] + "..."


def _has_letter(cell: str) -> bool:
    return any(map(str.isalpha, cell))
