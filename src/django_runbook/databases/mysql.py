"""MySQL and MariaDB: the client programs of either server, whichever are installed."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import IO, Any

from django.db import DatabaseError, InterfaceError
from django.utils.translation import gettext as _

from django_runbook.databases.base import Database, Orphan, Server, begins_with
from django_runbook.databases.mysql_tables import Unalterable, read_table, strange_lines, way_back
from django_runbook.exceptions import BackupFailed, LockHeld, ProgramFailed, RestoreFailed
from django_runbook.programs import TAIL, chunks_of, feed_program, read_program

TRAILER = b"-- Dump completed"
"""Both dump programs write it last; a dump without it was cut off, whatever the exit code says."""

LOCK_WAIT_SECONDS = 30
"""How long a restore waits for the metadata locks of other sessions; the server's default is a day."""

LONGEST_LOCK_NAME = 64

NO_SUCH_TABLE = 1146
LOCK_TIMEOUTS = {1205, 1213}
"""Lock wait timeout exceeded; deadlock found."""
BLOCKERS = (
    "SELECT p.ID, TIMESTAMPDIFF(SECOND, t.trx_started, NOW()), LEFT(p.INFO, 80), p.COMMAND"
    " FROM information_schema.INNODB_TRX t JOIN information_schema.PROCESSLIST p"
    " ON p.ID = t.trx_mysql_thread_id WHERE p.ID <> CONNECTION_ID() ORDER BY t.trx_started LIMIT 3"
)

WITHOUT_COMMIT = begins_with("INSERT|UPDATE|DELETE|REPLACE|SELECT|WITH|SET|CALL|DO|LOAD")
"""Every other statement commits the transaction in which it runs."""

OTHER_DEFINITIONS = (
    "SELECT TRIGGER_NAME, EVENT_OBJECT_TABLE, ACTION_TIMING, EVENT_MANIPULATION, ACTION_STATEMENT"
    " FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = DATABASE() ORDER BY TRIGGER_NAME",
    "SELECT TABLE_NAME, TABLE_TYPE FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE()"
    " ORDER BY TABLE_NAME",
    "SELECT ROUTINE_NAME, ROUTINE_DEFINITION FROM information_schema.ROUTINES"
    " WHERE ROUTINE_SCHEMA = DATABASE() ORDER BY ROUTINE_NAME, ROUTINE_TYPE",
    "SELECT EVENT_NAME, EVENT_DEFINITION, STATUS FROM information_schema.EVENTS"
    " WHERE EVENT_SCHEMA = DATABASE() ORDER BY EVENT_NAME",
)

SAFE_ENGINE = "InnoDB"
"""The one engine of both servers with transactions, foreign keys, and DDL that is atomic in a crash."""
DEFAULT_ENGINES = "SHOW VARIABLES WHERE Variable_name IN ('default_storage_engine', 'enforce_storage_engine')"
"""The second is MariaDB's, and goes before the first."""

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

MARIADB_TLS = {
    "DISABLED": ["--skip-ssl"],
    "PREFERRED": [],
    "REQUIRED": ["--ssl"],
    "VERIFY_CA": ["--ssl", "--ssl-verify-server-cert"],
    "VERIFY_IDENTITY": ["--ssl", "--ssl-verify-server-cert"],
}
"""MariaDB's programs' words for the driver's `ssl_mode`; MySQL's programs take it as it is."""


class MySQLDatabase(Database):
    rolls_back_ddl = False
    has_autocommit_ddl = True
    atomic_ddl_since = (
        Server(product="MySQL", version=(8, 0)),
        Server(product="MariaDB", version=(10, 6, 1)),
    )
    """MySQL's manual, "Atomic Data Definition Statement Support"; MariaDB's, "Atomic DDL"."""
    dump_suffix = ".sql"
    streams_rows = False
    snapshot_statements = (
        "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
        "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
    )

    @property
    def name(self) -> str:
        options = self.connection.settings_dict["OPTIONS"]
        name = options.get("database") or options.get("db") or self.connection.settings_dict["NAME"]
        return str(name or self.ask("SELECT DATABASE()")[0][0])

    @property
    def secrets(self) -> list[str]:
        options = self.connection.settings_dict["OPTIONS"]
        return [*super().secrets, *(str(options[key]) for key in ("password", "passwd") if options.get(key))]

    @contextmanager
    def take_lock(self) -> Iterator[None]:
        [(taken,)] = self.ask("SELECT GET_LOCK(%s, 0)", [self.lock_name])
        if taken != 1:
            raise LockHeld(
                _("%(holder)s runs a runbook on database '%(alias)s'.")
                % {"holder": self.lock_holder() or _("another session"), "alias": self.alias},
                _("Wait for it to end, or look with `manage.py runbook status`."),
            )
        session = self.connection.connection
        try:
            yield
        finally:
            if self.connection.connection is session:
                with suppress(DatabaseError, InterfaceError):  # a dead session has let go of it already
                    self.ask("SELECT RELEASE_LOCK(%s)", [self.lock_name])

    def lock_holder(self) -> str | None:
        [(session,)] = self.ask("SELECT IS_USED_LOCK(%s)", [self.lock_name])
        return None if session is None else f"session {session}"

    @property
    def lock_name(self) -> str:
        """Names this database too, because the server has one set of lock names for all its databases."""
        name = f"django_runbook:{self.name}"
        if len(name) <= LONGEST_LOCK_NAME:
            return name
        return f"django_runbook:{sha256(self.name.encode()).hexdigest()[:32]}"

    def server(self) -> Server:
        product = "MariaDB" if self.is_mariadb else "MySQL"
        return Server(product=product, version=self.mysql.mysql_version)

    @property
    def is_mariadb(self) -> bool:
        return bool(self.mysql.mysql_is_mariadb)

    @property
    def mysql(self) -> Any:
        """The connection, with what Django's MySQL backend adds to it."""
        return self.connection

    @contextmanager
    def lock_timeout(self, wait: timedelta) -> Iterator[None]:
        """Metadata locks only, which an ALTER waits for; row locks keep the server's own timeout."""
        [(before,)] = self.ask("SELECT @@SESSION.lock_wait_timeout")
        self.ask_nothing("SET SESSION lock_wait_timeout = %s", [max(1, round(wait.total_seconds()))])
        with self.put_back("SET SESSION lock_wait_timeout = %s", [before]):
            yield

    def is_lock_timeout(self, error: Exception) -> bool:
        return bool(error.args) and error.args[0] in LOCK_TIMEOUTS

    def blockers(self) -> list[str]:
        with suppress(DatabaseError):  # without the PROCESS privilege nothing can be told
            return [f"session {row[0]} ({row[1]} s): {row[2] or row[3]}" for row in self.ask(BLOCKERS)]
        return []

    def needs_autocommit(self, sql: str) -> bool:
        return not WITHOUT_COMMIT.match(sql)

    def exact(self, column: str) -> str:
        return f"CAST({column} AS BINARY)"

    def definition(self, table: str) -> str:
        try:
            [(_name, text, *_rest)] = self.ask(f"SHOW CREATE TABLE {self.quote(table)}")
        except DatabaseError as error:
            if error.args and error.args[0] == NO_SUCH_TABLE:
                return ""
            raise
        return re.sub(r"\bAUTO_INCREMENT=\d+ ?", "", str(text))

    def shape(self, definition: str) -> str:
        try:
            return "\n".join(read_table(definition).lines)
        except Unalterable:
            return definition

    def way_back(self, sql: str, before: Mapping[str, str]) -> list[str] | None:
        if not before or not self.needs_autocommit(sql):
            return None
        now = {name: self.definition(name) for name in before}
        try:
            return self.back_in_time(sql, before, now)
        except Unalterable:
            return None

    def back_in_time(self, sql: str, before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
        """A renamed table gets its name back alone; what else it needs is seen under that name."""
        gone = [name for name in before if before[name] and not now[name]]
        new = [name for name in before if now[name] and not before[name]]
        if gone and new:
            return [f"RENAME TABLE {self.quote(new[0])} TO {self.quote(gone[0])}"]
        alterations = [
            statement
            for name in before
            if before[name] and now[name]
            for statement in way_back(name, now[name], before[name], sql)
        ]
        return [
            *(f"DROP TABLE {self.quote(name)}" for name in new),
            *(before[name] for name in gone),
            *alterations,
        ]

    def strange(self, sql: str, before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
        with suppress(Unalterable):
            return [line for name in before for line in strange_lines(sql, name, before[name], now[name])]
        return []

    def other_definitions(self) -> list[Any]:
        return [self.ask(query) for query in OTHER_DEFINITIONS]

    def sessions_of(self, run_id: str) -> list[str]:
        rows = self.ask(
            "SELECT ID FROM information_schema.PROCESSLIST WHERE ID <> CONNECTION_ID() AND INFO LIKE %s",
            [f"%{self.mark(run_id)}%"],
        )
        return [str(session) for (session,) in rows]

    def unsafe_tables(self) -> dict[str, str]:
        rows = self.ask(
            "SELECT TABLE_NAME, ENGINE FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE()"
            " AND ENGINE <> %s AND TABLE_TYPE NOT IN ('VIEW', 'SYSTEM VIEW', 'TEMPORARY', 'SEQUENCE')"
            " ORDER BY TABLE_NAME",
            [SAFE_ENGINE],
        )
        return {str(table): str(engine) for table, engine in rows}

    def unsafe_default_engine(self) -> str:
        engines = dict(self.ask(DEFAULT_ENGINES))
        engine = str(engines.get("enforce_storage_engine") or engines["default_storage_engine"])
        return "" if engine.lower() == SAFE_ENGINE.lower() else engine

    def make_table_safe(self, table: str) -> str:
        return f"ALTER TABLE {self.quote(table)} ENGINE={SAFE_ENGINE};"

    def size(self) -> int:
        [(size,)] = self.ask(
            "SELECT COALESCE(SUM(DATA_LENGTH), 0) FROM information_schema.TABLES"
            " WHERE TABLE_SCHEMA = DATABASE()"
        )
        return int(size)

    def missing_programs(self) -> list[str]:
        candidates = (self.dump_programs, self.load_programs)
        return [programs[0] for programs in candidates if not any(map(shutil.which, programs))]

    @property
    def dump_programs(self) -> tuple[str, str]:
        """The server's own program first; the other's is a fallback."""
        return ("mariadb-dump", "mysqldump") if self.is_mariadb else ("mysqldump", "mariadb-dump")

    @property
    def load_programs(self) -> tuple[str, str]:
        return ("mariadb", "mysql") if self.is_mariadb else ("mysql", "mariadb")

    def dump(self, target: IO[bytes]) -> dict[str, int]:
        """Dump one transaction's view of the database.

        No other session can share that view, so rows are counted before and after, and a table whose count
        has changed meanwhile is left out.
        """
        self.refuse_open_transaction()
        program = installed(self.dump_programs)
        try:
            before = self.row_counts()
            target.write(self.alter_database())
            with self.client(program, *self.dump_options(program)) as (argv, env):
                tail = read_program(argv, target, env=env, secrets=self.secrets)
            after = self.row_counts()
        except (ProgramFailed, DatabaseError) as exc:
            raise self.backup_failed(str(exc)) from exc
        if TRAILER not in tail:
            raise self.backup_failed(
                _("%(program)s ended with success, but its output is cut off.") % {"program": program}
            )
        return {table: rows for table, rows in before.items() if after.get(table) == rows}

    def dump_options(self, program: str) -> list[str]:
        versioned = self.ask(
            "SELECT COUNT(*) FROM information_schema.TABLES"
            " WHERE TABLE_SCHEMA = DATABASE() AND TABLE_TYPE = 'SYSTEM VERSIONED'"
        )
        history = ["--dump-history"] if versioned[0][0] else []
        oracle = [] if speaks_mariadb(program) else ORACLE_DUMP_OPTIONS
        return [*DUMP_OPTIONS, *history, *oracle]

    def alter_database(self) -> bytes:
        """A statement with the database's own character set, which the dump programs leave out.

        Not from @@character_set_database: that is what it was when this session first used the database.
        """
        [(charset, collation)] = self.ask(
            "SELECT DEFAULT_CHARACTER_SET_NAME, DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA"
            " WHERE SCHEMA_NAME = DATABASE()"
        )
        return f"ALTER DATABASE CHARACTER SET = {charset} COLLATE = {collation};\n".encode()

    def backup_failed(self, why: str) -> BackupFailed:
        return BackupFailed(
            _("The backup of database '%(alias)s' failed: %(why)s") % {"alias": self.alias, "why": why},
            _("The database was not changed."),
        )

    def restore(self, source: IO[bytes]) -> None:
        """Drop every object, then load the dump, with one client session.

        Object by object and not DROP DATABASE: the database stays there to connect to and to try again on,
        this session keeps it as its default, and no right outside of it is needed. All tables go in one
        statement, which takes all its locks before it drops the first: blocked, it has changed nothing.
        """
        self.refuse_open_transaction()
        before = self.objects()
        try:
            self.load(self.restore_script(before, source))
        except ProgramFailed as exc:
            raise self.restore_failed(str(exc), untouched=self.objects() == before) from exc

    def load(self, script: Iterator[bytes]) -> None:
        """Feed SQL to the client program.

        --binary-mode turns off its own commands in the text, such as those that start a shell, and with them
        the sandbox line of MariaDB's dumps, which older clients stumble over.
        """
        program = installed(self.load_programs)
        options = MARIADB_LOAD_OPTIONS if speaks_mariadb(program) else ()
        with self.client(program, *LOAD_OPTIONS, *options) as (argv, env):
            feed_program(argv, script, env=env, secrets=self.secrets)

    def restore_script(self, objects: dict[str, list[str]], source: IO[bytes]) -> Iterator[bytes]:
        yield f"SET SESSION lock_wait_timeout = {LOCK_WAIT_SECONDS}, foreign_key_checks = 0;\n".encode()
        yield self.drop_statements(objects).encode()
        tail = b""
        for chunk in chunks_of(source):
            tail = (tail + chunk)[-TAIL:]
            yield chunk
        if TRAILER not in tail:
            raise self.restore_failed(_("the dump is cut off."), untouched=False)

    def objects(self) -> dict[str, list[str]]:
        """Names of everything in the database, by the word that DROP takes; tables first."""
        rows = self.ask(
            "SELECT CASE TABLE_TYPE WHEN 'VIEW' THEN 'VIEW' WHEN 'SEQUENCE' THEN 'SEQUENCE' ELSE 'TABLE' END,"
            " TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE()"
            " UNION ALL SELECT ROUTINE_TYPE, ROUTINE_NAME FROM information_schema.ROUTINES"
            " WHERE ROUTINE_SCHEMA = DATABASE()"
            " UNION ALL SELECT 'EVENT', EVENT_NAME FROM information_schema.EVENTS"
            " WHERE EVENT_SCHEMA = DATABASE()"
        )
        objects = defaultdict(list)
        for kind, name in sorted(rows, key=lambda row: (row[0] != "TABLE", *row)):
            objects[kind].append(name)
        return dict(objects)

    def drop_statements(self, objects: dict[str, list[str]]) -> str:
        quote = self.quote
        tables = ", ".join(map(quote, objects.get("TABLE", [])))
        drop_tables = f"DROP TABLE IF EXISTS {tables};\n" if tables else ""
        return drop_tables + "".join(
            f"DROP {kind} IF EXISTS {quote(name)};\n"
            for kind, names in objects.items()
            if kind != "TABLE"
            for name in names
        )

    def restore_failed(self, why: str, *, untouched: bool) -> RestoreFailed:
        hint = (
            _("The database is as it was before the restore.")
            if untouched
            else _("The database is incomplete now. Mend the cause, then restore again.")
        )
        return RestoreFailed(
            _("The restore of database '%(alias)s' failed: %(why)s") % {"alias": self.alias, "why": why},
            hint,
        )

    def orphans(self) -> list[Orphan]:
        """Rows that came in under foreign_key_checks=0."""
        found = [self.orphans_of(*key) for key in self.foreign_keys()]
        return [orphan for orphan in found if orphan.rows]

    def foreign_keys(self) -> list[tuple[str, str, str, list[tuple[str, str]]]]:
        """Every foreign key: table, referenced database and table, and pairs of columns."""
        rows = self.ask(
            "SELECT TABLE_NAME, CONSTRAINT_NAME, REFERENCED_TABLE_SCHEMA, REFERENCED_TABLE_NAME,"
            " COLUMN_NAME, REFERENCED_COLUMN_NAME FROM information_schema.KEY_COLUMN_USAGE"
            " WHERE TABLE_SCHEMA = DATABASE() AND REFERENCED_TABLE_NAME IS NOT NULL"
            " ORDER BY TABLE_NAME, CONSTRAINT_NAME, ORDINAL_POSITION"
        )
        keys: dict[tuple[Any, ...], list[tuple[str, str]]] = defaultdict(list)
        for *key, column, referenced_column in rows:
            keys[tuple(key)].append((column, referenced_column))
        return [(table, schema, parent, pairs) for (table, _name, schema, parent), pairs in keys.items()]

    def orphans_of(self, table: str, schema: str, parent: str, pairs: list[tuple[str, str]]) -> Orphan:
        quote = self.quote
        match = " AND ".join(f"c.{quote(column)} = p.{quote(target)}" for column, target in pairs)
        filled = " AND ".join(f"c.{quote(column)} IS NOT NULL" for column, _target in pairs)
        [(rows,)] = self.ask(
            f"SELECT COUNT(*) FROM {quote(table)} AS c"
            f" LEFT JOIN {quote(schema)}.{quote(parent)} AS p ON {match}"
            f" WHERE {filled} AND p.{quote(pairs[0][1])} IS NULL"
        )
        columns = ", ".join(column for column, _target in pairs)
        return Orphan(table=table, column=columns, referenced_table=parent, rows=int(rows))

    @contextmanager
    def client(self, program: str, *options: str) -> Iterator[tuple[list[str], dict[str, str]]]:
        """Make a client program's argument list and environment; the password is in the environment."""
        settings = self.connection.settings_dict
        given = {key: value for key, value in settings["OPTIONS"].items() if key not in {"database", "db"}}
        with without_database(given.get("read_default_file")) as defaults_file:
            if defaults_file:
                given["read_default_file"] = defaults_file
            elsewhere = {**settings, "NAME": "", "OPTIONS": given}
            args, env = self.connection.client.settings_to_cmd_args_env(elsewhere, [])
            yield [program, *args[1:], *options, *self.left_out(program), self.name], dict(env or {})

    def left_out(self, program: str) -> list[str]:
        """Connection OPTIONS that the driver takes and Django's own client does not pass on."""
        options = self.connection.settings_dict["OPTIONS"]
        found = [f"--socket={options['unix_socket']}"] if options.get("unix_socket") else []
        mode = options.get("ssl_mode")
        if mode is None:
            return found
        return [*found, *(MARIADB_TLS.get(mode, []) if speaks_mariadb(program) else [f"--ssl-mode={mode}"])]


def installed(programs: tuple[str, str]) -> str:
    """Choose the first program that is on PATH; if none is, the one whose absence is to be reported."""
    return next(filter(shutil.which, programs), programs[0])


def speaks_mariadb(program: str) -> bool:
    """Is it MariaDB's program, be it under MySQL's name (a symbolic link, as Debian installs them)?"""
    path = shutil.which(program)
    return "mariadb" in program or (path is not None and "mariadb" in Path(path).resolve().name)


@contextmanager
def without_database(defaults_file: str | None) -> Iterator[str | None]:
    """Copy an option file without the `database` that Django's manual puts there: dump programs refuse it."""
    if not defaults_file:
        yield None
        return
    text = re.sub(r"(?m)^\s*database\s*=.*$", "", Path(defaults_file).read_text())
    with tempfile.NamedTemporaryFile("w", suffix=".cnf") as copy:  # made with mode 0600
        copy.write(text)
        copy.flush()
        yield copy.name
