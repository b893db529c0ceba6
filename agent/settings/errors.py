"""What is wrong with a configuration; apart, so that the command line can catch it before it imports anything else."""

from __future__ import annotations

from collections.abc import Iterable


class ConfigError(Exception):
    """What is wrong with a configuration, one sentence a problem, each with its key path."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(self.problems))
