"""Topics of MQTT as patterns: which filter to subscribe to, and what the levels of a topic are called."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

MACHINE = "machine"
_NAMED = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_REMEMBERED = 65_536


@dataclass(frozen=True, slots=True)
class TopicPattern:
    """A topic filter in which levels may have a name: `plant/{line}/{machine}/temp`, `plant/+/{machine}/#`.

    Attributes:
        filter: to subscribe to; a named level is `+` there.
        levels: name -> which level of a topic it is, counted from 0.
    """

    filter: str
    levels: dict[str, int]

    @classmethod
    def parse(cls, text: str) -> TopicPattern:
        """The pattern.

        Raises:
            ValueError: a name is only a part of its level, is none, or occurs twice.
        """
        shared = text.split("/")[:2] if text.startswith("$share/") else []  # no part of the topics that come
        levels: dict[str, int] = {}
        words = text.split("/")[len(shared) :]
        for place, word in enumerate(words):
            if "{" not in word and "}" not in word:
                continue
            match = _NAMED.fullmatch(word)
            if match is None:
                raise ValueError(f"topic {text!r}: {word!r} has to be a whole level such as {{machine}}")
            if match[1] in levels:
                raise ValueError(f"topic {text!r}: {word} occurs twice")
            levels[match[1]] = place
            words[place] = "+"
        return cls("/".join([*shared, *words]), levels)

    @property
    def wild(self) -> bool:
        """Whether it stands for more than one topic."""
        return bool({"+", "#"} & set(self.filter.split("/")))

    def matches(self, topic: str) -> bool:
        """Whether the broker sends a topic because of this filter."""
        words = self.filter.split("/")
        words, levels = words[2:] if words[0] == "$share" else words, topic.split("/")
        for place, word in enumerate(words):
            if word == "#":
                return True
            if place >= len(levels) or word not in ("+", levels[place]):
                return False
        return len(words) == len(levels)


class TopicNames:
    """What a topic says about its messages: the machine, and texts for the columns that the patterns name.

    Args:
        topics: patterns.
        machine_level: level that is the machine, counted from 0 or, negative, from the end.
        machine_id: the machine where neither a pattern nor `machine_level` names it; empty = the topic itself.

    Attributes:
        filters: what to subscribe to.
        columns: names of the levels besides `machine`.
        explicit: whether the configuration says which level is the machine.

    Raises:
        ValueError: a pattern is wrong, or the machine is said twice.
    """

    def __init__(self, topics: Iterable[str], machine_level: int | None = None, machine_id: str = "") -> None:
        self._patterns = [TopicPattern.parse(topic) for topic in topics]
        self._level, self._id = machine_level, machine_id
        named = [MACHINE in pattern.levels for pattern in self._patterns]
        if any(named) and machine_level is not None:
            raise ValueError("topic names {machine}, and machine_level says it, too; leave one of them out")
        self.filters = tuple(pattern.filter for pattern in self._patterns)
        self.columns = tuple(
            dict.fromkeys(name for pattern in self._patterns for name in pattern.levels if name != MACHINE)
        )
        self.explicit = machine_level is not None or all(named)
        self.wild = any(pattern.wild for pattern in self._patterns)
        self._known: dict[str, tuple[str, tuple[str | None, ...]]] = {}

    def machine(self, topic: str) -> str:
        """The machine of a topic; empty where the topic is too short to have one."""
        return self.of(topic)[0]

    def of(self, topic: str) -> tuple[str, tuple[str | None, ...]]:
        """The machine, and a text for each of `columns`."""
        found = self._known.get(topic)
        if found is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            found = self._known[topic] = self._read(topic)
        return found

    def _read(self, topic: str) -> tuple[str, tuple[str | None, ...]]:
        levels = topic.split("/")
        named = next((pattern.levels for pattern in self._patterns if pattern.matches(topic)), {})
        texts = tuple(levels[named[name]] if name in named else None for name in self.columns)
        if MACHINE in named:
            return levels[named[MACHINE]], texts
        if self._level is None:
            return self._id or topic, texts
        return (levels[self._level] if -len(levels) <= self._level < len(levels) else self._id), texts
