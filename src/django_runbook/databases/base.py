"""What a database can do for a run, as one protocol that every server implements.

Above this package no code asks for a vendor by name; it asks for a capability declared here.
"""

from __future__ import annotations

import json
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import IO, Any, ClassVar

from django.db import DatabaseError, InterfaceError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils.translation import gettext as _

from django_runbook.exceptions import LockHeld, Refused, SessionLost

MARK = "django-runbook "
"""Begins the comment in every statement that is in doubt when its client dies."""
OWN_TABLES = "django_runbook_"
"""Begins the name of every table of the ledger."""
WAIT_STEP = 0.5
"""Seconds between two looks at what is waited for."""
ORPHAN_SECONDS = 600
"""How long a resume waits for the statement of a dead client."""
_QUOTED_TABLE = re.compile(
    r"\b(?:TABLE|EXISTS|ON|TO|INDEX|CONCURRENTLY)\s+[`\"]((?:[^`\"]|``|\"\")+)[`\"]", re.IGNORECASE
)
"""What a statement changes; not the table that a foreign key REFERENCES, which stays as it is."""
ELSEWHERE = ""
"""Stands, among names of tables, for triggers, routines and the like."""
_MORE_THAN_TABLES = re.compile(
    r"\b(?:TRIGGER|PROCEDURE|FUNCTION|VIEW|EVENT|SEQUENCE|TYPE|EXTENSION)\b"
    r"|\b(?:TABLE|INDEX|ON|REFERENCES)\s+"
    r"(?!(?:IF|NOT|EXISTS|DELETE|UPDATE|COLUMN|CONCURRENTLY)\b)[A-Za-z_]",
    re.IGNORECASE,
)
"""A statement that speaks of other objects, or names a table without quotes: hand-written SQL."""


_COMMENTS = r"\s*(?:(?:/\*.*?\*/|(?:--|#)[^\n]*(?:\n|$))\s*)*"


def begins_with(words: str, *, rest: str = "") -> re.Pattern[str]:
    """Match statements that begin, behind any comments, with `words` and `rest`: regular expressions."""
    return re.compile(rf"{_COMMENTS}(?:{words})\b{rest}", re.IGNORECASE | re.DOTALL)


SESSION_SETTING = begins_with("SET", rest=r"[^;]*;?\s*\Z")
"""Alone: a text with more statements behind it must not be sent twice."""


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

    has_autocommit_ddl: ClassVar[bool] = False
    """Are there DDL statements that a transaction cannot hold?"""

    atomic_ddl_since: ClassVar[tuple[Server, ...]] = ()
    """Of each product that once left DDL statements half done in a crash: the first version that does not."""

    dump_suffix: ClassVar[str]
    """How a dump's file name ends before compression: ".sql" or ".sqlite3"."""

    copies_before_dump: ClassVar[bool] = False
    """Does a dump need the database's size once more, uncompressed, in the dump's folder while it runs?"""

    streams_rows: ClassVar[bool] = True
    """Does `QuerySet.iterator()` read a large table in pieces, instead of all of it into memory first?"""

    snapshot_statements: ClassVar[tuple[str, ...]]
    """What makes a transaction that has just begun see one state of the data, and only read."""

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
    def lock(
        self, wait: timedelta = timedelta(0), notify: Callable[[str], None] = lambda text: None
    ) -> Iterator[None]:
        """Hold the run lock on the session that works, and fence that session.

        Raise LockHeld if another session has the lock and does not let go of it within `wait`; `notify` is
        told about the waiting. Within the block, a statement that would run on any other session than the
        one that took the lock raises SessionLost before it is sent: Django reopens a closed connection
        silently, and the lock does not come back with it. Raise Refused if a pooler shares the session, so
        that no lock on it would hold.
        """
        self.refuse_pooling()
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

        with ExitStack() as stack:
            self._enter_lock(stack, wait, notify)
            with self.connection.execute_wrapper(fence):
                yield

    def _enter_lock(self, stack: ExitStack, wait: timedelta, notify: Callable[[str], None]) -> None:
        until = time.monotonic() + wait.total_seconds()
        while True:
            try:
                stack.enter_context(self.take_lock())
                return
            except LockHeld as error:
                if time.monotonic() >= until:
                    raise
                notify(error.message)
            time.sleep(WAIT_STEP)

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Within the block, show every query on this connection the same state, whatever others commit.

        The block must not write. Raise Refused within a transaction, which may have seen another state.
        """
        self.refuse_open_transaction()
        with transaction.atomic(using=self.alias):
            for statement in self.snapshot_statements:
                with self.connection.cursor() as cursor:
                    cursor.execute(statement)
            yield

    def refuse_pooling(self) -> None:
        """Raise Refused if a connection pooler gives this session to others between two transactions.

        Or if that cannot be told. Only where poolers are looked for; see the reference.
        """
        return

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

    def needed_for_atomic_ddl(self, server: Server) -> Server | None:
        """The version that `server` would have to be, so that a crash leaves each DDL statement done or not
        done; None if it is.
        """
        newer = (it for it in self.atomic_ddl_since if it.version > server.version)
        return next((it for it in newer if it.product == server.product), None)

    def unsafe_tables(self) -> dict[str, str]:
        """Tables that take no part in transactions, by name, with the engine that is the reason."""
        return {}

    def unsafe_default_engine(self) -> str:
        """The engine that CREATE TABLE would give a table on this session, if it is such a one."""
        return ""

    def make_table_safe(self, table: str) -> str:
        """The statement that would make a table take part in transactions."""
        return ""

    @abstractmethod
    def size(self) -> int:
        """Bytes of table data, as the server estimates them; indexes left out where it can tell."""

    @abstractmethod
    def missing_programs(self) -> list[str]:
        """Client programs that dump and restore need and that are not on PATH."""

    @abstractmethod
    def dump(self, target: IO[bytes]) -> dict[str, int]:
        """Write a consistent dump of everything in this database to `target`, uncompressed.

        Return the number of rows per table in the dump; a table whose number cannot be known, because
        someone wrote to it meanwhile, is left out. Raise BackupFailed, with the client program's own words,
        when it fails or its output is not whole, and Refused within a transaction: the dump would miss it.
        """

    @abstractmethod
    def restore(self, source: IO[bytes]) -> None:
        """Bring back exactly the state of a dump: what was created since is gone too.

        This connection's session, and the run lock on it, stay. Raise RestoreFailed with the client program's
        own words; all or nothing where the server can. Raise Refused within a transaction, which would block.
        """

    @abstractmethod
    def orphans(self) -> list[Orphan]:
        """Rows that violate a foreign key although the server did not refuse them."""

    @contextmanager
    def lock_timeout(self, wait: timedelta) -> Iterator[None]:
        """Within the block, let a statement of this session fail that waits longer than `wait` for a lock."""
        yield

    def is_lock_timeout(self, error: Exception) -> bool:
        """Did a statement fail, without any effect, because it waited too long for a lock?"""
        return False

    def blockers(self) -> list[str]:
        """Other sessions whose open transactions may hold the locks, the oldest first; as far as visible."""
        return []

    def needs_autocommit(self, sql: str) -> bool:
        """Can no transaction hold this statement: is it refused in one, or does it commit the open one?"""
        return False

    def sets_session(self, sql: str) -> bool:
        """Is this statement's effect on the session only, so that a new session has to have it again?"""
        return bool(SESSION_SETTING.match(sql))

    def definitions(self, sql: str) -> dict[str, str]:
        """What a DDL statement speaks of, as text by name; all there is if that cannot be read from it.

        In that case what is no table stands under ELSEWHERE. Changes if, and only if, the statement took
        effect; one that had none to take may run again.
        """
        names = [found.replace("``", "`").replace('""', '"') for found in _QUOTED_TABLE.findall(sql)]
        found: dict[str, str] = {}
        if not names or _MORE_THAN_TABLES.search(sql):
            names = self.connection.introspection.table_names(include_views=True)
            found[ELSEWHERE] = json.dumps(self.other_definitions(), default=str)
        return found | {name: self.definition(name) for name in sorted(set(names))}

    def way_back(self, sql: str, before: Mapping[str, str]) -> list[str] | None:
        """Statements that bring what `sql` may have changed back to what `definitions` was `before` it.

        None if they are not known here; empty if there is nothing to bring back.
        """
        return None

    def strange(self, sql: str, before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
        """What differs between two `definitions` that `sql` cannot have changed: somebody else did."""
        return []

    def all_definitions(self) -> dict[str, str]:
        """The definition of every table and view but the ledger's, by name."""
        names = self.connection.introspection.table_names(include_views=True)
        return {name: self.definition(name) for name in names if not name.startswith(OWN_TABLES)}

    def shape(self, definition: str) -> str:
        """A definition without what says nothing, such as the order of its keys: to be compared."""
        return definition

    def restore_details(self, before: Mapping[str, str]) -> None:
        """Give tables back what Django's backwards operations leave otherwise: names and places.

        `before` is what `all_definitions` once was. Tables that differ in more are left as they are.
        """
        return

    @abstractmethod
    def exact(self, column: str) -> str:
        """An expression that two values of a quoted column share only if they are the same, byte by byte."""

    @abstractmethod
    def definition(self, table: str) -> str:
        """All that DDL can change of a table, as text; empty if there is no such table."""

    def other_definitions(self) -> list[Any]:
        """Triggers, routines and the like: what hand-written SQL may make beside tables."""
        return []

    def mark(self, run_id: str) -> str:
        """A comment by which a statement of this run is found in the server's list of sessions."""
        return f"/* {MARK}{run_id} */"

    def wait_for_orphans(self, run_id: str) -> None:
        """Wait until no other session still executes a statement of this run.

        A killed client's statement goes on in the server. Raise LockHeld if it has not ended in time.
        """
        until = time.monotonic() + ORPHAN_SECONDS
        while sessions := self.sessions_of(run_id):
            if time.monotonic() > until:
                raise LockHeld(
                    _("A statement of run %(run)s is still executed by session %(sessions)s.")
                    % {"run": run_id, "sessions": ", ".join(sessions)},
                    _("Wait for it to end, then run `manage.py runbook resume`."),
                )
            time.sleep(WAIT_STEP)

    def sessions_of(self, run_id: str) -> list[str]:
        """Other sessions that execute a statement of this run just now."""
        return []

    def drop_invalid_index(self, sql: str) -> None:
        """If `sql` creates an index: drop what an attempt at the very same that was cut off left behind."""
        return

    def ask(self, sql: str, params: Sequence[Any] | None = None) -> list[tuple[Any, ...]]:
        """Run one query on this connection and return all its rows."""
        with self.connection.cursor() as cursor:
            cursor.execute(sql, params)
            return [tuple(row) for row in cursor.fetchall()]

    def ask_nothing(self, sql: str, params: Sequence[Any] | None = None) -> None:
        """Run one statement that returns no rows."""
        with self.connection.cursor() as cursor:
            cursor.execute(sql, params)

    @contextmanager
    def put_back(self, sql: str, params: Sequence[Any]) -> Iterator[None]:
        """Run a statement after the block, if the session is still the one that entered it."""
        session = self.connection.connection
        try:
            yield
        finally:
            if self.connection.connection is session:
                with suppress(DatabaseError, InterfaceError):  # a dead session needs no setting
                    self.ask_nothing(sql, params)

    def refuse_open_transaction(self) -> None:
        """Raise Refused if this connection is within a transaction."""
        if self.connection.in_atomic_block or not self.connection.get_autocommit():
            raise Refused(
                _("A transaction is open on database '%(alias)s', in this process.") % {"alias": self.alias},
                _("Back up and restore outside of atomic() and with AUTOCOMMIT."),
            )

    def quote(self, name: str) -> str:
        """A name as an SQL identifier, whatever is in it; Django's quote_name trusts names to be tame."""
        mark = self.connection.ops.quote_name("x")[0]
        return mark + name.replace(mark, mark * 2) + mark

    def row_counts(self) -> dict[str, int]:
        """Exact number of rows of every table, by name."""
        with self.connection.cursor() as cursor:
            tables = self.connection.introspection.table_names(cursor)
            counts = {}
            for table in tables:
                cursor.execute(f"SELECT COUNT(*) FROM {self.quote(table)}")
                counts[table] = int(cursor.fetchone()[0])
        return counts
