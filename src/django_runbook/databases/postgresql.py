"""PostgreSQL: pg_dump and psql; a restore is one transaction."""

from __future__ import annotations

import itertools
import json
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import IO, Any

from django.db import DatabaseError, InterfaceError, transaction
from django.utils.translation import gettext as _

from django_runbook.databases.base import Database, Orphan, Server, begins_with
from django_runbook.databases.pooling import NoSecondConnection, sign_of_pooling
from django_runbook.exceptions import BackupFailed, LockHeld, ProgramFailed, Refused, RestoreFailed
from django_runbook.programs import TAIL, chunks_of, feed_program, read_program

TRAILER = b"-- PostgreSQL database dump complete"
"""pg_dump writes it last; a dump without it was cut off, whatever the exit code says."""

LOCK_TIMEOUT = "30s"
"""How long a dump or restore waits for the locks of other sessions."""

CLIENT_CHECK = "500ms"
"""How soon the server cancels a statement whose client was killed; otherwise it runs to its end."""

PASSED_ON = {
    "channel_binding": "PGCHANNELBINDING",
    "connect_timeout": "PGCONNECT_TIMEOUT",
    "gssencmode": "PGGSSENCMODE",
    "hostaddr": "PGHOSTADDR",
    "options": "PGOPTIONS",
    "sslcrl": "PGSSLCRL",
    "target_session_attrs": "PGTARGETSESSIONATTRS",
}
"""OPTIONS that the driver takes, that Django's own client does not pass on, and how libpq hears of them."""

DROP_EVERYTHING = Path(__file__).with_name("drop_everything.sql")

FIRST_OBJECT = re.compile(rb"^-- Name: .*; Type: (?!SCHEMA;|EXTENSION;|COMMENT;)", re.MULTILINE)
EXTENSION_COMMENT = re.compile(rb"^COMMENT ON EXTENSION .*;$", re.MULTILINE)

LARGE_OBJECTS_BEGIN = re.compile(rb"(\n-- Data for Name: [^\n]*; Type: BLOBS; [^\n]*\n--\n\n)BEGIN;\n")
LARGE_OBJECTS_END = re.compile(rb"(\n)COMMIT;\n")
LONGEST_MARK = 1024


AUTOCOMMIT = begins_with(
    r"VACUUM|REINDEX|ALTER\s+SYSTEM|(?:CREATE|DROP)\s+(?:DATABASE|TABLESPACE)"
    r"|(?:CREATE|DROP|ALTER)\b[^']*\bCONCURRENTLY"
)
CONCURRENT_INDEX = re.compile(
    r"\bCREATE\s+(?:UNIQUE\s+)?INDEX\s+CONCURRENTLY\s+(?:IF\s+NOT\s+EXISTS\s+)?"
    r'(?:"(?P<quoted>(?:[^"]|"")+)"|(?P<bare>[^\s"]+))',
    re.IGNORECASE,
)
LOCK_TIMEOUTS = {"55P03", "40P01"}
"""lock_not_available; deadlock_detected."""
BLOCKERS = (
    "SELECT pid, EXTRACT(EPOCH FROM now() - xact_start)::int, state, LEFT(query, 80) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL"
    " ORDER BY xact_start LIMIT 3"
)
INVALID_INDEX = (
    "SELECT 1 FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid"
    " WHERE relname = %s AND NOT indisvalid AND pg_table_is_visible(pg_class.oid)"
)
DEFINITION = (
    "SELECT attname, format_type(atttypid, atttypmod), attnotnull FROM pg_attribute JOIN pg_class ON"
    " pg_class.oid = attrelid WHERE relname = %s AND pg_table_is_visible(pg_class.oid) AND attnum > 0"
    " AND NOT attisdropped ORDER BY attnum",
    "SELECT conname, pg_get_constraintdef(pg_constraint.oid), convalidated FROM pg_constraint JOIN pg_class"
    " ON pg_class.oid = conrelid WHERE relname = %s AND pg_table_is_visible(pg_class.oid) ORDER BY conname",
    "SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index JOIN pg_class"
    " ON pg_class.oid IN (indrelid, indexrelid) WHERE relname = %s AND pg_table_is_visible(pg_class.oid)"
    " ORDER BY 1",
)


class PostgreSQLDatabase(Database):
    rolls_back_ddl = True
    has_autocommit_ddl = True
    dump_suffix = ".sql"
    snapshot_statements = (
        "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY",
        "SET LOCAL idle_in_transaction_session_timeout = 0",
    )

    def refuse_pooling(self) -> None:
        self.refuse_open_transaction()
        try:
            sign = sign_of_pooling(self.connection)
        except NoSecondConnection as error:
            raise Refused(
                _(
                    "Whether a connection pooler shares the sessions of database '%(alias)s' cannot be told, "
                    "because a second connection failed: %(error)s"
                )
                % {"alias": self.alias, "error": error},
                _("Make room for a second connection, which the backup needs too, and try again."),
            ) from error
        if sign:
            raise Refused(
                _(
                    "A connection pooler in transaction or statement mode stands before database "
                    "'%(alias)s': %(sign)s. The run's lock, and all else that a session holds, would not "
                    "last from one statement to the next."
                )
                % {"alias": self.alias, "sign": sign},
                _(
                    "Connect directly, or through a pool in session mode (PgBouncer: pool_mode = session): "
                    "change HOST and PORT in DATABASES['%(alias)s'] for this command."
                )
                % {"alias": self.alias},
            )

    @contextmanager
    def take_lock(self) -> Iterator[None]:
        [(taken,)] = self.ask("SELECT pg_try_advisory_lock(%s)", [self.lock_key])
        if not taken:
            raise LockHeld(
                _("%(holder)s runs a runbook on database '%(alias)s'.")
                % {"holder": self.lock_holder() or _("another session"), "alias": self.alias},
                _("Wait for it to end, or look with `manage.py runbook status`."),
            )
        session = self.connection.connection
        with suppress(DatabaseError):  # a server on a system that cannot tell when a client is gone
            self.ask("SELECT set_config('client_connection_check_interval', %s, false)", [CLIENT_CHECK])
        try:
            yield
        finally:
            if self.connection.connection is session:
                with suppress(DatabaseError, InterfaceError):  # a dead session has let go of it already
                    self.ask("SELECT pg_advisory_unlock(%s)", [self.lock_key])
                    self.ask("RESET client_connection_check_interval")

    def lock_holder(self) -> str | None:
        key = self.lock_key % 2**64
        holders = self.ask(
            "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            " AND classid::bigint = %s AND objid::bigint = %s",
            [key >> 32, key & 0xFFFFFFFF],
        )
        return f"session {holders[0][0]}" if holders else None

    @property
    def lock_key(self) -> int:
        """The same signed 64 bits in every version of this package; the lock is the database's own."""
        return int.from_bytes(sha256(b"django_runbook").digest()[:8], "big", signed=True)

    def server(self) -> Server:
        [(number,)] = self.ask("SELECT current_setting('server_version_num')::int")
        return Server(product="PostgreSQL", version=divmod(number, 10000))

    def needs_autocommit(self, sql: str) -> bool:
        return bool(AUTOCOMMIT.match(sql))

    @contextmanager
    def lock_timeout(self, wait: timedelta) -> Iterator[None]:
        [(before,)] = self.ask("SELECT current_setting('lock_timeout')")
        self.ask("SELECT set_config('lock_timeout', %s, false)", [f"{round(wait.total_seconds() * 1000)}ms"])
        with self.put_back("SELECT set_config('lock_timeout', %s, false)", [before]):
            yield

    def is_lock_timeout(self, error: Exception) -> bool:
        return getattr(error.__cause__, "sqlstate", None) in LOCK_TIMEOUTS

    def blockers(self) -> list[str]:
        return [f"session {row[0]} ({row[1]} s, {row[2]}): {row[3]}" for row in self.ask(BLOCKERS)]

    def exact(self, column: str) -> str:
        return f'({column})::text COLLATE "C"'

    def definition(self, table: str) -> str:
        """Columns, constraints and indexes; `table` may also name an index.

        An index that is not valid counts: one that was to be dropped is still there.
        """
        return json.dumps([self.ask(query, [table]) for query in DEFINITION], default=str)

    def sessions_of(self, run_id: str) -> list[str]:
        rows = self.ask(
            "SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND state = 'active'"
            " AND query LIKE %s",
            [f"%{self.mark(run_id)}%"],
        )
        return [str(session) for (session,) in rows]

    def drop_invalid_index(self, sql: str) -> None:
        """A CREATE INDEX CONCURRENTLY that was cut off leaves an index that is never used."""
        found = CONCURRENT_INDEX.search(sql)
        if not found:
            return
        name = self.index_name(found)
        if self.ask(INVALID_INDEX, [name]):
            self.ask_nothing(f"DROP INDEX {self.quote(name)}")

    def index_name(self, found: re.Match[str]) -> str:
        return found["quoted"].replace('""', '"') if found["quoted"] else found["bare"].lower()

    def shape(self, definition: str) -> str:
        """Without the order of columns: one that was dropped and comes back comes back as the last."""
        return json.dumps([sorted(map(str, rows)) for rows in json.loads(definition)])

    def restore_details(self, before: Mapping[str, str]) -> None:
        """Names of constraints and of indexes: Django makes others for the same when it goes backwards."""
        with transaction.atomic(using=self.alias):
            for table, text in before.items():
                if text == self.definition(table):
                    continue
                _columns, constraints, indexes = json.loads(text)
                for name, wanted in self.renamed(constraints, json.loads(self.definition(table))[1]):
                    self.ask_nothing(
                        f"ALTER TABLE {self.quote(table)}"
                        f" RENAME CONSTRAINT {self.quote(name)} TO {self.quote(wanted)}"
                    )
                for name, wanted in self.renamed(indexes, json.loads(self.definition(table))[2]):
                    self.ask_nothing(f"ALTER INDEX {name} RENAME TO {wanted}")

    def renamed(self, before: list[list[Any]], now: list[list[Any]]) -> list[tuple[str, str]]:
        """Pairs of names, as it is and as it was, of what is otherwise the same."""
        missing = [row for row in before if row not in now]
        extra = [row for row in now if row not in before]
        pairs = []
        for name, *what in extra:
            twin = next((row for row in missing if unnamed(row[1:]) == unnamed(what)), None)
            if twin:
                missing.remove(twin)
                pairs.append((name, twin[0]))
        return pairs

    def way_back(self, sql: str, before: Mapping[str, str]) -> list[str] | None:
        """Of an index that was created concurrently; all else its operation takes back."""
        found = CONCURRENT_INDEX.search(sql)
        name = self.index_name(found) if found else ""
        if not name or not before or any(name in text for text in before.values()):
            return None
        there = self.ask("SELECT 1 FROM pg_class WHERE relname = %s AND pg_table_is_visible(oid)", [name])
        return [f"DROP INDEX CONCURRENTLY {self.quote(name)}"] if there else []

    def size(self) -> int:
        [(size,)] = self.ask(
            "SELECT COALESCE(SUM(pg_table_size(c.oid)), 0)"
            " FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace"
            " WHERE c.relkind IN ('r', 'm') AND n.nspname NOT IN ('pg_catalog', 'information_schema')"
            " OR c.oid = 'pg_catalog.pg_largeobject'::regclass"
        )
        return int(size)

    def missing_programs(self) -> list[str]:
        return [program for program in ("pg_dump", "psql") if shutil.which(program) is None]

    def dump(self, target: IO[bytes]) -> dict[str, int]:
        """Dump a snapshot that this session exports, so that the rows counted are the rows dumped."""
        self.refuse_open_transaction()
        try:
            with transaction.atomic(using=self.alias):
                snapshot = self.export_snapshot()
                rows = self.row_counts()
                tail = self.read_dump(target, snapshot)
        except (ProgramFailed, DatabaseError) as exc:
            raise self.backup_failed(str(exc)) from exc
        if TRAILER not in tail:
            raise self.backup_failed(_("pg_dump ended with success, but its output is cut off."))
        return rows

    def export_snapshot(self) -> str:
        """Begin a snapshot of the database and name it for other sessions; it ends with the transaction."""
        with self.connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
            cursor.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
            cursor.execute("SELECT pg_export_snapshot()")
            return str(cursor.fetchone()[0])

    def read_dump(self, target: IO[bytes], snapshot: str) -> bytes:
        argv, env = self.client(
            "pg_dump",
            "--format=plain",
            "--no-subscriptions",
            f"--lock-wait-timeout={LOCK_TIMEOUT}",
            f"--snapshot={snapshot}",
            *(f"--role={role}" for role in self.roles()),
        )
        return read_program(argv, target, env=env, secrets=self.secrets)

    def backup_failed(self, why: str) -> BackupFailed:
        return BackupFailed(
            _("The backup of database '%(alias)s' failed: %(why)s") % {"alias": self.alias, "why": why},
            _("The database was not changed."),
        )

    def restore(self, source: IO[bytes]) -> None:
        """Drop everything and load the dump in one transaction; whatever fails, nothing has happened."""
        self.refuse_open_transaction()
        argv, env = self.client("psql", "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--file=-")
        try:
            feed_program(argv, self.restore_script(source), env=env, secrets=self.secrets)
        except ProgramFailed as exc:
            raise self.restore_failed(str(exc)) from exc

    def restore_script(self, source: IO[bytes]) -> Iterator[bytes]:
        """Write the transaction's statements out, and COMMIT only after a whole dump.

        psql's own --single-transaction commits at the end of its input, which is also what it sees when this
        process is killed half way.
        """
        yield b"BEGIN;\nSET statement_timeout = 0;\nSET idle_in_transaction_session_timeout = 0;\n"
        yield f"SET lock_timeout = '{LOCK_TIMEOUT}';\nSET client_min_messages = warning;\n".encode()
        for role in self.roles():
            yield f"SET ROLE {self.quote(role)};\n".encode()
        yield DROP_EVERYTHING.read_bytes()
        tail = b""
        for chunk in without_commits(without_extension_comments(chunks_of(source))):
            tail = (tail + chunk)[-TAIL:]
            yield chunk
        if TRAILER not in tail:
            raise self.restore_failed(_("the dump is cut off."))
        yield b"\nCOMMIT;\n"

    def restore_failed(self, why: str) -> RestoreFailed:
        return RestoreFailed(
            _("The restore of database '%(alias)s' failed: %(why)s") % {"alias": self.alias, "why": why},
            _("The database is as it was before the restore."),
        )

    def orphans(self) -> list[Orphan]:
        """Foreign keys that were added NOT VALID and never validated."""
        constraints = self.ask(
            "SELECT conrelid::regclass::text, confrelid::regclass::text,"
            " (SELECT string_agg(a.attname, ', ' ORDER BY k.place)"
            "  FROM unnest(conkey) WITH ORDINALITY AS k (attnum, place)"
            "  JOIN pg_attribute AS a ON a.attrelid = conrelid AND a.attnum = k.attnum)"
            " FROM pg_constraint WHERE contype = 'f' AND NOT convalidated ORDER BY 1, 3"
        )
        return [
            Orphan(table=table, column=column, referenced_table=referenced_table, rows=0)
            for table, referenced_table, column in constraints
        ]

    def roles(self) -> list[str]:
        """The role that the connection assumes, if any."""
        role = self.connection.settings_dict["OPTIONS"].get("assume_role")
        return [str(role)] if role else []

    def client(self, program: str, *options: str) -> tuple[list[str], dict[str, str]]:
        """Make a client program's argument list and environment; the password is in the environment."""
        settings = self.connection.settings_dict
        args, env = self.connection.client.settings_to_cmd_args_env(settings, ["--no-password", *options])
        passed_on = {
            name: str(settings["OPTIONS"][option])
            for option, name in PASSED_ON.items()
            if option in settings["OPTIONS"]
        }
        return [program, *args[1:]], {**passed_on, **(env or {})}


def unnamed(what: list[Any]) -> list[str]:
    """What a constraint or an index is, without the name that CREATE INDEX has in it."""
    return [re.sub(r"^(CREATE (?:UNIQUE )?INDEX) .*? ON ", r"\1 ON ", str(item)) for item in what]


def without_extension_comments(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Leave out COMMENT ON EXTENSION, which only the extension's owner may run.

    pg_dump writes them at the top, with the extensions; nothing after the first other object is looked at.
    """
    head = next(chunks, b"")
    first = FIRST_OBJECT.search(head)
    end = first.start() if first else len(head)
    yield EXTENSION_COMMENT.sub(b"", head[:end]) + head[end:]
    yield from chunks


def without_commits(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Leave out the BEGIN and COMMIT that pg_dump writes around large objects' data.

    That COMMIT would end the restore's own transaction in its middle. Between the two are only lines with
    hexadecimal data.
    """
    marks = itertools.cycle((LARGE_OBJECTS_BEGIN, LARGE_OBJECTS_END))
    mark = next(marks)
    held = b""
    for chunk in chunks:
        held += chunk
        while found := mark.search(held):
            yield held[: found.end(1)]
            held = held[found.end() :]
            mark = next(marks)
        yield held[:-LONGEST_MARK]
        held = held[-LONGEST_MARK:]
    yield held
