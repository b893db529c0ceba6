"""The engine's state on disk: each save writes what changed since the last one, to a segment of its own.

`checkpoint/` holds numbered segments (`agent.storage.segments`). The manifest at the end of each names all records
that belong to the checkpoint, in this segment and in older ones. Promises:

1. What `load` gives is exactly what was saved at one moment: the newest that is whole. Damaged segments are moved
   aside; the checkpoint before the newest is kept until the next one is safe.
2. The event loop is held for a few milliseconds at a time, however large the state: see `agent.storage.image`.
3. What is written is in proportion to what changed. Outdated records never take more than about as much as live ones:
   beyond, the segments with the most of them are written anew, a part with each save.
4. What is read may be made up: it costs no more memory than its file is worth, and runs no code.
"""

from __future__ import annotations

import asyncio
import logging
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar, TypeVarTuple

import numpy as np

from agent.core.series import Tracked
from agent.storage import records, segments
from agent.storage.image import Copied, Image, Parts, keys_of
from agent.storage.live import Live, segments_of, worn
from agent.storage.quarantine import quarantine
from agent.storage.segments import Place, Segment, SegmentWriter
from sensors.batch import Ints

log = logging.getLogger(__name__)

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

DAMAGE = (OSError, ValueError, KeyError, TypeError, IndexError, OverflowError, MemoryError)
"""What reading raises where bytes are not what was written."""

MOST_SERIES = 1 << 22
"""Rows that the first part restored may have; its table then holds how many there are."""


class CheckpointStore:
    """The checkpoint in one folder; one at a time may save.

    Attributes:
        folder: of the segments.
        written: bytes written since the start.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.written = 0
        self._live: dict[str, Live] = {}
        self._worn: dict[str, Ints] = {}
        self._sizes: dict[int, int] = {}  # of the segments of the checkpoint on disk
        self._number = 0
        self._ending: asyncio.Future[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")

    def begin(self, parts: Parts, document: Any) -> PendingCheckpoint:
        """Take hold of the parts as they are now, between two batches.

        Args:
            parts: by name; all that there are.
            document: what is not by series; plain JSON.

        Raises:
            BlockingIOError: a save that was cancelled is still writing.
        """
        if self._ending is not None and not self._ending.done():
            raise BlockingIOError(f"{self.folder}: the save before is still being given up")
        if any(segments.size_of(self.folder, number) != size for number, size in self._sizes.items()):
            log.error(
                "checkpoint %s: somebody else removed or changed segments of it; all is saved anew", self.folder
            )
            self._forget()
        return PendingCheckpoint(self, parts, document)

    def _forget(self) -> None:
        """Nothing is saved of any part."""
        self._live, self._worn, self._sizes = {}, {}, {}

    def _run(self, work: Callable[[*Ts], T], *arguments: *Ts) -> asyncio.Future[T]:
        return asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)

    def _finish(self, writer: SegmentWriter, common: Place, live: dict[str, Live]) -> int:
        """Make it the checkpoint that counts, and delete what neither it nor the one before needs."""
        for one in live.values():
            one.drop_outdated()
        places = {name: np.array(one.places, np.int64).reshape(-1, 3) for name, one in live.items()}
        size = writer.finish(records.pack(*records.strip({"common": list(common), "places": places})))
        needed = segments_of(live.values()) | {self._number + 1}
        try:
            segments.remove(self.folder, needed | self._sizes.keys())
        except OSError as error:
            log.warning("checkpoint: old segments in %s are kept: %s", self.folder, error)
        sizes = self._sizes | {self._number + 1: size}
        self._sizes = {number: sizes[number] for number in needed}
        self._number, self._live, self.written = self._number + 1, live, self.written + size
        self._worn = worn(live, self._sizes, max(size, segments.SMALL))
        return size

    def load(self) -> Checkpoint | None:
        """The newest checkpoint that is whole, to be restored before the first `save`; None if there is none.

        What is damaged is moved aside.
        """
        try:
            if not stat.S_ISDIR(self.folder.lstat().st_mode):
                raise NotADirectoryError("it is no folder")
            found = segments.numbers(self.folder)
        except FileNotFoundError:
            return None
        except OSError as error:
            self.quarantine(str(error))
            return None
        wrong: dict[int, str] = {}
        for number in found:
            try:
                checkpoint = self._whole(number)
            except DAMAGE as error:
                wrong[number] = str(error)
                continue
            moved = {bad for bad, why in wrong.items() if self._quarantine_segment(bad, why)}
            self._number = max(n for n in found if n not in moved)
            checkpoint.outdated = bool(wrong)
            return checkpoint
        if wrong:
            self.quarantine("; ".join(f"segment {number}: {why}" for number, why in [*wrong.items()][:3]))
        return None

    def quarantine(self, reason: str) -> None:
        """Start without the checkpoint, and keep it for whoever wants to know."""
        self._forget()
        try:
            aside = quarantine(self.folder)
        except OSError as error:
            log.error("checkpoint %s cannot be read (%s) nor moved: %s", self.folder, reason, error)
        else:
            self._number = 0
            log.error("checkpoint %s cannot be read (%s); moved to %s", self.folder, reason, aside.name)

    def _quarantine_segment(self, number: int, reason: str) -> bool:
        """Whether it is out of the way."""
        path = segments.path_of(self.folder, number)
        try:
            aside = quarantine(path, named=self.folder.with_name(f"{self.folder.name}-segment"))
        except OSError as error:
            log.error("checkpoint %s is damaged (%s) and cannot be moved: %s", path, reason, error)
            return False
        log.error(
            "checkpoint %s is damaged (%s); moved to %s, going on from the one before", path, reason, aside.name
        )
        return True

    def _whole(self, number: int) -> Checkpoint:
        """The checkpoint that this segment names, every record of it checked."""
        with ExitStack() as stack:
            opened = {number: stack.enter_context(Segment(self.folder, number))}
            manifest = records.unpack(opened[number].manifest())
            common = Place(*_numbers(manifest["common"]))
            if common.segment != number:
                raise ValueError(f"it is a copy of segment {common.segment} under another name")
            room = sum(segments.path_of(self.folder, n).lstat().st_size for n in segments.numbers(self.folder))
            places = {str(name): _places(rows, room) for name, rows in dict(manifest["places"]).items()}
            for place in (common, *(place for listed in places.values() for place in listed)):
                if place.segment not in opened:
                    opened[place.segment] = stack.enter_context(Segment(self.folder, place.segment))
                opened[place.segment].check(place)
            known = records.unpack(opened[number].record(common))
            sizes = {number: segment.size for number, segment in opened.items()}
        return Checkpoint(self, known["document"], dict(known["shared"]), places, sizes)


class PendingCheckpoint:
    """A save that has begun: `await write()`, or `abandon()`; until then what changes is copied before it does."""

    def __init__(self, store: CheckpointStore, parts: Parts, document: Any) -> None:
        self._store = store
        self._writer: SegmentWriter | None = None
        self._image = Image(parts, document, store._live, store._worn)
        known = {
            name for name, (part, _) in parts.items() if name in store._live and store._live[name].part is part
        }
        self._live = {
            name: store._live[name].copy() if name in known else Live(part) for name, (part, _) in parts.items()
        }

    @property
    def written(self) -> int:
        """Bytes written so far, whatever comes of it."""
        return 0 if self._writer is None else self._writer.size

    async def write(self) -> int:
        """Copy the state and write it, in slices; returns when it is the checkpoint that counts.

        Returns:
            Bytes written.

        Raises:
            OSError: the disk is full or does not allow it; the checkpoint before still counts.
        """
        store = self._store
        try:
            writer = await store._run(self._open)
            common = await store._run(_write, writer, self._image.common)
            await self._copy(writer)
            return await store._run(store._finish, writer, common, self._live)
        except BaseException:
            self.abandon()
            store._ending = store._run(self._close)  # after what the thread is at, also if this was cancelled
            await asyncio.shield(store._ending)
            raise

    def _open(self) -> SegmentWriter:
        self._writer = SegmentWriter(self._store.folder, self._store._number + 1)
        return self._writer

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.abandon()

    def abandon(self) -> None:
        """It shall not be: what changed is saved the next time."""
        self._image.give_back()

    async def _copy(self, writer: SegmentWriter) -> None:
        """Copy slice by slice; while one is written the next is copied, and no more wait."""
        writing: asyncio.Future[None] | None = None
        while (copied := self._image.next()) is not None:
            if writing is not None:
                await writing
            writing = self._store._run(_write_all, writer, copied, self._live)
            await asyncio.sleep(0)
        if writing is not None:
            await writing


class Checkpoint:
    """A checkpoint on disk: `restore` each part that is still the same; the others are written anew.

    Attributes:
        document: as it was given to `save`.
        outdated: a newer one was damaged.
    """

    outdated = False

    def __init__(
        self,
        store: CheckpointStore,
        document: Any,
        shared: dict[str, Any],
        places: dict[str, list[Place]],
        sizes: dict[int, int],
    ) -> None:
        self.document = document
        self._store, self._shared, self._places = store, shared, places
        store._live, store._sizes = {}, sizes

    @property
    def names(self) -> tuple[str, ...]:
        """The parts in it."""
        return tuple(self._places)

    def restore(self, name: str, tracked: Tracked, most: int = MOST_SERIES) -> None:
        """Bring a part that is as new to where it was.

        Args:
            name: of the part.
            tracked: nothing of it counts as changed afterwards.
            most: rows of state that there are.

        Raises:
            KeyError, TypeError, ValueError: it is not in the checkpoint, cannot be read, or is of another configuration.
        """
        part, changes = tracked
        live = Live(part)
        with ExitStack() as stack:
            opened: dict[int, Segment] = {}
            for place in self._places[name]:
                try:
                    if place.segment not in opened:
                        opened[place.segment] = stack.enter_context(Segment(self._store.folder, place.segment))
                    saved = records.unpack(opened[place.segment].record(place))
                    keys, state = keys_of(saved["keys"], most), saved["state"]
                except DAMAGE as error:
                    raise ValueError(f"it cannot be read: {error}") from error
                if live.recorded(keys).any():
                    part.evict(keys)
                part.merge(keys, state)
                live.add(place, keys)
        part.restore_shared(self._shared[name])
        changes.take()
        self._store._live[name] = live


def _write(writer: SegmentWriter, stripped: tuple[Any, list[records.Array]]) -> Place:
    return writer.add(records.pack(*stripped))


def _write_all(writer: SegmentWriter, copied: list[Copied], live: dict[str, Live]) -> None:
    for name, keys, document, arrays in copied:
        live[name].add(_write(writer, (document, arrays)), keys)


def _places(rows: Any, room: int) -> list[Place]:
    table = np.asarray(rows)
    if table.dtype != np.int64 or table.ndim != 2 or table.shape[1] != 3:
        raise ValueError("its manifest names no records")
    if len(table) * records.HEAD > room or float(table[:, 2].sum(dtype=np.float64)) > room:
        raise ValueError("its manifest names more records than there are")
    return [Place(*row) for row in table.tolist()]


def _numbers(values: Any) -> list[int]:
    if not (isinstance(values, list) and len(values) == 3 and all(type(value) is int for value in values)):
        raise ValueError("its manifest names no records")
    return values
