"""What a database can do for a run, as one protocol that every server implements.

Above this package no code asks for a vendor by name; it asks for a capability declared here.
"""

from __future__ import annotations

import json
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import IO, Any, ClassVar, Self, TypeVar, cast

from django.db import DatabaseError, InterfaceError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils.translation import gettext as _

from django_runbook.databases.ddl_costs import Costs
from django_runbook.databases.dumpers import Content, FolderDumper, StreamDumper, TableContent
from django_runbook.databases.gauges import Gauge
from django_runbook.databases.json_texts import JsonTexts
from django_runbook.databases.key_types import ColumnType
from django_runbook.databases.keys import FillingKey
from django_runbook.databases.misfits import Misfits
from django_runbook.databases.readers import Readers
from django_runbook.databases.reading import TimeLimit
from django_runbook.databases.sizes import TableSize
from django_runbook.databases.surroundings import Surroundings
from django_runbook.databases.vitals import Vitals, is_no_replica
from django_runbook.exceptions import LockHeld, Refused, SessionLost

Result = TypeVar("Result")
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


IS_SCRATCH = "DJANGO_RUNBOOK_SCRATCH"
"""In the settings of a scratch database, beside NAME."""


class Database(ABC):
    """One entry of DATABASES and what runs need of it beyond Django's own backend."""

    rolls_back_ddl: ClassVar[bool]
    """Does a rolled back transaction undo CREATE and ALTER TABLE?"""

    has_autocommit_ddl: ClassVar[bool] = False
    """Are there DDL statements that a transaction cannot hold?"""

    atomic_ddl_since: ClassVar[tuple[Server, ...]] = ()
    """Of each product that once left DDL statements half done in a crash: the first version that does not."""

    adds_constraints: ClassVar[bool] = True
    """Can foreign keys and unique constraints be added to a table without making it anew?"""

    alters_by_copy: ClassVar[bool] = False
    """Does Django alter a table by copying its rows into a new one?"""

    checks_all_foreign_keys: ClassVar[bool] = False
    """Does every migration fail at its end while any row of the database violates a foreign key?"""

    compares_key_types: ClassVar[bool] = True
    """Does the server refuse a foreign key between columns whose types differ?"""

    has_exclusions: ClassVar[bool] = False
    """Are there constraints under which two rows exclude each other by any operators?"""

    streams_rows: ClassVar[bool] = True
    """Does `QuerySet.iterator()` read a large table in pieces, instead of all of it into memory first?"""

    sharing_sessions: ClassVar[int] = 0
    """So many further sessions, which share a snapshot, make reading a large table faster."""

    snapshot_statements: ClassVar[tuple[str, ...]]
    """What makes a transaction that has just begun see one state of the data, and only read."""

    def __init__(self, alias: str) -> None:
        self.alias = alias
        self._read: dict[Callable[..., Any], Any] | None = None
        self.put_aside: Mapping[str, Any] = {}
        """Settings of the session, by name, that `read_only` has replaced for a while."""

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
    def snapshot(self, *, readers: int = 0) -> Iterator[Readers]:
        """Within the block, show every query on this connection the same state, whatever others commit.

        The block must not write. What it gets are up to so many further sessions that see that state, too:
        none where the server cannot share it, or has none left. Raise Refused within a transaction, which
        may have seen another state.
        """
        self.refuse_open_transaction()
        with ExitStack() as stack:
            with self.still(readers) as wanted:
                stack.enter_context(transaction.atomic(using=self.alias))
                with self.connection.cursor() as cursor:
                    for statement in self.snapshot_statements:
                        cursor.execute(statement)
                statements = self.sharing_statements() if wanted else []
                beside = stack.enter_context(Readers(self.alias, wanted if statements else 0, statements))
            yield beside

    @contextmanager
    def still(self, readers: int) -> Iterator[int]:
        """Within the block, see that this session and so many readers begin with the same state.

        What it gets is how many of them may begin.
        """
        yield readers

    def sharing_statements(self) -> Sequence[str]:
        """What another session has to say to see the snapshot of this one; nothing if it cannot."""
        return ()

    @property
    @abstractmethod
    def json_texts(self) -> JsonTexts:
        """How this server writes values as Django's serializers do."""

    def insert_rows(
        self, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], suffix: str
    ) -> None:
        """Insert many rows at once. `suffix` says, in SQL, what becomes of those that are there."""
        quote = self.connection.ops.quote_name
        names = ", ".join(map(quote, columns))
        places = ", ".join(["%s"] * len(columns))
        with self.connection.cursor() as cursor:
            cursor.executemany(
                f"INSERT INTO {quote(table)} ({names}) VALUES ({places}) {suffix}",
                rows,
            )

    @property
    def surroundings(self) -> Surroundings:
        """What can be asked about rights, settings, other sessions, replicas and disks."""
        return Surroundings(self)

    def gauge(self) -> Gauge:
        """What can be seen, from a session beside it, of what this session does."""
        return Gauge(self)

    def vitals(self) -> Vitals:
        """How the server is doing. Raise DatabaseError if it does not tell."""
        return Vitals()

    def lag(self) -> float:
        """Seconds by which this replica is behind. Raise RunbookError if it is none, DatabaseError."""
        raise is_no_replica(self)

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
    def estimated_rows(self, table: str) -> int:
        """About how many rows a table has, at once, however large it is; 0 if the server does not know."""

    @abstractmethod
    def table_sizes(self) -> dict[str, TableSize]:
        """The size of every table, by name: one query, which counts nothing."""

    @abstractmethod
    def ddl_costs(self) -> Costs:
        """What changes of tables cost on this server. Asks for its version."""

    @abstractmethod
    def missing_programs(self) -> list[str]:
        """Client programs that dump and restore need and that are not on PATH."""

    @property
    @abstractmethod
    def dumper(self) -> StreamDumper:
        """What dumps this database as one stream; always there, if its programs are."""

    @property
    def folder_dumpers(self) -> Sequence[FolderDumper]:
        """What dumps this database into many files at a time."""
        return ()

    def dump(self, target: IO[bytes]) -> Content:
        """As `StreamDumper.dump`, with rows counted only."""
        return self.dumper.dump(target, checksums=False)

    def restore(self, source: IO[bytes]) -> None:
        """As `StreamDumper.restore`."""
        self.dumper.restore(source)

    def cut_off_restore(self) -> str:
        """When a restore began that did not end and left the database incomplete; empty if none did.

        In words. Always empty where a restore is all or nothing.
        """
        return ""

    @abstractmethod
    def schema(self) -> str:
        """All that a dump holds but rows, as text that two databases share only if it is the same.

        Raise ProgramFailed if a client program that is asked for it fails.
        """

    def grants(self) -> list[str]:
        """Statements that give users their rights on this database again, where no dump has them.

        Raise Refused if they cannot be read.
        """
        return []

    @property
    def is_scratch(self) -> bool:
        """Is it a scratch database, in which nothing need be all or nothing?"""
        return bool(self.connection.settings_dict.get(IS_SCRATCH))

    def scratch_name(self, token: str) -> str:
        """What a scratch database of this one is called: one that a right on `NAME_%` covers."""
        return f"{self.name[:40]}_runbook_{token}"

    def refuses_scratch(self) -> str:
        """Why this user may not create a scratch database, and what would allow it; empty if it may."""
        return ""

    @abstractmethod
    def create_scratch(self, name: str, like: Database) -> dict[str, Any]:
        """Create an empty database with the character set and collation of `like`, on this one's server.

        Return the settings that reach it. Raise Refused if this user may not, with what would allow it.
        """

    @abstractmethod
    def drop_scratch(self, name: str) -> None:
        """Drop a scratch database, if it is there, and whoever is connected to it."""

    @contextmanager
    def reading(self, limit: timedelta) -> Iterator[None]:
        """Within the block, let this session change nothing, and ask for no longer than `limit` in all.

        Raise TimeLimitReached from the statement that would go on behind it, and from every later one.
        """
        self.connection.ensure_connection()
        with self.read_only():
            ends = TimeLimit(limit, self.limit_statements, self.is_time_limit)
            self._read = {}
            try:
                with self.connection.execute_wrapper(ends):
                    yield
            finally:
                self._read = None
                self.put_aside = {}

    def once(self, read: Callable[[Self], Result]) -> Result:
        """What `read` makes of this database; within one `reading` block, what it made the first time."""
        if self._read is None:
            return read(self)
        if read not in self._read:
            self._read[read] = read(self)
        return cast("Result", self._read[read])

    @abstractmethod
    def read_only(self) -> AbstractContextManager[None]:
        """Within the block, let the server refuse every change by this session.

        Ends what `limit_statements` said, too.
        """

    @abstractmethod
    def limit_statements(self, seconds: float) -> None:
        """From now on, within `read_only`, end a statement of this session that takes longer."""

    @abstractmethod
    def is_time_limit(self, error: Exception) -> bool:
        """Was a statement ended because it took longer than `limit_statements` allows?"""

    @property
    @abstractmethod
    def misfits(self) -> Misfits:
        """What this server makes of values whose column gets another type."""

    def nearly_full(self, part: float) -> list[FillingKey]:
        """Columns whose next automatic value is beyond this part of what they can hold."""
        return []

    @abstractmethod
    def orphans(self) -> list[Orphan]:
        """Rows that violate a foreign key although the server did not refuse them."""

    @contextmanager
    def many_groups(self) -> Iterator[None]:
        """Within the block, let GROUP BY expect about as many groups as there are rows."""
        yield

    def orphan_listing(self, table: str) -> str:
        """The query that lists rows of a table which violate a foreign key; empty if there is none."""
        return ""

    def unfit_key(
        self, key: ColumnType, table: str, column: str, target_table: str, target_column: str
    ) -> tuple[ColumnType, ColumnType] | None:
        """The types of the two columns, if the server would refuse a foreign key between them.

        `key` is what the first would be by its migration; `table` where it is to be, empty for a new one;
        `column` is given if it is there and stays as it is.
        """
        return None

    def implicit_value(self, db_type: str) -> str | None:
        """What rows get in a new column of this type that is NOT NULL and without a default; as SQL.

        None if the server refuses to add such a column to a table with rows.
        """
        return None

    def replaces_null(self) -> bool:
        """Does a column that becomes NOT NULL get an implicit value where it was NULL, instead of failing?"""
        return False

    def lock_timeout(self, wait: timedelta) -> AbstractContextManager[None]:
        """Within the block, let a statement of this session fail that waits longer than `wait` for a lock."""
        return nullcontext()

    def is_lock_timeout(self, error: Exception) -> bool:
        """Did a statement fail, without any effect, because it waited too long for a lock?"""
        return False

    def row_lock_timeout(self, wait: timedelta) -> AbstractContextManager[None]:
        """Within the block, let a statement fail that waits longer than `wait` for a row."""
        return self.lock_timeout(wait)

    def idle_transaction_timeout(self, wait: timedelta) -> AbstractContextManager[None]:
        """Within the block, let the server end this session if its client leaves a transaction open so long.

        A client that is stopped within a transaction would hold its locks for ever.
        """
        return nullcontext()

    def is_transient(self, error: Exception) -> bool:
        """Did a transaction fail, without any effect, by what others did at that moment?"""
        return self.is_lock_timeout(error)

    def blockers(self) -> list[str]:
        """Other sessions whose open transactions may hold the locks, the oldest first; as far as visible."""
        return []

    def needs_autocommit(self, sql: str) -> bool:
        """Can no transaction hold this statement: is it refused in one, or does it commit the open one?"""
        return False

    def sets_session(self, sql: str) -> bool:
        """Is this statement's effect on the session only, so that a new session has to have it again?"""
        return bool(SESSION_SETTING.match(sql))

    def name_of_unique(self, table: str, column: str) -> str:
        """What the server calls the constraint of a new column that is UNIQUE, if it is to find a name."""
        return column

    def gentle_forms(self, sql: str) -> list[str]:
        """Statements that together do what a CREATE INDEX or ADD CONSTRAINT does, and block others less.

        Only the statement itself where no such form is known.
        """
        return [sql]

    def send_gently(self, sql: str, send: Callable[[str], None]) -> None:
        """Send a statement, with what else its gentle form asks of the session; the plain form where the
        server refuses the gentle one.
        """
        send(sql)

    def rows_against(self, sql: str) -> str:
        """Rows that break the constraint which the gentle form `sql` adds unseen, in words; or nothing."""
        return ""

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

    def text(self, sql: str, params: Sequence[Any]) -> str:
        """A statement with its values in it, to be read and pasted."""
        with self.connection.cursor() as cursor:
            found: str = cursor.mogrify(sql, params)
            return found

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

    def content(self, *, checksums: bool) -> Content:
        """Exact number, and checksum if asked for, of the rows of every table, by name.

        Of one state only within `snapshot`.
        """
        measure = self.summed if checksums else self.counted
        return {table: measure(table) for table in self.dumped_tables()}

    def dumped_tables(self) -> list[str]:
        """Names of the tables whose rows a dump holds."""
        return self.connection.introspection.table_names()

    def counted(self, table: str) -> TableContent:
        [(rows,)] = self.ask(f"SELECT COUNT(*) FROM {self.quote(table)}")
        return TableContent(rows=int(rows))

    @abstractmethod
    def summed(self, table: str) -> TableContent:
        """The rows of a table and their checksum, by one query."""

    def row_counts(self) -> dict[str, int]:
        """Exact number of rows of every table, by name."""
        return {table: found.rows for table, found in self.content(checksums=False).items()}
