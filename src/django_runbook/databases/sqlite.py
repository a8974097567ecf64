"""SQLite: its own online backup in both directions, and a lock on a file beside the database."""

from __future__ import annotations

import fcntl
import json
import os
import re
import sqlite3
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from django.db import DatabaseError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils.translation import gettext as _

from django_runbook.databases.base import Database, Orphan, Server
from django_runbook.databases.ddl_costs import Costs, SQLiteCosts
from django_runbook.databases.dumpers import Content, TableContent
from django_runbook.databases.gauges import Gauge, SQLiteGauge
from django_runbook.databases.json_texts import SQLiteTexts
from django_runbook.databases.misfits import Misfits, SQLiteMisfits
from django_runbook.databases.readers import Readers
from django_runbook.databases.sizes import TableSize
from django_runbook.databases.sqlite_backup import OnlineBackup, content_of, summed
from django_runbook.databases.sqlite_surroundings import SQLiteSurroundings
from django_runbook.exceptions import LockHeld, Refused

PROGRESS_STEPS = 10_000
"""Instructions of its virtual machine between two looks at the clock: about a millisecond."""
PRIMARY_CODE = 0xFF
"""Part of an extended result code; https://www.sqlite.org/rescode.html."""
PATIENCE = 200
"""Milliseconds that an export waits for a writer, to be read by several sessions."""
LOCK_ATTEMPTS = 5
"""A reader that asks who holds the lock takes it for an instant; this many attempts outlast it."""


CREATED_INDEX = re.compile(r'CREATE (?:UNIQUE )?INDEX "(?P<name>(?:[^"]|"")+)"')


class SQLiteDatabase(Database):
    rolls_back_ddl = True
    adds_constraints = False
    alters_by_copy = True
    checks_all_foreign_keys = True
    compares_key_types = False
    sharing_sessions = 1  # two wait for each other: SQLite has one account of a process's memory
    snapshot_statements = ("SELECT 1 FROM sqlite_master",)

    @property
    def name(self) -> str:
        name = str(self.connection.settings_dict["NAME"])
        return name if name.startswith(":") or name.startswith("file:") else str(Path(name).absolute())

    @property
    def json_texts(self) -> SQLiteTexts:
        return SQLiteTexts()

    @contextmanager
    def still(self, readers: int) -> Iterator[int]:
        """Keep writers out until all have begun, if that is to be had at once."""
        if not readers or self.file() is None:
            yield 0
            return
        beside = self.connection.copy()
        try:
            yield readers if _is_writer(beside) else 0
        finally:
            beside.close()

    def sharing_statements(self) -> Sequence[str]:
        return ("BEGIN", *self.snapshot_statements)

    @property
    def dumper(self) -> OnlineBackup:
        return OnlineBackup(self)

    @property
    def surroundings(self) -> SQLiteSurroundings:
        return SQLiteSurroundings(self)

    @property
    def lock_file(self) -> Path | None:
        """The file whose lock is the run lock; None for a database in memory, which no one else can open."""
        file = self.file()
        return file and file.with_name(f"{file.name}.runbook-lock")

    def file(self) -> Path | None:
        """The database's file with symbolic links resolved, as SQLite itself names it."""
        name = next((row[2] for row in self.ask("PRAGMA database_list") if row[1] == "main"), "")
        return Path(name) if name else None

    @contextmanager
    def snapshot(self, *, readers: int = 0) -> Iterator[Readers]:
        """As everywhere; a `transaction_mode` of IMMEDIATE would keep out writers, so it is put aside."""
        self.connection.ensure_connection()
        mode = self.connection.transaction_mode  # type: ignore[attr-defined]
        self.connection.transaction_mode = "DEFERRED"  # type: ignore[attr-defined]
        try:
            with super().snapshot(readers=readers) as beside:
                yield beside
        finally:
            self.connection.transaction_mode = mode  # type: ignore[attr-defined]

    @contextmanager
    def take_lock(self) -> Iterator[None]:
        """Take the file's lock; the kernel frees it with the process. The file stays, against races."""
        if self.lock_file is None:
            yield
            return
        with open_lock_file(self.lock_file) as file:
            if not locked(file, fcntl.LOCK_EX):
                raise LockHeld(
                    _("%(holder)s runs a runbook on database '%(alias)s'.")
                    % {"holder": holder_in(file), "alias": self.alias},
                    _("Wait for it to end, or look with `manage.py runbook status`."),
                )
            write_holder(file, f"process {os.getpid()}")
            try:
                yield
            finally:
                write_holder(file, "")

    def is_transient(self, error: Exception) -> bool:
        code = getattr(error.__cause__, "sqlite_errorcode", None)
        return code is not None and code & PRIMARY_CODE in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)

    def gauge(self) -> Gauge:
        return SQLiteGauge(self)

    def lock_holder(self) -> str | None:
        if self.lock_file is None or not self.lock_file.exists():
            return None
        with self.lock_file.open("rb") as file:
            return None if locked(file, fcntl.LOCK_SH, attempts=1) else holder_in(file)

    def server(self) -> Server:
        return Server(product="SQLite", version=sqlite3.sqlite_version_info)

    @contextmanager
    def read_only(self) -> Iterator[None]:
        [(before,)] = self.ask("PRAGMA query_only")
        session = self.connection.connection
        self.ask_nothing("PRAGMA query_only = ON")
        try:
            with self.put_back(f"PRAGMA query_only = {before}", []):
                self.put_aside = {"query_only": before}
                yield
        finally:
            session.set_progress_handler(None, 0)

    def limit_statements(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        self.connection.connection.set_progress_handler(lambda: time.monotonic() > until, PROGRESS_STEPS)

    def is_time_limit(self, error: Exception) -> bool:
        return getattr(error.__cause__, "sqlite_errorcode", None) == sqlite3.SQLITE_INTERRUPT

    def exact(self, column: str) -> str:
        return f"CAST({column} AS BLOB)"

    def definition(self, table: str) -> str:
        rows = self.ask(
            "SELECT type, name, sql FROM sqlite_master WHERE tbl_name = %s ORDER BY type DESC, name", [table]
        )
        return json.dumps(rows)

    def way_back(self, sql: str, before: Mapping[str, str]) -> list[str] | None:
        """Of an index; all else its operation takes back."""
        found = CREATED_INDEX.match(sql)
        if not found:
            return None
        there = self.ask("SELECT 1 FROM sqlite_master WHERE type = 'index' AND name = %s", [found["name"]])
        return [f"DROP INDEX {self.quote(found['name'])}"] if there else []

    def restore_details(self, before: Mapping[str, str]) -> None:
        """The very text: Django makes tables anew, with their columns in another order."""
        with self.connection.schema_editor(atomic=True):
            self.ask_nothing("PRAGMA legacy_alter_table = ON")
            try:
                for table, text in before.items():
                    if text != self.definition(table):
                        self.restore_text(table, json.loads(text))
            finally:
                self.ask_nothing("PRAGMA legacy_alter_table = OFF")

    def restore_text(self, table: str, before: list[list[str]]) -> None:
        """Make the table and its indexes anew as they were, if it has the same columns.

        An index that was not there before stays, unless it is one of those under another name.
        """
        now = json.loads(self.definition(table))
        made = [sql for kind, _name, sql in before if kind == "table"]
        refilled = made != [sql for kind, _name, sql in now if kind == "table"]
        if refilled and not (made and self.refill(table, made[0])):
            return
        then, there = (indexes(rows) for rows in (before, now))
        missing = [row for row in then if row not in there]
        renamed = {after_name(sql) for _name, sql in missing}
        kept = [row for row in there if row in then or after_name(row[1]) not in renamed]
        for name, sql in there:
            if not refilled and (name, sql) not in kept:
                self.ask_nothing(f"DROP INDEX {self.quote(name)}")
        for _name, sql in [*missing, *(kept if refilled else ())]:
            self.ask_nothing(sql)

    def refill(self, table: str, sql: str) -> bool:
        """Move the rows into a table made by `sql`; not if that has other columns."""
        old, new = self.quote(f"old__{table}"), self.quote(table)
        columns = sorted(name for _id, name, *_rest in self.ask(f"PRAGMA table_info({new})"))
        self.ask_nothing("SAVEPOINT refill")
        self.ask_nothing(f"ALTER TABLE {new} RENAME TO {old}")
        self.ask_nothing(sql)
        if columns != sorted(name for _id, name, *_rest in self.ask(f"PRAGMA table_info({new})")):
            self.ask_nothing("ROLLBACK TO refill")
            return False
        names = ", ".join(map(self.quote, columns))
        self.ask_nothing(f"INSERT INTO {new} ({names}) SELECT {names} FROM {old}")
        self.ask_nothing(f"DROP TABLE {old}")
        return True

    def size(self) -> int:
        [(pages,)] = self.ask("PRAGMA page_count")
        [(page_size,)] = self.ask("PRAGMA page_size")
        return int(pages) * int(page_size)

    def estimated_rows(self, table: str) -> int:
        """By its last row's number, unless it is made WITHOUT ROWID."""
        with suppress(DatabaseError):
            return int(self.ask(f"SELECT MAX(rowid) FROM {self.quote(table)}")[0][0] or 0)
        return 0

    def table_sizes(self) -> dict[str, TableSize]:
        """None can be told from another, so that each counts as the whole file."""
        size = TableSize(bytes=self.size())
        return dict.fromkeys(self.connection.introspection.table_names(), size)

    def ddl_costs(self) -> Costs:
        return SQLiteCosts(self.connection, self.server())

    def missing_programs(self) -> list[str]:
        return []

    def content(self, *, checksums: bool) -> Content:
        with self.connection.wrap_database_errors:
            return content_of(self.raw, checksums=checksums)

    def summed(self, table: str) -> TableContent:
        return summed(self.raw, table)

    def schema(self) -> str:
        rows = self.ask("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY 1, 2")
        return json.dumps(rows, ensure_ascii=False)

    def scratch_name(self, token: str) -> str:
        file = self.file()
        folder = file.parent if file else Path(tempfile.gettempdir())
        return str(folder / f".runbook-{token}.sqlite3")

    def create_scratch(self, name: str, like: Database) -> dict[str, Any]:
        Path(name).touch(mode=0o600)
        return {**self.connection.settings_dict, "NAME": name}

    def drop_scratch(self, name: str) -> None:
        for suffix in ("", "-journal", "-wal", "-shm"):
            Path(name + suffix).unlink(missing_ok=True)

    def text(self, sql: str, params: Sequence[Any]) -> str:
        with self.connection.cursor() as cursor:
            return str(self.connection.ops.last_executed_query(cursor, sql, params))

    @property
    def misfits(self) -> Misfits:
        return SQLiteMisfits(self)

    def orphans(self) -> list[Orphan]:
        found: Counter[tuple[str, str, int]] = Counter(
            (table, parent, key) for table, _rowid, parent, key in self.ask("PRAGMA foreign_key_check")
        )
        return [
            Orphan(table=table, column=self.column_of(table, key), referenced_table=parent, rows=rows)
            for (table, parent, key), rows in sorted(found.items())
        ]

    def orphan_listing(self, table: str) -> str:
        return f"PRAGMA foreign_key_check({self.quote(table)});"

    def column_of(self, table: str, key: int) -> str:
        """The column, or columns, of a table's foreign key by its number."""
        keys = self.ask(f"PRAGMA foreign_key_list({self.quote(table)})")
        return ", ".join(row[3] for row in keys if row[0] == key)

    @property
    def raw(self) -> sqlite3.Connection:
        """The driver's connection: this very session."""
        self.connection.ensure_connection()
        raw: sqlite3.Connection = self.connection.connection
        return raw


def indexes(rows: list[list[str]]) -> list[tuple[str, str]]:
    """Names and texts of a table's indexes and triggers, but for those that come with the table."""
    return [(name, sql) for kind, name, sql in rows if kind in ("index", "trigger") and sql]


def after_name(sql: str) -> str:
    """What a CREATE INDEX makes, without the name."""
    return sql[sql.upper().find(" ON ") :]


def open_lock_file(path: Path) -> IO[bytes]:
    """Open the lock's file, made with mode 0600. Raise Refused if that is not allowed."""
    try:
        return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b")
    except OSError as exc:
        raise Refused(
            _("The lock file %(path)s cannot be opened: %(error)s.") % {"path": path, "error": exc.strerror},
            _("Run as the user that owns the database's file."),
        ) from exc


def locked(file: IO[bytes], kind: int, *, attempts: int = LOCK_ATTEMPTS) -> bool:
    """Try to lock an open file, until it is closed."""
    for attempt in range(attempts):
        if attempt:
            time.sleep(0.01)
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        return True
    return False


def write_holder(file: IO[bytes], holder: str) -> None:
    file.seek(0)
    file.truncate()
    file.write(holder.encode())
    file.flush()


def holder_in(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace") or _("another process")


def _is_writer(session: BaseDatabaseWrapper) -> bool:
    """Begin a transaction that keeps other writers out, unless one of them is at work."""
    with session.cursor() as cursor:
        cursor.execute(f"PRAGMA busy_timeout = {PATIENCE}")
        try:
            cursor.execute("BEGIN IMMEDIATE")
        except DatabaseError:
            return False
    return True
