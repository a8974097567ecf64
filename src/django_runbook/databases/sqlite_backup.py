"""SQLite's own online backup, in both directions."""

from __future__ import annotations

import errno
import os
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from hashlib import blake2b
from pathlib import Path
from typing import IO, TYPE_CHECKING

from django.utils.translation import gettext as _

from django_runbook.databases.dumpers import Content, StreamDumper, TableContent
from django_runbook.exceptions import RestoreFailed
from django_runbook.files import private_folder
from django_runbook.programs import chunks_of

if TYPE_CHECKING:
    from django_runbook.databases.sqlite import SQLiteDatabase

BUSY_TIMEOUT = timedelta(seconds=30)
"""How long a backup or restore waits for another process's transaction."""
ROWS_AT_ONCE = 1000


class OnlineBackup(StreamDumper):
    name = "online backup"
    suffix = ".sqlite3"
    copies_first = True
    database: SQLiteDatabase

    def dump(self, target: IO[bytes], *, checksums: bool) -> Content:
        """Copy the live database beside the target, then stream the copy: a consistent file, WAL or not.

        A disk too full for the copy raises OSError, as one too full for the target does.
        """
        self.database.refuse_open_transaction()
        try:
            with private_copy(folder_of(target)) as path, closing(sqlite3.connect(path)) as copy:
                self.database.raw.backup(copy, progress=patience())
                copy.execute("PRAGMA journal_mode=DELETE")
                content = content_of(copy, checksums=checksums)
                with path.open("rb") as file:
                    for chunk in chunks_of(file):
                        target.write(chunk)
        except (sqlite3.Error, TimeoutError) as exc:
            if getattr(exc, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from exc
            raise self.backup_failed(exc) from exc
        return content

    def restore(self, source: IO[bytes]) -> None:
        """Check a private copy of the dump, then write it over the live database in one transaction.

        Through SQLite's pager: a live WAL is superseded, and other connections see the old state or the new.
        """
        self.database.refuse_open_transaction()
        file = self.database.file()
        try:
            with private_copy(file.parent if file else None) as path:
                with path.open("wb") as copy_file:
                    for chunk in chunks_of(source):
                        copy_file.write(chunk)
                with closing(sqlite3.connect(path)) as copy:
                    check_integrity(copy)
                    copy.backup(self.database.raw, progress=patience())
        except (sqlite3.Error, TimeoutError) as exc:
            raise RestoreFailed(
                _("The restore of database '%(alias)s' failed: %(error)s.")
                % {"alias": self.database.alias, "error": exc},
                _("The database is as it was before the restore."),
            ) from exc


def folder_of(target: IO[bytes]) -> Path | None:
    """The folder of the file that a dump goes to, if it has a name."""
    name = getattr(target, "name", None)
    return Path(name).parent if isinstance(name, str) else None


@contextmanager
def private_copy(folder: Path | None) -> Iterator[Path]:
    """Name a file in a temporary folder, 0700, that is removed at the end."""
    with private_folder(folder or Path(tempfile.gettempdir())) as private:
        yield private / "copy.sqlite3"


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


def content_of(raw: sqlite3.Connection, *, checksums: bool) -> Content:
    """Number, and checksum if asked for, of the rows of every table."""
    tables = raw.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite^_%' ESCAPE '^'"
        " ORDER BY name"
    ).fetchall()
    measure = summed if checksums else counted
    return {name: measure(raw, name) for (name,) in tables}


def counted(raw: sqlite3.Connection, table: str) -> TableContent:
    [(rows,)] = raw.execute(f"SELECT COUNT(*) FROM {quoted(table)}")
    return TableContent(rows=int(rows))


def summed(raw: sqlite3.Connection, table: str) -> TableContent:
    """Of the rows in the table's order, as Python shows them, which tells a text from a number and bytes.

    In that order, and not in an index's, because a copy has it too. The plus, which changes no value, keeps
    the driver from converting those of declared types, as it does on Django's connections.
    """
    names = [quoted(name) for _cid, name, *_rest in raw.execute(f"PRAGMA table_info({quoted(table)})")]
    found = raw.execute(f"SELECT +{', +'.join(names)} FROM {quoted(table)} NOT INDEXED")
    rows, checksum = 0, blake2b(digest_size=16)
    while part := found.fetchmany(ROWS_AT_ONCE):
        rows += len(part)
        checksum.update(repr(part).encode())
    return TableContent(rows=rows, checksum=checksum.hexdigest())


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
