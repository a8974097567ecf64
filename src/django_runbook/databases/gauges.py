"""What a rehearsal can see of the database that it works on, from a session beside it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.db import DatabaseError

if TYPE_CHECKING:
    from django_runbook.databases.base import Database

POSTGRESQL_LOCKS = (
    "SELECT mode || ' ' || relation::regclass FROM pg_locks JOIN pg_class ON pg_class.oid = relation"
    " WHERE pid = %s AND granted AND relkind IN ('r', 'p', 'm')"
    " AND relnamespace NOT IN ('pg_catalog'::regnamespace, 'pg_toast'::regnamespace)"
    " AND mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')"
)
"""Of the modes that keep readers or writers of rows out."""
POSTGRESQL_STORAGE = (
    "SELECT oid::regclass::text, pg_relation_filenode(oid) FROM pg_class WHERE relkind IN ('r', 'm')"
    " AND relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace,"
    " 'pg_toast'::regnamespace)"
)
MYSQL_STATE = "SELECT STATE, LEFT(INFO, 80) FROM information_schema.PROCESSLIST WHERE ID = %s"
COPYING = "copy to tmp table"
"""What both servers say of a session that copies a table, which keeps writers out."""
MYSQL_STORAGE = (
    "SELECT SUBSTRING_INDEX(NAME, '/', -1), TABLE_ID FROM information_schema.{tables}"
    " WHERE NAME LIKE CONCAT(DATABASE(), '/%') AND NAME NOT LIKE '%#%'"
)
MYSQL_DISK = "SELECT SUM(FILE_SIZE) FROM information_schema.{spaces} WHERE NAME LIKE CONCAT(DATABASE(), '/%')"


class Gauge:
    """Questions about one session's doings; the right to ask may be missing, then nothing is known."""

    def __init__(self, worker: Database) -> None:
        """`worker` is the database on the session that is looked at."""
        self.session: Any = None

    def locks(self, watcher: Database) -> list[str]:
        """What the session keeps others from at this moment, in the server's words."""
        return []

    def storage(self, database: Database) -> dict[str, Any]:
        """By table, a mark of the files in which its rows lie: another one after the table was rebuilt."""
        return {}

    def disk(self, watcher: Database) -> int:
        """Bytes that the database takes now."""
        return 0


class PostgreSQLGauge(Gauge):
    def __init__(self, worker: Database) -> None:
        [(self.session,)] = worker.ask("SELECT pg_backend_pid()")

    def locks(self, watcher: Database) -> list[str]:
        return [str(words) for (words,) in watcher.ask(POSTGRESQL_LOCKS, [self.session])]

    def storage(self, database: Database) -> dict[str, Any]:
        return {str(table): node for table, node in database.ask(POSTGRESQL_STORAGE)}

    def disk(self, watcher: Database) -> int:
        return int(watcher.ask("SELECT pg_database_size(current_database())")[0][0])


class MySQLGauge(Gauge):
    def __init__(self, worker: Database) -> None:
        [(self.session,)] = worker.ask("SELECT CONNECTION_ID()")

    def locks(self, watcher: Database) -> list[str]:
        return [
            f"{state}: {statement}"
            for state, statement in watcher.ask(MYSQL_STATE, [self.session])
            if state == COPYING
        ]

    def storage(self, database: Database) -> dict[str, Any]:
        """MySQL 8 and MariaDB have other names for the same table; both ask for the right PROCESS."""
        for tables in ("INNODB_SYS_TABLES", "INNODB_TABLES"):
            with suppress(DatabaseError):
                rows = database.ask(MYSQL_STORAGE.format(tables=tables))
                return {str(table): number for table, number in rows}
        return {}

    def disk(self, watcher: Database) -> int:
        for spaces in ("INNODB_SYS_TABLESPACES", "INNODB_TABLESPACES"):
            with suppress(DatabaseError):
                return int(watcher.ask(MYSQL_DISK.format(spaces=spaces))[0][0] or 0)
        return 0


class SQLiteGauge(Gauge):
    """It has one lock, on the whole file, which every write takes."""

    def storage(self, database: Database) -> dict[str, Any]:
        return dict(database.ask("SELECT name, rootpage FROM sqlite_master WHERE type = 'table'"))

    def disk(self, watcher: Database) -> int:
        return sum(path.stat().st_size for path in self._files(watcher.name) if path.exists())

    def _files(self, name: str) -> Iterator[Path]:
        for suffix in ("", "-journal", "-wal"):
            yield Path(name + suffix)
