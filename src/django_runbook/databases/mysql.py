"""MySQL and MariaDB: the client programs of either server, whichever are installed."""

from __future__ import annotations

import io
import itertools
import re
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from datetime import timedelta
from hashlib import sha256
from typing import Any

from django.db import DatabaseError, InterfaceError
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from django_runbook.databases import inventories, mysql_gentle, mysql_keys
from django_runbook.databases.base import Database, Orphan, Server, begins_with
from django_runbook.databases.ddl_costs import Costs, MariaDBCosts, MySQLCosts
from django_runbook.databases.dumpers import Content, FolderDumper, TableContent
from django_runbook.databases.gauges import Gauge, MySQLGauge
from django_runbook.databases.implicit_values import implicit_value, replaces_null
from django_runbook.databases.json_texts import MySQLTexts
from django_runbook.databases.key_types import ColumnType
from django_runbook.databases.keys import KEYS_OF_MYSQL, FillingKey, filling_keys
from django_runbook.databases.misfits import Misfits, MySQLMisfits
from django_runbook.databases.mydumper import Mydumper
from django_runbook.databases.mysql_client import MARIADB_TLS, installed, speaks_mariadb, without_database
from django_runbook.databases.mysql_granted import granted
from django_runbook.databases.mysql_restores import MARK, began
from django_runbook.databases.mysql_schema import with_events_enabled, without_counters
from django_runbook.databases.mysql_scratch import DROP_WAIT, create_scratch, refused_scratch
from django_runbook.databases.mysql_sums import is_versioned, summing_query
from django_runbook.databases.mysql_surroundings import MySQLSurroundings
from django_runbook.databases.mysql_tables import Unalterable, read_table, strange_lines, way_back
from django_runbook.databases.mysqldump import MySQLDump
from django_runbook.databases.sizes import ON_MYSQL, ROWS_ON_MYSQL, TableSize
from django_runbook.databases.vitals import Vitals, mysql_lag, mysql_vitals
from django_runbook.exceptions import LockHeld, Refused
from django_runbook.programs import read_program

LONGEST_LOCK_NAME = 64

NO_SUCH_TABLE = 1146
TIME_LIMITS = (1969, 3024)
"""ER_STATEMENT_TIMEOUT of MariaDB, ER_QUERY_TIMEOUT of MySQL."""

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

SELECT = re.compile(r"\bSELECT\b")
KEY_NAMES = (
    "SELECT DISTINCT INDEX_NAME FROM information_schema.STATISTICS"
    " WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = %s"
)
SHOWN_ORPHANS = 5
"""Values that point at nothing, of which an error tells."""


class MySQLDatabase(Database):
    rolls_back_ddl = False
    has_autocommit_ddl = True
    atomic_ddl_since = (
        Server(product="MySQL", version=(8, 0)),
        Server(product="MariaDB", version=(10, 6, 1)),
    )
    """MySQL's manual, "Atomic Data Definition Statement Support"; MariaDB's, "Atomic DDL"."""
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
    def json_texts(self) -> MySQLTexts:
        return MySQLTexts(has_uuid=self.connection.features.has_native_uuid_field)

    @property
    def dumper(self) -> MySQLDump:
        return MySQLDump(self)

    @property
    def surroundings(self) -> MySQLSurroundings:
        return MySQLSurroundings(self)

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

    def vitals(self) -> Vitals:
        return mysql_vitals(self)

    def lag(self) -> float:
        return mysql_lag(self, MySQLSurroundings(self).replica_status)

    def gauge(self) -> Gauge:
        return MySQLGauge(self)

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

    @contextmanager
    def row_lock_timeout(self, wait: timedelta) -> Iterator[None]:
        [(before,)] = self.ask("SELECT @@SESSION.innodb_lock_wait_timeout")
        self.ask_nothing("SET SESSION innodb_lock_wait_timeout = %s", [max(1, round(wait.total_seconds()))])
        with self.put_back("SET SESSION innodb_lock_wait_timeout = %s", [before]):
            yield

    @contextmanager
    def idle_transaction_timeout(self, wait: timedelta) -> Iterator[None]:
        """MySQL has only a timeout of idle sessions, whether in a transaction or not."""
        name = "idle_transaction_timeout" if self.is_mariadb else "wait_timeout"
        [(before,)] = self.ask(f"SELECT @@SESSION.{name}")
        self.ask_nothing(f"SET SESSION {name} = %s", [max(1, round(wait.total_seconds()))])
        with self.put_back(f"SET SESSION {name} = %s", [before]):
            yield

    def is_lock_timeout(self, error: Exception) -> bool:
        return bool(error.args) and error.args[0] in LOCK_TIMEOUTS

    @contextmanager
    def read_only(self) -> Iterator[None]:
        """MariaDB and MySQL have two names for the same; MySQL's time limit is of SELECT only."""
        read_only = "tx_read_only" if self.is_mariadb else "transaction_read_only"
        [before] = self.ask(f"SELECT @@SESSION.{read_only}, @@SESSION.{self._time_limit}")
        put_back = f"SET SESSION {read_only} = %s, SESSION {self._time_limit} = %s"
        with self.put_back(put_back, before):
            self.put_aside = {"read_only": before[0], "time_limit": before[1]}
            self.ask_nothing("SET SESSION TRANSACTION READ ONLY")
            yield

    def limit_statements(self, seconds: float) -> None:
        limit = max(seconds, 0.001) if self.is_mariadb else max(1, round(seconds * 1000))
        self.ask_nothing(f"SET SESSION {self._time_limit} = %s", [limit])

    def is_time_limit(self, error: Exception) -> bool:
        return bool(error.args) and error.args[0] in TIME_LIMITS

    @property
    def _time_limit(self) -> str:
        return "max_statement_time" if self.is_mariadb else "max_execution_time"

    def blockers(self) -> list[str]:
        with suppress(DatabaseError):  # without the PROCESS privilege nothing can be told
            return [f"session {row[0]} ({row[1]} s): {row[2] or row[3]}" for row in self.ask(BLOCKERS)]
        return []

    def needs_autocommit(self, sql: str) -> bool:
        return not WITHOUT_COMMIT.match(sql)

    def name_of_unique(self, table: str, column: str) -> str:
        """The column's, or that with a number: make_unique_key_name() of both servers."""
        taken = {str(name).lower() for (name,) in self.ask(KEY_NAMES, [table])} | {"primary"}
        names = itertools.chain([column], (f"{column}_{number}" for number in itertools.count(2)))
        return next(name for name in names if name.lower() not in taken)

    def gentle_forms(self, sql: str) -> list[str]:
        return [mysql_gentle.gentle_form(sql)]

    def send_gently(self, sql: str, send: Callable[[str], None]) -> None:
        """A foreign key is added in place only by a session that does not check them."""
        plain = mysql_gentle.plain_form(sql)
        if plain == sql:
            send(sql)
            return
        try:
            with self.foreign_keys_unchecked() if mysql_gentle.added_key(sql) else nullcontext():
                send(sql)
        except DatabaseError as error:
            if not error.args or error.args[0] not in mysql_gentle.REFUSED:
                raise
            send(plain)

    @contextmanager
    def foreign_keys_unchecked(self) -> Iterator[None]:
        [(before,)] = self.ask("SELECT @@SESSION.foreign_key_checks")
        self.ask_nothing("SET SESSION foreign_key_checks = 0")
        with self.put_back("SET SESSION foreign_key_checks = %s", [before]):
            yield

    def rows_against(self, sql: str) -> str:
        key = mysql_gentle.added_key(sql)
        if key is None:
            return ""
        values = self.ask(
            f"SELECT c.{key.column}, COUNT(*) FROM {key.table} AS c"
            f" LEFT JOIN {key.parent} AS p ON c.{key.column} = p.{key.target}"
            f" WHERE c.{key.column} IS NOT NULL AND p.{key.target} IS NULL"
            f" GROUP BY c.{key.column} ORDER BY c.{key.column} LIMIT {SHOWN_ORPHANS}"
        )
        return "; ".join(
            ngettext(
                "%(rows)d row of %(table)s with %(column)s = %(value)s, which %(parent)s does not have",
                "%(rows)d rows of %(table)s with %(column)s = %(value)s, which %(parent)s does not have",
                rows,
            )
            % {
                "rows": rows,
                "table": key.table.strip("`"),
                "column": key.column.strip("`"),
                "value": value,
                "parent": key.parent.strip("`"),
            }
            for value, rows in values
        )

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

    def grants(self) -> list[str]:
        return granted(self)

    def estimated_rows(self, table: str) -> int:
        return int((self.ask(ROWS_ON_MYSQL, [table]) or [(0,)])[0][0] or 0)

    def table_sizes(self) -> dict[str, TableSize]:
        return {name: TableSize(bytes=int(size)) for name, size in self.ask(ON_MYSQL)}

    def ddl_costs(self) -> Costs:
        costs = MariaDBCosts if self.is_mariadb else MySQLCosts
        return costs(self.connection, self.server())

    def unfit_key(
        self, key: ColumnType, table: str, column: str, target_table: str, target_column: str
    ) -> tuple[ColumnType, ColumnType] | None:
        target = mysql_keys.described(self.ask, target_table, target_column)
        there = mysql_keys.described(self.ask, table, column) if column else None
        key = there or mysql_keys.with_collation(self.ask, key, table)
        return (key, target) if target and not mysql_keys.are_connectable(key, target) else None

    @contextmanager
    def many_groups(self) -> Iterator[None]:
        """Sort, instead of keeping groups in a table that outgrows memory: in a seventh of the time."""

        def sort(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
            return execute(SELECT.sub("SELECT SQL_BIG_RESULT", sql), params, many, context)

        with self.connection.execute_wrapper(sort):
            yield

    def implicit_value(self, db_type: str) -> str | None:
        return implicit_value(db_type, self.sql_modes())

    def replaces_null(self) -> bool:
        return replaces_null(self.sql_modes())

    def sql_modes(self) -> list[str]:
        [(modes,)] = self.ask("SELECT @@sql_mode")
        return str(modes).split(",")

    @property
    def misfits(self) -> Misfits:
        return MySQLMisfits(self)

    def nearly_full(self, part: float) -> list[FillingKey]:
        return filling_keys(self.ask(KEYS_OF_MYSQL), part)

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

    def content(self, *, checksums: bool) -> Content:
        return self.measured(self.dumped_tables(), checksums=checksums)

    def measured(self, tables: list[str], *, checksums: bool) -> Content:
        """The content of these tables."""
        measure = self.summed if checksums else self.counted
        return {table: measure(table) for table in tables}

    def dumped_tables(self) -> list[str]:
        """Every table that has rows of its own, with system versioning or without."""
        rows = self.ask(
            "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE()"
            " AND TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED') ORDER BY TABLE_NAME"
        )
        return [str(table) for (table,) in rows]

    def counted(self, table: str) -> TableContent:
        history = " FOR SYSTEM_TIME ALL" if is_versioned(self.ask, table) else ""
        [(rows,)] = self.ask(f"SELECT COUNT(*) FROM {self.quote(table)}{history}")
        return TableContent(rows=int(rows))

    def summed(self, table: str) -> TableContent:
        [(rows, checksum)] = self.ask(summing_query(self.ask, self.quote, table))
        return TableContent(rows=int(rows), checksum=str(int(checksum)))

    @property
    def folder_dumpers(self) -> Sequence[FolderDumper]:
        return (Mydumper(self),)

    def schema(self) -> str:
        """Without the numbers that counters have reached: they go on outside of transactions.

        An event that a scratch database keeps from running counts as enabled, which it was.
        """
        text = io.BytesIO()
        program = installed(self.dump_programs)
        options = [option for option in self.dumper.dump_options(program) if option != "--comments"]
        with self.client(program, *options, "--no-data", "--skip-comments") as (argv, env):
            read_program(argv, text, env=env, secrets=self.secrets)
        dumped = without_counters((self.dumper.alter_database() + text.getvalue()).decode())
        return with_events_enabled(dumped) + self.inventory()

    def inventory(self) -> str:
        """A line for each thing that the server itself lists."""
        return "\n".join(map(str, self.ask(inventories.OF_MYSQL)))

    def refuses_scratch(self) -> str:
        return refused_scratch(self)

    def create_scratch(self, name: str, like: Database) -> dict[str, Any]:
        if against := self.refuses_scratch():
            raise Refused(
                _("No scratch database can be made for database '%(alias)s': %(why)s")
                % {"alias": self.alias, "why": against},
                _("Nothing was created."),
            )
        return create_scratch(self, name, like)

    def drop_scratch(self, name: str) -> None:
        """A session of a program that was killed may still load into it, and would keep its tables locked."""
        for (session,) in self.ask("SELECT ID FROM information_schema.PROCESSLIST WHERE DB = %s", [name]):
            with suppress(DatabaseError):  # it has ended meanwhile
                self.ask_nothing(f"KILL {session}")
        with self.lock_timeout(DROP_WAIT):
            self.ask_nothing(f"DROP DATABASE IF EXISTS {self.quote(name)}")

    def cut_off_restore(self) -> str:
        return began(self)

    def charset_and_collation(self) -> tuple[str, str]:
        """This database's own defaults.

        Not from @@character_set_database: that is what it was when this session first used the database.
        """
        [(charset, collation)] = self.ask(
            "SELECT DEFAULT_CHARACTER_SET_NAME, DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA"
            " WHERE SCHEMA_NAME = DATABASE()"
        )
        return str(charset), str(collation)

    def objects(self) -> dict[str, list[str]]:
        """Names of everything in the database, by the word that DROP takes; tables first.

        But for the mark of a restore that is under way.
        """
        rows = self.ask(
            "SELECT CASE TABLE_TYPE WHEN 'VIEW' THEN 'VIEW' WHEN 'SEQUENCE' THEN 'SEQUENCE' ELSE 'TABLE' END,"
            " TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME <> %s"
            " UNION ALL SELECT ROUTINE_TYPE, ROUTINE_NAME FROM information_schema.ROUTINES"
            " WHERE ROUTINE_SCHEMA = DATABASE()"
            " UNION ALL SELECT 'EVENT', EVENT_NAME FROM information_schema.EVENTS"
            " WHERE EVENT_SCHEMA = DATABASE()",
            [MARK],
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
