"""A fetch from Kafka batch by batch: the records as aiokafka's C code makes them, without a `ConsumerRecord` each.

Making `ConsumerRecord`s is most of what `getmany` costs (0.6 of 0.8 us a record). Which records there are (checksums,
aborted transactions, control batches, where a fetch begins within a batch) is decided by aiokafka as ever: it is
handed batches that yield all their records as one, a `Chunk`. This reaches into aiokafka 0.14 (`_fetcher._records`,
`PartitionRecords`); where that does not look as expected, `getmany` goes on handing out single records, and
`Chunk.of` takes these, too.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, overload

from aiokafka import AIOKafkaConsumer

from sensors.units import MILLISECOND

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Chunk:
    """Records of one partition in order of offset, at least one: each has `offset`, `timestamp`, `key`, `value`."""

    records: list[Any]

    @property
    def offset(self) -> int:
        """Of the last record."""
        offset: int = self.records[-1].offset
        return offset

    @classmethod
    def of(cls, fetched: Sequence[Any]) -> Chunk:
        """What `getmany` gave for one partition."""
        records: list[Any] = []
        for part in fetched:
            if type(part) is Chunk:
                records += part.records
            else:
                records.append(part)
        return cls(records)

    def cut(self, count: int) -> tuple[Chunk, Chunk | None]:
        """The first `count` records, and the rest if there is one."""
        if len(self.records) <= count:
            return self, None
        return Chunk(self.records[:count]), Chunk(self.records[count:])


class Stamps(Sequence[int]):
    """Time stamps of records, ns; they are only looked at where a message does not tell its time itself."""

    def __init__(self, records: Sequence[Any]) -> None:
        self._records = records

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[int]:
        return (record.timestamp * MILLISECOND for record in self._records)

    @overload
    def __getitem__(self, row: int) -> int: ...
    @overload
    def __getitem__(self, row: slice) -> Sequence[int]: ...
    def __getitem__(self, row: int | slice) -> int | Sequence[int]:
        if isinstance(row, slice):
            return Stamps(self._records[row])
        stamp: int = self._records[row].timestamp * MILLISECOND
        return stamp


class Names(dict[bytes | None, str]):
    """Keys of messages as text; those seen are remembered."""

    def __missing__(self, key: bytes | None) -> str:
        if len(self) > 65_536:
            self.clear()
        name = self[key] = (key or b"").decode(errors="replace")
        return name


def fetch_whole_batches(consumer: AIOKafkaConsumer) -> bool:
    """Let `consumer.getmany` hand out chunks; its `max_records` then counts these. False if it cannot be done."""
    fetcher: Any = getattr(consumer, "_fetcher", None)
    arrived = getattr(fetcher, "_records", None)
    if type(arrived) is not OrderedDict or arrived:
        log.warning("aiokafka's fetcher is not as expected; records are read one by one")
        return False
    fetcher._records = _Arrived()
    return True


class _Arrived(OrderedDict[Any, Any]):
    """What the fetcher keeps until it is taken: partition -> `FetchResult`, or an error."""

    def __setitem__(self, place: Any, result: Any) -> None:
        records: Any = getattr(result, "_partition_records", None)
        source: Any = getattr(records, "_records", None)
        if all(hasattr(records, name) for name in ("_consumer_record", "next_fetch_offset")) and all(
            hasattr(source, name) for name in ("has_next", "next_batch")
        ):
            records._records = _Source(source)
            records._consumer_record = partial(_not_taken_yet, records)
        super().__setitem__(place, result)


class _Source:
    """Stands for `MemoryRecords`."""

    def __init__(self, source: Any) -> None:
        self.has_next = source.has_next
        self._next_batch = source.next_batch

    def next_batch(self) -> _Batch:
        return _Batch(self._next_batch())


class _Batch:
    """Stands for a batch of records; iterating gives them as one."""

    def __init__(self, batch: Any) -> None:
        self._batch = batch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __next__(self) -> Any:
        return next(self._batch)

    def __iter__(self) -> Iterator[Chunk]:
        records = list(self._batch)
        return iter([Chunk(records)] if records else [])


def _not_taken_yet(partition: Any, place: Any, chunk: Chunk) -> Chunk:
    """The chunk without records before the position: a fetch may begin within a batch."""
    after = partition.next_fetch_offset
    if chunk.records[0].offset >= after:
        return chunk
    return Chunk([record for record in chunk.records if record.offset >= after])
