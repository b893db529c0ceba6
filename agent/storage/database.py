"""One SQLite file, its one connection and the one thread that uses it.

Promises:

1. `run` returns after its transaction is on disk (WAL, `synchronous=FULL`), or raises `DatabaseError` and has
   changed nothing.
2. A file that is corrupt, at opening or later, is moved aside as `NAME.corrupt-TIME` (the newest five are kept) and a
   new one is begun: a damaged file never keeps the agent from starting. So is one begun for a file that is removed.
3. A full disk, a lost mount or missing rights raise `DatabaseError`; the next `run` tries again by itself.
4. Files shrink: `tidy` gives freed pages back to the file system.
5. On a full disk rows can still be deleted: a reserve of half a MiB is given up for that, and taken again later.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import shutil
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self, TypeVar

from agent.storage.quarantine import quarantine

log = logging.getLogger(__name__)

T = TypeVar("T")

_RESERVE = 512 * 1024

_CORRUPT = {"SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_CORRUPT_VTAB", "SQLITE_CORRUPT_INDEX"}
_SETTINGS = (
    "PRAGMA auto_vacuum=INCREMENTAL",  # first: it holds only if set before the first table
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA secure_delete=OFF",  # some builds write zeros over what is deleted: flash wear for nothing
    "PRAGMA journal_size_limit=1048576",
    "PRAGMA wal_autocheckpoint=4000",  # pages: the commit that does it takes three syncs instead of one
    "PRAGMA cache_size=-1024",
    "PRAGMA temp_store=MEMORY",
)


class DatabaseError(Exception):
    """The file could not be read or written; the message names it. Try again later."""


class DatabaseInUseError(Exception):
    """Another process has the file open; a second agent with the same state directory is a mistake."""


@dataclass
class Database:
    """A file with a versioned schema: `async with Database(path, migrations)`, then `await database.run(work)`.

    Attributes:
        path: the file; `-wal`, `-shm` and `.lock` are put beside it.
        migrations: SQL scripts; number i brings schema version i to i + 1. Never edited, only added to.
        quarantined: the files moved aside since the start.
    """

    path: Path
    migrations: tuple[str, ...]
    quarantined: list[Path] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"database {self.path.name}")
        self._connection: sqlite3.Connection | None = None
        self._lock: int | None = None
        self._file = (0, 0)  # device and inode of what is open

    async def __aenter__(self) -> Self:
        """Open the file; if the disk does not allow it now, `run` will try again.

        Raises:
            DatabaseInUseError: if another process has it.
        """
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._open)
        except DatabaseError as error:
            log.error("%s", error)
        except BaseException:
            self._thread.shutdown()
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown()

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Call `work` in the database's thread, in one transaction.

        Raises:
            DatabaseError: the transaction was rolled back.
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._transact, work)

    async def tidy(self, *, spare: int = 256, pages: int = 1024, checkpoint: bool = False) -> None:
        """Give up to `pages` free pages back if there are more than `spare`, which the next rows will want.

        `checkpoint` also empties the write-ahead log.
        """

        def work() -> None:
            connection = self._open()
            try:
                if connection.execute("PRAGMA freelist_count").fetchone()[0] > spare:
                    # `execute` would free one page only: the statement wants to be stepped to its end
                    connection.executescript(f"PRAGMA incremental_vacuum({int(pages)})")
                if checkpoint:
                    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
                self._keep_reserve()
            except sqlite3.Error as error:
                raise self._failed(error) from error

        await asyncio.get_running_loop().run_in_executor(self._thread, work)

    # Everything below runs in the database's thread.

    def _transact(self, work: Callable[[sqlite3.Connection], T]) -> T:
        connection = self._open()
        try:
            connection.execute("BEGIN")
            result = work(connection)
            connection.execute("COMMIT")
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise self._failed(error) from error
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        if self._is_gone():
            self._quarantine("somebody else removed or replaced it")
            self._release_lock()
            raise DatabaseError(f"{self.path}: what was written went with the file")
        return result

    def _is_gone(self) -> bool:
        """Whether the file at the path is no longer the one that is open."""
        try:
            status = os.stat(self.path)
        except FileNotFoundError:
            return True
        except OSError:  # not known; the next write will tell
            return False
        return (status.st_dev, status.st_ino) != self._file

    def _failed(self, error: Exception) -> DatabaseError:
        """Leave the connection usable after an error, or give the file up if it is corrupt."""
        connection = self._connection
        if connection is not None and connection.in_transaction:
            try:
                connection.execute("ROLLBACK")
            except sqlite3.Error:  # the connection is beyond use; open another
                self._drop_connection()
        if _name(error) == "SQLITE_FULL":
            self._give_up_reserve()
        if _is_corrupt(error):
            self._quarantine(str(error))
        elif _name(error).startswith("SQLITE_IOERR") or _name(error) in {
            "SQLITE_READONLY_DBMOVED",
            "SQLITE_CANTOPEN",
        }:
            self._drop_connection()
        return DatabaseError(f"{self.path}: {error} ({_name(error)})")

    def _open(self) -> sqlite3.Connection:
        if self._connection is not None:
            return self._connection
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._take_lock()
            try:
                self._connection = self._connect()
            except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
                if not _is_corrupt(error):
                    raise
                self._quarantine(str(error))
                self._connection = self._connect()
        except (sqlite3.Error, OSError) as error:
            self._give_up_reserve()
            raise DatabaseError(f"{self.path}: {error}") from error
        self._keep_reserve()
        with contextlib.suppress(OSError):
            status = os.stat(self.path)
            self._file = status.st_dev, status.st_ino
        return self._connection

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=5)
        connection.text_factory = _text  # a damaged text is no reason to fail: checksums tell
        try:
            for setting in _SETTINGS:
                connection.execute(setting).fetchall()
            verdict = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if verdict != "ok" or version > len(self.migrations):
                error = sqlite3.DatabaseError(
                    verdict if verdict != "ok" else f"schema version {version} is of a newer agent"
                )
                error.sqlite_errorname = "SQLITE_CORRUPT"
                raise error
            for number in range(version, len(self.migrations)):
                connection.executescript(
                    f"BEGIN; {self.migrations[number]}; PRAGMA user_version={number + 1}; COMMIT;"
                )
        except BaseException:
            connection.close()
            raise
        return connection

    def _keep_reserve(self) -> None:
        """Set room aside, unless it is scarce already."""
        try:
            if os.path.exists(f"{self.path}.reserve") or shutil.disk_usage(self.path.parent).free < 4 * _RESERVE:
                return
            reserve = os.open(f"{self.path}.reserve", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(reserve, 0, _RESERVE)
            finally:
                os.close(reserve)
        except OSError:
            self._give_up_reserve()

    def _give_up_reserve(self) -> None:
        with contextlib.suppress(OSError):
            os.unlink(f"{self.path}.reserve")

    def _take_lock(self) -> None:
        if self._lock is not None:
            return
        lock = os.open(f"{self.path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise DatabaseInUseError(f"{self.path} is in use by another process") from None
        self._lock = lock

    def _quarantine(self, reason: str) -> None:
        self._drop_connection()
        target = quarantine(self.path, ("-wal", "-shm"))
        self.quarantined.append(target)
        log.error("%s is corrupt (%s): moved to %s, starting a new one", self.path, reason, target)

    def _drop_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close()
            except sqlite3.Error as error:
                log.warning("closing %s: %s", self.path, error)

    def _close(self) -> None:
        self._drop_connection()
        self._release_lock()

    def _release_lock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _text(data: bytes) -> str:
    return data.decode(errors="replace")


def _name(error: Exception) -> str:
    return getattr(error, "sqlite_errorname", "") or ""


def _is_corrupt(error: Exception) -> bool:
    """Whether the file is beyond use; a text of the schema that is no text, in SQLite's own words, says so too."""
    return _name(error) in _CORRUPT or isinstance(error, UnicodeDecodeError)
