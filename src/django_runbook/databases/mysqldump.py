"""mariadb-dump and mysqldump, whichever is installed, and the client programs that load their dumps."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, cast

from django.db import DatabaseError
from django.utils.translation import gettext as _

from django_runbook.databases.dumpers import Content, StreamDumper
from django_runbook.databases.mysql_client import installed, speaks_mariadb
from django_runbook.databases.mysql_moments import Listening, measuring
from django_runbook.databases.mysql_restores import marked
from django_runbook.databases.mysql_schema import without_running_events
from django_runbook.exceptions import ProgramFailed, RestoreFailed
from django_runbook.programs import TAIL, chunks_of, feed_program, read_program

if TYPE_CHECKING:
    from django_runbook.databases.mysql import MySQLDatabase

TRAILER = b"-- Dump completed"
"""Both dump programs write it last; a dump without it was cut off, whatever the exit code says."""

HAS_SNAPSHOT = re.compile(rb"-- Server version.*?\n--\n-- \w", re.DOTALL)
"""Both dump programs write their header, begin their transaction, and then write of the first object."""

BROKEN_VIEW = re.compile(r"View '(?P<view>[^']+)' references invalid table")

LOCK_WAIT_SECONDS = 30
"""How long a restore waits for the metadata locks of other sessions; the server's default is a day."""

DUMP_OPTIONS = (
    "--single-transaction",
    "--quick",
    "--routines",
    "--events",
    "--triggers",
    "--hex-blob",
    "--comments",
    "--no-tablespaces",
    "--max-allowed-packet=1G",
    "--default-character-set=utf8mb4",
)

ORACLE_DUMP_OPTIONS = ("--loose-set-gtid-purged=OFF", "--loose-column-statistics=0")
"""For MySQL's own mysqldump: no statement that needs SUPER, no table that MariaDB does not have."""

LOAD_OPTIONS = ("--binary-mode", "--default-character-set=utf8mb4", "--max-allowed-packet=1G")

MARIADB_LOAD_OPTIONS = ("--loose-skip-print-query-on-error",)
"""Rows of the dump have no place in an error message; only recent versions print them, hence "loose"."""


class MySQLDump(StreamDumper):
    name = "mysqldump"
    suffix = ".sql"
    database: MySQLDatabase

    def dump(self, target: IO[bytes], *, checksums: bool) -> Content:
        """Dump one transaction's view of the database.

        No other session can share that view; see `measuring` for how the content is known all the same.
        """
        self.database.refuse_open_transaction()
        try:
            with measuring(self.database, checksums=checksums) as measures:
                target.write(self.alter_database())
                listening = Listening(target, HAS_SNAPSHOT, measures.dump_has_begun)
                self.read_dump(cast("IO[bytes]", listening))
                return measures.content()
        except (ProgramFailed, DatabaseError) as exc:
            raise self.backup_failed(told(exc)) from exc

    def read_dump(self, target: IO[bytes], *options: str) -> None:
        """Raise ProgramFailed if the program fails, BackupFailed if its output is not whole."""
        program = installed(self.database.dump_programs)
        with self.database.client(program, *self.dump_options(program), *options) as (argv, env):
            tail = read_program(argv, target, env=env, secrets=self.database.secrets)
        if TRAILER not in tail:
            raise self.backup_failed(
                _("%(program)s ended with success, but its output is cut off.") % {"program": program}
            )

    def dump_options(self, program: str) -> list[str]:
        versioned = self.database.ask(
            "SELECT COUNT(*) FROM information_schema.TABLES"
            " WHERE TABLE_SCHEMA = DATABASE() AND TABLE_TYPE = 'SYSTEM VERSIONED'"
        )
        history = ["--dump-history"] if versioned[0][0] else []
        oracle = [] if speaks_mariadb(program) else ORACLE_DUMP_OPTIONS
        return [*DUMP_OPTIONS, *history, *oracle]

    def alter_database(self) -> bytes:
        """A statement with the database's own character set, which the dump programs leave out."""
        charset, collation = self.database.charset_and_collation()
        return f"ALTER DATABASE CHARACTER SET = {charset} COLLATE = {collation};\n".encode()

    def restore(self, source: IO[bytes]) -> None:
        """Drop every object, then load the dump, with one client session.

        Object by object and not DROP DATABASE: the database stays there to connect to and to try again on,
        this session keeps it as its default, and no right outside of it is needed. All tables go in one
        statement, which takes all its locks before it drops the first: blocked, it has changed nothing.
        """
        self.database.refuse_open_transaction()
        before = self.database.objects()
        try:
            with marked(self.database):
                self.load(self.restore_script(before, source))
        except ProgramFailed as exc:
            raise self.restore_failed(str(exc), untouched=self.database.objects() == before) from exc

    def load(self, script: Iterator[bytes]) -> None:
        """Feed SQL to the client program.

        --binary-mode turns off its own commands in the text, such as those that start a shell, and with them
        the sandbox line of MariaDB's dumps, which older clients stumble over.
        """
        program = installed(self.database.load_programs)
        options = MARIADB_LOAD_OPTIONS if speaks_mariadb(program) else ()
        with self.database.client(program, *LOAD_OPTIONS, *options) as (argv, env):
            feed_program(argv, script, env=env, secrets=self.database.secrets)

    def restore_script(self, objects: dict[str, list[str]], source: IO[bytes]) -> Iterator[bytes]:
        yield f"SET SESSION lock_wait_timeout = {LOCK_WAIT_SECONDS}, foreign_key_checks = 0;\n".encode()
        yield self.database.drop_statements(objects).encode()
        yield from self.whole(source)

    def whole(self, source: IO[bytes]) -> Iterator[bytes]:
        """The dump, piece by piece. Raise RestoreFailed at its end if it is cut off."""
        chunks, tail = chunks_of(source), b""
        for chunk in without_running_events(chunks) if self.database.is_scratch else chunks:
            tail = (tail + chunk)[-TAIL:]
            yield chunk
        if TRAILER not in tail:
            raise self.restore_failed(_("the dump is cut off."), untouched=False)

    def restore_failed(self, why: str, *, untouched: bool) -> RestoreFailed:
        hint = (
            _("The database is as it was before the restore.")
            if untouched
            else _("The database is incomplete now. Mend the cause, then restore again.")
        )
        return RestoreFailed(
            _("The restore of database '%(alias)s' failed: %(why)s")
            % {"alias": self.database.alias, "why": why},
            hint,
        )


def told(error: Exception) -> str:
    """A failed dump in words: of a broken view in plain ones."""
    broken = BROKEN_VIEW.search(str(error))
    if not broken:
        return str(error)
    return _(
        "view %(view)s refers to a table, column or function that is not there or that its definer may not "
        "use; mend it or drop it."
    ) % {"view": broken["view"]}
