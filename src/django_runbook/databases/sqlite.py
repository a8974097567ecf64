"""SQLite: its own online backup in both directions, and a lock on a file beside the database."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import sqlite3
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import IO

from django.utils.translation import gettext as _

from django_runbook.databases.base import Database, Orphan, Server
from django_runbook.exceptions import BackupFailed, LockHeld, Refused, RestoreFailed
from django_runbook.programs import chunks_of

BUSY_TIMEOUT = timedelta(seconds=30)
"""How long a backup or restore waits for another process's transaction."""
LOCK_ATTEMPTS = 5
"""A reader that asks who holds the lock takes it for an instant; this many attempts outlast it."""


class SQLiteDatabase(Database):
    rolls_back_ddl = True
    dump_suffix = ".sqlite3"
    copies_before_dump = True
    snapshot_statements = ("SELECT 1 FROM sqlite_master",)

    @property
    def name(self) -> str:
        name = str(self.connection.settings_dict["NAME"])
        return name if name.startswith(":") or name.startswith("file:") else str(Path(name).absolute())

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
    def snapshot(self) -> Iterator[None]:
        """As everywhere; a `transaction_mode` of IMMEDIATE would keep out writers, so it is put aside."""
        self.connection.ensure_connection()
        mode = self.connection.transaction_mode  # type: ignore[attr-defined]
        self.connection.transaction_mode = "DEFERRED"  # type: ignore[attr-defined]
        try:
            with super().snapshot():
                yield
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

    def lock_holder(self) -> str | None:
        if self.lock_file is None or not self.lock_file.exists():
            return None
        with self.lock_file.open("rb") as file:
            return None if locked(file, fcntl.LOCK_SH, attempts=1) else holder_in(file)

    def server(self) -> Server:
        return Server(product="SQLite", version=sqlite3.sqlite_version_info)

    def exact(self, column: str) -> str:
        return f"CAST({column} AS BLOB)"

    def definition(self, table: str) -> str:
        rows = self.ask(
            "SELECT type, name, sql FROM sqlite_master WHERE tbl_name = %s ORDER BY type DESC, name", [table]
        )
        return json.dumps(rows)

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

    def missing_programs(self) -> list[str]:
        return []

    def dump(self, target: IO[bytes]) -> dict[str, int]:
        """Copy the live database beside the target, then stream the copy: a consistent file, WAL or not.

        A disk too full for the copy raises OSError, as one too full for the target does.
        """
        self.refuse_open_transaction()
        try:
            with private_copy(folder_of(target)) as path, closing(sqlite3.connect(path)) as copy:
                self.raw.backup(copy, progress=patience())
                copy.execute("PRAGMA journal_mode=DELETE")
                rows = count_rows(copy)
                with path.open("rb") as file:
                    for chunk in chunks_of(file):
                        target.write(chunk)
        except (sqlite3.Error, TimeoutError) as exc:
            if getattr(exc, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from exc
            raise BackupFailed(
                _("The backup of database '%(alias)s' failed: %(error)s.")
                % {"alias": self.alias, "error": exc},
                _("The database was not changed."),
            ) from exc
        return rows

    def restore(self, source: IO[bytes]) -> None:
        """Check a private copy of the dump, then write it over the live database in one transaction.

        Through SQLite's pager: a live WAL is superseded, and other connections see the old state or the new.
        """
        self.refuse_open_transaction()
        file = self.file()
        try:
            with private_copy(file.parent if file else None) as path:
                with path.open("wb") as copy_file:
                    for chunk in chunks_of(source):
                        copy_file.write(chunk)
                with closing(sqlite3.connect(path)) as copy:
                    check_integrity(copy)
                    copy.backup(self.raw, progress=patience())
        except (sqlite3.Error, TimeoutError) as exc:
            raise RestoreFailed(
                _("The restore of database '%(alias)s' failed: %(error)s.")
                % {"alias": self.alias, "error": exc},
                _("The database is as it was before the restore."),
            ) from exc

    def orphans(self) -> list[Orphan]:
        found: Counter[tuple[str, str, int]] = Counter(
            (table, parent, key) for table, _rowid, parent, key in self.ask("PRAGMA foreign_key_check")
        )
        return [
            Orphan(table=table, column=self.column_of(table, key), referenced_table=parent, rows=rows)
            for (table, parent, key), rows in sorted(found.items())
        ]

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


def folder_of(target: IO[bytes]) -> Path | None:
    """The folder of the file that a dump goes to, if it has a name."""
    name = getattr(target, "name", None)
    return Path(name).parent if isinstance(name, str) else None


@contextmanager
def private_copy(folder: Path | None) -> Iterator[Path]:
    """Name a file in a temporary directory, 0700, that is removed at the end."""
    with tempfile.TemporaryDirectory(prefix=".runbook-", suffix=".partial", dir=folder) as directory:
        yield Path(directory) / "copy.sqlite3"


def patience() -> Callable[[int, int, int], None]:
    """Make a progress callback that raises TimeoutError when another process has been in the way too long.

    Python's `backup()` tries again for ever on SQLITE_BUSY.
    """
    deadline = time.monotonic() + BUSY_TIMEOUT.total_seconds()

    def progress(status: int, remaining: int, total: int) -> None:
        if status in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED} and time.monotonic() > deadline:
            raise TimeoutError(_("another process keeps a transaction open on the database"))

    return progress


def check_integrity(copy: sqlite3.Connection) -> None:
    """Raise sqlite3.DatabaseError if the file is not a whole database."""
    findings = [row[0] for row in copy.execute("PRAGMA integrity_check")]
    if findings != ["ok"]:
        raise sqlite3.DatabaseError(_("the dump is damaged: %(finding)s") % {"finding": findings[0]})


def count_rows(copy: sqlite3.Connection) -> dict[str, int]:
    tables = copy.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite^_%' ESCAPE '^'"
    ).fetchall()
    quoted = {name: '"' + name.replace('"', '""') + '"' for (name,) in tables}
    return {
        name: int(copy.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0])
        for name, table in sorted(quoted.items())
    }
