"""pg_dump and psql: a dump of a snapshot that is ours, and a restore that is one transaction."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING
from uuid import uuid4

from django.db import DatabaseError, transaction
from django.utils.translation import gettext as _

from django_runbook.databases.dumpers import Content, StreamDumper
from django_runbook.exceptions import ProgramFailed, RestoreFailed
from django_runbook.programs import GRACE, TAIL, chunks_of, feed_program, read_program

if TYPE_CHECKING:
    from django_runbook.databases.postgresql import PostgreSQLDatabase

LOCK_TIMEOUT = "30s"
"""How long a dump or restore waits for the locks of other sessions."""
TRAILER = b"-- PostgreSQL database dump complete"
"""pg_dump writes it last; a dump without it was cut off, whatever the exit code says."""

END_SESSION = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s"
LOOK_EVERY = 0.05

DROP_EVERYTHING = Path(__file__).with_name("drop_everything.sql")

FIRST_OBJECT = re.compile(rb"^-- Name: .*; Type: (?!SCHEMA;|EXTENSION;|COMMENT;)", re.MULTILINE)

EXTENSION_COMMENT = re.compile(rb"^COMMENT ON EXTENSION .*;$", re.MULTILINE)

LARGE_OBJECTS_BEGIN = re.compile(rb"(\n-- Data for Name: [^\n]*; Type: BLOBS; [^\n]*\n--\n\n)BEGIN;\n")

LARGE_OBJECTS_END = re.compile(rb"(\n)COMMIT;\n")

LONGEST_MARK = 1024


class PgDump(StreamDumper):
    name = "pg_dump"
    suffix = ".sql"
    database: PostgreSQLDatabase

    def dump(self, target: IO[bytes], *, checksums: bool) -> Content:
        """Dump a snapshot that this session exports, so that the rows counted are the rows dumped."""
        with self.exported_snapshot(checksums=checksums) as (snapshot, content):
            tail = self.read_dump(target, snapshot)
        if TRAILER not in tail:
            raise self.backup_failed(_("pg_dump ended with success, but its output is cut off."))
        return content

    @contextmanager
    def exported_snapshot(self, *, checksums: bool) -> Iterator[tuple[str, Content]]:
        """A snapshot by the name that other sessions take it by, as long as the block lasts; what is in it.

        Raise BackupFailed, with the program's own words, if a program or statement in the block fails.
        """
        self.database.refuse_open_transaction()
        try:
            with transaction.atomic(using=self.database.alias):
                yield self.export_snapshot(), self.database.content(checksums=checksums)
        except (ProgramFailed, DatabaseError) as exc:
            raise self.backup_failed(exc) from exc

    def export_snapshot(self) -> str:
        """Begin a snapshot of the database and name it for other sessions; it ends with the transaction."""
        with self.database.connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
            cursor.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
            cursor.execute("SELECT pg_export_snapshot()")
            return str(cursor.fetchone()[0])

    def read_dump(self, target: IO[bytes], snapshot: str) -> bytes:
        argv, env = self.database.client("pg_dump", "--format=plain", *dump_options(self.database, snapshot))
        return read_program(argv, target, env=env, secrets=self.database.secrets)

    def restore(self, source: IO[bytes]) -> None:
        """Drop everything and load the dump in one transaction; whatever fails, nothing has happened."""
        self.database.refuse_open_transaction()
        argv, env = self.database.client(
            "psql", "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--file=-"
        )
        session = f"runbook restore {uuid4().hex[:12]}"
        env = {**env, "PGAPPNAME": session}
        try:
            with self._session_ended(session):
                feed_program(argv, self.restore_script(source), env=env, secrets=self.database.secrets)
        except ProgramFailed as exc:
            raise self.restore_failed(str(exc)) from exc

    @contextmanager
    def _session_ended(self, session: str) -> Iterator[None]:
        """If the block fails, end the session of that application_name: its client is gone, which the server
        notices only at the end of a statement, and until then it holds its locks."""
        try:
            yield
        except BaseException:
            deadline = time.monotonic() + GRACE.total_seconds()
            with suppress(DatabaseError):
                while self.database.ask(END_SESSION, [session]) and time.monotonic() < deadline:
                    time.sleep(LOOK_EVERY)
            raise

    def restore_script(self, source: IO[bytes]) -> Iterator[bytes]:
        """Write the transaction's statements out, and COMMIT only after a whole dump.

        psql's own --single-transaction commits at the end of its input, which is also what it sees when this
        process is killed half way.
        """
        yield b"BEGIN;\nSET statement_timeout = 0;\nSET idle_in_transaction_session_timeout = 0;\n"
        yield f"SET lock_timeout = '{LOCK_TIMEOUT}';\nSET client_min_messages = warning;\n".encode()
        for role in self.database.roles():
            yield f"SET ROLE {self.database.quote(role)};\n".encode()
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
            _("The restore of database '%(alias)s' failed: %(why)s")
            % {"alias": self.database.alias, "why": why},
            _("The database is as it was before the restore."),
        )


def dump_options(database: PostgreSQLDatabase, snapshot: str) -> Iterator[str]:
    """Of any format."""
    yield "--no-subscriptions"
    yield f"--lock-wait-timeout={LOCK_TIMEOUT}"
    yield f"--snapshot={snapshot}"
    for role in database.roles():
        yield f"--role={role}"


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
