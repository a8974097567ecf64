"""One state of the data for two sessions that cannot share a snapshot: a moment in which nobody writes."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from threading import Event, Lock, Thread, Timer
from typing import IO, TYPE_CHECKING, Any, cast

from django.db import DatabaseError, Error

from django_runbook.databases.dumpers import Content

if TYPE_CHECKING:
    from django_runbook.databases.mysql import MySQLDatabase

LOCK_SECONDS = 1
"""How long LOCK TABLES waits for transactions to end, with every writer waiting behind it."""
LOCK_PAUSES = (0.2, 1.0, 3.0)
"""Seconds between two attempts, for the writers that have waited."""
LONGEST_MARK = 1024
HOLD_SECONDS = 5.0
"""How long the lock is held at most; a dump program that has no snapshot until then is not waited for."""


class Moment:
    """A read lock on every table of a database, on a session of its own, taken only for a moment."""

    def __init__(self, database: MySQLDatabase) -> None:
        self.database = database
        self.session = database.connection.copy()
        self.is_held = False
        self._guard = Lock()
        self._timer = Timer(HOLD_SECONDS, self.end)

    def begin(self) -> bool:
        """Lock every table. False if other transactions do not end in time, or this user may not."""
        tables = self.database.dumped_tables()
        try:
            if tables:
                self._lock(tables)
        except DatabaseError:
            self.session.close()
            return False
        self.is_held = True
        self._timer.daemon = True
        self._timer.start()
        return True

    def _lock(self, tables: list[str]) -> None:
        statement = ", ".join(f"{self.database.quote(table)} READ" for table in tables)
        with self.session.cursor() as cursor:
            cursor.execute(f"SET SESSION lock_wait_timeout = {LOCK_SECONDS}")
            for pause in (*LOCK_PAUSES, None):
                try:
                    cursor.execute(f"LOCK TABLES {statement}")
                except DatabaseError as error:
                    if pause is None or not self.database.is_lock_timeout(error):
                        raise
                    time.sleep(pause)
                else:
                    return

    def end(self) -> bool:
        """Let writers go on. False if they already do."""
        with self._guard:
            was_held, self.is_held = self.is_held, False
            raw, self.session.connection = self.session.connection, None
            if raw is not None:  # closed below Django, which lets no other thread close its connection
                with suppress(
                    cast(Any, self.session).Database.Error
                ):  # a lost session has let go of its locks
                    raw.close()
        self._timer.cancel()
        return was_held


class Witness:
    """A session with a snapshot of its own, which measures the tables while the dump goes on.

    In a thread, where Django opens a connection of its own under the same alias.
    """

    def __init__(self, database: MySQLDatabase, tables: list[str], *, checksums: bool) -> None:
        self.database = database
        self.tables = tables
        self.checksums = checksums
        self.content: Content = {}
        self.error: Exception | None = None
        self._session: int | None = None
        self._has_snapshot = Event()
        self._thread = Thread(target=self._measure, daemon=True)

    def begin(self) -> None:
        """Return once it has its snapshot, or has failed."""
        self._thread.start()
        self._has_snapshot.wait()

    def _measure(self) -> None:
        try:
            [(self._session,)] = self.database.ask("SELECT CONNECTION_ID()")
            with self.database.snapshot():
                self._has_snapshot.set()
                self.content = self.database.measured(self.tables, checksums=self.checksums)
        except Exception as error:
            self.error = error
        finally:
            self._has_snapshot.set()
            self.database.connection.close()

    def result(self) -> Content:
        """Wait for what it has measured, or raise what it has raised."""
        self._thread.join()
        if self.error is not None:
            raise self.error
        return self.content

    def stop(self) -> None:
        """End its query and wait for it."""
        if self._thread.is_alive() and self._session is not None:
            with suppress(Error):  # it has ended meanwhile
                self.database.ask_nothing(f"KILL {self._session}")
        if self._thread.ident is not None:
            self._thread.join()


class BeforeAndAfter:
    """Measures tables before a dump and after it; one that is then another is left out."""

    is_of_one_moment = False

    def __init__(self, database: MySQLDatabase, tables: Iterable[str], *, checksums: bool) -> None:
        self.measure = partial(database.measured, list(tables), checksums=checksums)
        self.before = self.measure()

    def dump_has_begun(self) -> None:
        return

    def content(self) -> Content:
        after = self.measure()
        return {table: content for table, content in self.before.items() if after[table] == content}


class SharedMoment:
    """Measures what a dump shows, beside it; tables without transactions before and after it."""

    is_of_one_moment = True

    def __init__(self, moment: Moment, witness: Witness, others: BeforeAndAfter) -> None:
        self.moment = moment
        self.witness = witness
        self.others = others
        self.is_shared = False

    def dump_has_begun(self) -> None:
        """To be called when the dump program has its snapshot: takes another of the same state."""
        self.witness.begin()
        self.is_shared = self.moment.end()

    def content(self) -> Content:
        shared = self.witness.result() if self.is_shared else {}
        return {**shared, **self.others.content()}


@contextmanager
def measuring(database: MySQLDatabase, *, checksums: bool) -> Iterator[BeforeAndAfter | SharedMoment]:
    """Prepare to measure what a dump that begins within the block will hold.

    No other session writes until `dump_has_begun` is called, if that can be had without keeping anyone
    waiting for long.
    """
    unsafe = database.unsafe_tables()
    others = BeforeAndAfter(database, unsafe, checksums=checksums)
    safe = [table for table in database.dumped_tables() if table not in unsafe]
    moment, witness = Moment(database), Witness(database, safe, checksums=checksums)
    if not moment.begin():
        yield BeforeAndAfter(database, database.dumped_tables(), checksums=checksums)
        return
    try:
        yield SharedMoment(moment, witness, others)
    finally:
        moment.end()
        witness.stop()


class Listening(io.RawIOBase):
    """Passes a stream on, and calls once, as soon as a mark has passed."""

    def __init__(self, target: IO[bytes], mark: re.Pattern[bytes], call: Callable[[], None]) -> None:
        self.target = target
        self.mark = mark
        self.call: Callable[[], None] | None = call
        self._head = b""

    def writable(self) -> bool:
        return True

    def write(self, chunk: Any) -> int:
        if self.call is not None:
            self._head += bytes(chunk)
            if self.mark.search(self._head):
                self.call()
                self.call = None
            self._head = self._head[-LONGEST_MARK:]
        self.target.write(chunk)
        return len(chunk)
