"""The log while it is written and read at once."""

from __future__ import annotations

import asyncio
from pathlib import Path

from agent.alerts.alert import Message
from agent.outbox.log import Log
from agent.outbox.table import MIGRATIONS, Transaction
from agent.storage.database import Database


async def test_a_write_that_takes_rows_out_of_memory_during_a_read_hides_none_of_them(tmp_path: Path) -> None:
    database = Database(tmp_path / "outbox.db", MIGRATIONS)
    async with database:
        log = Log(database, ring_bytes=1 << 24, retry_seconds=1.0)
        await log.open()
        kinds = frozenset({"raw"})

        def put(count: int) -> None:
            for _ in range(count):
                log.put([Message(f"id/{log.end_offset}", "raw", "m", "x", b"1" * 2048, 0)], 0)

        put(3000)
        await log.write(Transaction())  # 6 MB: the oldest rows are on disk only
        put(3000)
        writing = asyncio.create_task(log.write(Transaction()))
        await asyncio.sleep(0)  # the write is on its way; what is in memory is still that of before
        found, end = await log.rows(0, 3000, kinds, 5000)
        await writing
        more, _ = await log.rows(end, 3000, kinds, 5000)
        assert [row.offset for row in [*found, *more]] == list(range(1, 3001))
