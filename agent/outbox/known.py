"""Which messages the log has seen: two generations of ids, of which the older is forgotten as a whole."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import repeat
from operator import itemgetter

from agent.alerts import Kind, Message

_id = itemgetter(0)


class Known:
    """The newest ids, as hashes; at least as many as `bound` was told last, at most twice as many."""

    def __init__(self) -> None:
        self._young: dict[int, None] = {}
        self._old: dict[int, None] = {}

    def learn(self, ids: Iterable[tuple[Kind, str]]) -> None:
        """Ids of messages that are in the log already."""
        self._young.update(dict.fromkeys(map(hash, ids)))

    def new(self, kind: Kind, messages: Sequence[Message]) -> Sequence[Message]:
        """Those of these messages of one kind that are not known; now they are."""
        keys = dict.fromkeys(map(hash, zip(repeat(kind), map(_id, messages), strict=False)))
        if len(keys) < len(messages) or not (
            self._young.keys().isdisjoint(keys) and self._old.keys().isdisjoint(keys)
        ):
            return [message for message in messages if self._is_new(hash((kind, message.id)))]
        self._young.update(keys)
        return messages

    def _is_new(self, key: int) -> bool:
        if key in self._young or key in self._old:
            return False
        self._young[key] = None
        return True

    def bound(self, count: int) -> None:
        """Forget the older half once the younger has so many."""
        if len(self._young) >= count:
            self._old, self._young = self._young, {}
