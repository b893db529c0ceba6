"""Which messages the log has seen: two generations of ids, of which the older is forgotten as a whole."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from operator import itemgetter

from agent.alerts.alert import Kind, Message

_id = itemgetter(0)


class SeenIds:
    """The newest ids of each kind, as hashes; at least as many as last given to `bound`, at most twice as many."""

    def __init__(self) -> None:
        self._young: defaultdict[Kind, set[int]] = defaultdict(set)
        self._old: defaultdict[Kind, set[int]] = defaultdict(set)
        self.old_states: set[int] = set()
        """The states that were in the log when it was opened."""

    def learn(self, ids: Iterable[tuple[Kind, str]]) -> None:
        """Ids of messages that are in the log already."""
        for kind, name in ids:
            self._young[kind].add(hash(name))
            if kind == "state":
                self.old_states.add(hash(name))

    def forget_old(self, state: Message) -> None:
        """Take this state for new if it was in the log from before the start.

        For when another of its name has been taken in since: if that was a repeat of an older one (whose id went with
        the restart), it stands behind this one in the log, and this one is to be sent after it.
        """
        key = hash(state.id)
        if key in self.old_states:
            self.old_states.remove(key)
            self._young["state"].discard(key)
            self._old["state"].discard(key)

    def new(self, kind: Kind, messages: Sequence[Message]) -> Sequence[Message]:
        """Those of these messages of one kind that are not known; now they are."""
        young, old = self._young[kind], self._old[kind]
        keys = set(map(hash, map(_id, messages)))
        if len(keys) == len(messages) and young.isdisjoint(keys) and old.isdisjoint(keys):
            young |= keys
            return messages
        fresh: dict[int, Message] = {}
        for message in messages:
            key = hash(message.id)
            if key not in young and key not in old:
                fresh.setdefault(key, message)
        young.update(fresh)
        return list(fresh.values())

    def bound(self, count: int) -> None:
        """Forget the older half once the younger has so many."""
        if sum(map(len, self._young.values())) >= count:
            self._old, self._young = self._young, defaultdict(set)
