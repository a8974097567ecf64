"""What a database can do for a run, as one protocol that every server implements.

Above this package no code asks for a vendor by name; it asks for a capability declared here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import IO, Any, ClassVar

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils.translation import gettext as _

from django_runbook.exceptions import SessionLost


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """The program behind a connection."""

    product: str
    """"MariaDB", "MySQL", "PostgreSQL" or "SQLite"."""
    version: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.product} {'.'.join(map(str, self.version))}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Orphan:
    """Rows of one table whose foreign key points at no row."""

    table: str
    column: str
    referenced_table: str
    rows: int
    """How many; 0 where the server only tells that the constraint was never validated."""


class Database(ABC):
    """One entry of DATABASES and what runs need of it beyond Django's own backend."""

    rolls_back_ddl: ClassVar[bool]
    """Does a rolled back transaction undo CREATE and ALTER TABLE?"""

    dump_suffix: ClassVar[str]
    """How a dump's file name ends before compression: ".sql" or ".sqlite3"."""

    def __init__(self, alias: str) -> None:
        self.alias = alias

    @property
    def connection(self) -> BaseDatabaseWrapper:
        """Django's own connection for this alias, in this thread: the session that works."""
        return connections[self.alias]

    @property
    def name(self) -> str:
        """The database's name; for SQLite the absolute path of its file."""
        return str(self.connection.settings_dict["NAME"])

    @property
    def identity(self) -> dict[str, str]:
        """Names this database in a journal, without secrets: vendor, host, port, name."""
        settings = self.connection.settings_dict
        return {
            "vendor": self.connection.vendor,
            "host": str(settings.get("HOST") or ""),
            "port": str(settings.get("PORT") or ""),
            "name": self.name,
        }

    @property
    def secrets(self) -> list[str]:
        """Texts that must never reach a log, an error, the journal or the report."""
        password = self.connection.settings_dict.get("PASSWORD")
        return [str(password)] if password else []

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the run lock on the session that works, and fence that session.

        Raise LockHeld if another session has the lock. Within the block, a statement that would run on
        any other session than the one that took the lock raises SessionLost before it is sent: Django
        reopens a closed connection silently, and the lock does not come back with it.
        """
        self.connection.ensure_connection()
        session = self.connection.connection

        def fence(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
            if self.connection.connection is not session:
                raise SessionLost(
                    _("The connection to database '%(alias)s' was lost, and the run's lock with it.")
                    % {"alias": self.alias},
                    _("Run `manage.py runbook resume` to look and go on."),
                )
            return execute(sql, params, many, context)

        with self.take_lock(), self.connection.execute_wrapper(fence):
            yield

    @abstractmethod
    def take_lock(self) -> AbstractContextManager[None]:
        """Take the lock on this connection's session at once, or raise LockHeld naming the holder.

        Released on leaving the block, and by the server (or kernel) when the session or process ends.
        """

    @abstractmethod
    def lock_holder(self) -> str | None:
        """Say who holds the run lock ("session 4711", "process 812"), or None. Changes nothing."""

    @abstractmethod
    def server(self) -> Server:
        """Ask the server for its product and version."""

    @abstractmethod
    def size(self) -> int:
        """Bytes of table data, as the server estimates them; indexes left out where it can tell."""

    @abstractmethod
    def missing_programs(self) -> list[str]:
        """Client programs that dump and restore need and that are not on PATH."""

    @abstractmethod
    def dump(self, target: IO[bytes]) -> None:
        """Write a consistent dump of everything in this database to `target`, uncompressed.

        Raise BackupFailed, with the client program's own words, when it fails or its output is not whole.
        """

    @abstractmethod
    def restore(self, source: IO[bytes]) -> None:
        """Bring back exactly the state of a dump: what was created since is gone too.

        Raise RestoreFailed with the client program's own words. All or nothing where the server can.
        """

    @abstractmethod
    def orphans(self) -> list[Orphan]:
        """Rows that violate a foreign key although the server did not refuse them."""

    def row_counts(self) -> dict[str, int]:
        """Exact number of rows of every table, by name."""
        with self.connection.cursor() as cursor:
            tables = self.connection.introspection.table_names(cursor)
            counts = {}
            for table in tables:
                cursor.execute(f"SELECT COUNT(*) FROM {self.connection.ops.quote_name(table)}")
                counts[table] = int(cursor.fetchone()[0])
        return counts
