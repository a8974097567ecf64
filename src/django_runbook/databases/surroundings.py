"""What surrounds a run on one database: rights, settings, other sessions, replicas, programs, disks."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from django_runbook.databases.base import Database

LONG_TRANSACTION = timedelta(seconds=30)
"""A transaction of another session that is younger ends before a statement gives up waiting for its locks."""
LONG_STATEMENT = timedelta(minutes=15)
"""A statement of a migration may well take so long on a large table."""
LONG_IDLE = timedelta(hours=1)
"""So long a session may have nothing to do while a program runs: the longest a `Command` takes by default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Something around the run that stands in its way."""

    message: str
    hint: str
    is_error: bool = False
    """Will it make the run fail, or break a promise?"""
    subject: str = ""
    examples: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What the steps of a plan do to the database, as far as they tell."""

    creates: frozenset[str] = frozenset()
    """Tables to come."""
    altered: frozenset[str] = frozenset()
    """Tables that are there and get or lose a column, a constraint or an index."""
    indexed: frozenset[str] = frozenset()
    """Those of them that get or lose an index by a statement of its own."""
    renamed: frozenset[str] = frozenset()
    renamed_to: frozenset[str] = frozenset()
    """The names that they get."""
    dropped: frozenset[str] = frozenset()
    referenced: frozenset[str] = frozenset()
    """Tables that are there and that a coming foreign key points at."""
    read: frozenset[str] = frozenset()
    written: frozenset[str] = frozenset()
    """Tables that are there and get rows, or lose some."""
    extensions: tuple[str, ...] = ()
    backup: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """Where the server, on this machine, makes a table anew, and how large the largest copy would be."""

    folder: Path
    table: str
    bytes: int


class Surroundings:
    """Questions that only read; a right that is missing shows as the server's own error."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def programs(self) -> Iterator[Trouble]:
        """Client programs on PATH that do not fit the server."""
        yield from ()

    def rights(self, needs: Needs) -> Iterator[Trouble]:
        """What this user may not do, of what is needed."""
        yield from ()

    def disk(self, tables: Collection[str]) -> Disk | None:
        """Where the largest of the tables would be made anew; None if that is not on this machine."""
        return None

    def transactions(self, tables: Collection[str]) -> Iterator[Trouble]:
        """Transactions of others that have been open for long, or are prepared, with locks on the tables."""
        yield from ()

    def connected(self) -> list[str]:
        """Who else is connected to this database now, in words; on some servers only this user's sessions."""
        return []

    def refusals(self) -> Iterator[Trouble]:
        """Why nothing can be written here: a standby, a setting, a file's mode."""
        yield from ()

    def replication(self, tables: Collection[str]) -> Iterator[Trouble]:
        """What replicates from here, or to here, and would be hurt or hurt the run."""
        yield from ()

    def clock(self) -> float | None:
        """The server's time in seconds since 1970; None if its clock is this machine's."""
        return None

    def settings(self) -> Iterator[Trouble]:
        """Settings of the session or the server under which a promise does not hold."""
        yield from ()

    def limits(self, *, idles: bool) -> Iterator[Trouble]:
        """Settings that end a long statement; or, if some step `idles`, a session that waits for it."""
        yield from ()

    def leftovers(self) -> Iterator[Trouble]:
        """What an interrupted change of schema, by this or another tool, has left behind."""
        yield from ()

    def health(self) -> Iterator[Trouble]:
        """What is wrong with the database itself, whatever the plan."""
        yield from ()

    def one(self, sql: str, *params: Any) -> tuple[Any, ...]:
        """The single row that a query returns."""
        [row] = self.database.ask(sql, params or None)
        return row

    def own(self, name: str, sql: str) -> Any:
        """A setting of this session: as it was, if the check before step one has put it aside."""
        put_aside = self.database.put_aside
        return put_aside[name] if name in put_aside else self.one(sql)[0]
