"""Dictionary encoding that lasts: the same words keep their codes, and their tuple, from batch to batch."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import cast

import numpy as np

from sensors.batch import Codes, Text

LIMIT = 65_536
"""Words remembered; beyond them the table starts again, so that a sender of ever new words costs no memory."""


@dataclass(slots=True)
class Words:
    """The distinct strings of one column."""

    codes: dict[str, int] = field(default_factory=dict)
    known: tuple[str, ...] = ()

    def encode(self, column: list[str]) -> Text:
        """The column, dictionary-encoded; the tuple of words is the same object while no new word comes."""
        codes = self.codes
        try:
            numbers = np.fromiter(map(codes.__getitem__, column), np.int32, len(column))
        except KeyError:
            if len(codes) > LIMIT:
                codes.clear()
            for word in column:
                codes.setdefault(word, len(codes))
            self.known = tuple(codes)
            numbers = np.fromiter(map(codes.__getitem__, column), np.int32, len(column))
        return Text(self.known, numbers)

    def encode_some(self, column: list[str | None]) -> Text:
        """As `encode`, where None is a missing text."""
        if None not in column:
            return self.encode(cast("list[str]", column))
        text = self.encode([word for word in column if word is not None])
        codes: Codes = np.full(len(column), -1, np.int32)
        codes[[word is not None for word in column]] = text.codes
        return Text(text.words, codes)


def text(value: object) -> str | None:
    """A text as it was meant: numbers and true or false in their JSON form; None for anything else."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value) if abs(value) < 2**64 else None
    if isinstance(value, float) and math.isfinite(value):
        return repr(value)
    return None
