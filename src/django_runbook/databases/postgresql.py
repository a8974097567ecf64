"""PostgreSQL: pg_dump and psql; a restore is one transaction."""

from __future__ import annotations

import io
import itertools
import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import timedelta
from hashlib import sha256
from typing import Any

from django.db import DatabaseError, InterfaceError, transaction
from django.utils.translation import gettext as _

from django_runbook.databases import inventories, postgresql_gentle, postgresql_keys
from django_runbook.databases.base import Database, Orphan, Server, begins_with
from django_runbook.databases.ddl_costs import Costs, PostgreSQLCosts
from django_runbook.databases.dumpers import FolderDumper, TableContent
from django_runbook.databases.gauges import Gauge, PostgreSQLGauge
from django_runbook.databases.json_texts import PostgreSQLTexts
from django_runbook.databases.key_types import ColumnType
from django_runbook.databases.keys import KEYS_OF_POSTGRESQL, FillingKey, filling_keys
from django_runbook.databases.misfits import Misfits, PostgreSQLMisfits
from django_runbook.databases.pg_dump import PgDump
from django_runbook.databases.pg_dump_folder import PgDumpFolder
from django_runbook.databases.pooling import NoSecondConnection, sign_of_pooling
from django_runbook.databases.postgresql_copy import copy_rows
from django_runbook.databases.postgresql_scratch import create_scratch, refused_scratch
from django_runbook.databases.postgresql_surroundings import PostgreSQLSurroundings
from django_runbook.databases.sizes import ON_POSTGRESQL, ROWS_ON_POSTGRESQL, TableSize
from django_runbook.databases.vitals import Vitals, postgresql_lag, postgresql_vitals
from django_runbook.exceptions import LockHeld, Refused
from django_runbook.programs import read_program

CLIENT_CHECK = "500ms"
"""How soon the server cancels a statement whose client was killed; otherwise it runs to its end."""

INCOMING = "runbook_incoming"
"""Table of rows that are to replace others, as long as that takes."""

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


AUTOCOMMIT = begins_with(
    r"VACUUM|REINDEX|ALTER\s+SYSTEM|(?:CREATE|DROP)\s+(?:DATABASE|TABLESPACE)"
    r"|(?:CREATE|DROP|ALTER)\b[^']*\bCONCURRENTLY"
)
CONCURRENT_INDEX = re.compile(
    r"\bCREATE\s+(?:UNIQUE\s+)?INDEX\s+CONCURRENTLY\s+(?:IF\s+NOT\s+EXISTS\s+)?"
    r'(?:"(?P<quoted>(?:[^"]|"")+)"|(?P<bare>[^\s"]+))',
    re.IGNORECASE,
)
RESTRICT = re.compile(r"^\\(?:un)?restrict .*\n", re.MULTILINE)
"""Recent versions of pg_dump write a key there that is another one each time."""
SUMMING = (
    "DateStyle = 'ISO, YMD'",
    "IntervalStyle = 'postgres'",
    "TimeZone = 'UTC'",
    "bytea_output = 'hex'",
    "extra_float_digits = 1",
)
"""What decides how a row is written as text."""
QUERY_CANCELED = "57014"
"""SQLSTATE of a statement that was ended by statement_timeout, or by an administrator."""

LOCK_TIMEOUTS = {"55P03", "40P01"}
"""lock_not_available; deadlock_detected."""
SERIALIZATION_FAILURE = "40001"
BLOCKERS = (
    "SELECT pid, EXTRACT(EPOCH FROM now() - xact_start)::int, state, LEFT(query, 80) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL"
    " ORDER BY xact_start LIMIT 3"
)
INVALID_INDEX = (
    "SELECT 1 FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid"
    " WHERE relname = %s AND NOT indisvalid AND pg_table_is_visible(pg_class.oid)"
)
NAME_TAKEN = (
    "SELECT 1 FROM pg_class WHERE relname = %s AND relnamespace = current_schema()::regnamespace"
    " UNION ALL SELECT 1 FROM pg_constraint"
    " WHERE conname = %s AND connamespace = current_schema()::regnamespace"
)
PARTITIONED = "SELECT 1 FROM pg_class WHERE relname = %s AND relkind = 'p' AND pg_table_is_visible(oid)"
_BUILT_ON = re.compile(
    r'(?:CREATE (?:UNIQUE )?INDEX "(?:[^"]|"")+" ON|ALTER TABLE) "(?P<table>(?:[^"]|"")+)"'
)
BUILT_INDEX = re.compile(r'CREATE (?:UNIQUE )?INDEX (?P<name>"(?:[^"]|"")+")')
ADDED_CONSTRAINT = re.compile(
    r'ALTER TABLE (?P<table>"(?:[^"]|"")+") ADD CONSTRAINT (?P<name>"(?:[^"]|"")+") (?:UNIQUE|FOREIGN KEY)\b'
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

DUMPED_TABLES = (
    "SELECT CASE WHEN pg_table_is_visible(c.oid) THEN c.relname ELSE n.nspname || '.' || c.relname END"
    " FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace"
    " WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition"
    " AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_(toast|temp)'"
    " AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.classid = 'pg_class'::regclass"
    " AND d.objid = c.oid AND d.deptype = 'e') ORDER BY 1"
)
"""In any schema; of partitions only the table that they are parts of; not what an extension has made."""
LONGEST_STEM = 40
"""Bytes of a database's name that a scratch database's name can begin with: the server cuts off at 63."""
LARGE_OBJECTS = "pg_largeobject"
SUM_OF_LARGE_OBJECTS = (
    "SELECT count(*), COALESCE(SUM(hashtextextended(oid || encode(sha256(lo_get(oid)), 'hex'), 0)::numeric),"
    " 0)::text FROM pg_largeobject_metadata"
)


class PostgreSQLDatabase(Database):
    rolls_back_ddl = True
    has_exclusions = True
    has_autocommit_ddl = True
    sharing_sessions = 2
    snapshot_statements = (
        "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY",
        "SET LOCAL idle_in_transaction_session_timeout = 0",
    )

    def insert_rows(
        self, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], suffix: str
    ) -> None:
        """By COPY; rows that replace others by way of a table of their own."""
        quote = self.connection.ops.quote_name
        names = ", ".join(map(quote, columns))
        with self.connection.cursor() as cursor:
            if not suffix:
                copy_rows(cursor, quote(table), names, rows)
                return
            cursor.execute(
                f"CREATE TEMPORARY TABLE {INCOMING} ON COMMIT DROP AS "
                f"SELECT {names} FROM {quote(table)} WITH NO DATA"
            )
            copy_rows(cursor, INCOMING, names, rows)
            cursor.execute(f"INSERT INTO {quote(table)} ({names}) SELECT {names} FROM {INCOMING} {suffix}")
            cursor.execute(f"DROP TABLE {INCOMING}")

    @property
    def json_texts(self) -> PostgreSQLTexts:
        return PostgreSQLTexts()

    def sharing_statements(self) -> Sequence[str]:
        name = self.ask("SELECT pg_export_snapshot()")[0][0]
        return (
            "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY",
            f"SET TRANSACTION SNAPSHOT '{name}'",
            "SET LOCAL idle_in_transaction_session_timeout = 0",
        )

    @property
    def dumper(self) -> PgDump:
        return PgDump(self)

    @property
    def surroundings(self) -> PostgreSQLSurroundings:
        return PostgreSQLSurroundings(self)

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

    def vitals(self) -> Vitals:
        return postgresql_vitals(self)

    def lag(self) -> float:
        return postgresql_lag(self)

    def is_transient(self, error: Exception) -> bool:
        return getattr(error.__cause__, "sqlstate", None) in {*LOCK_TIMEOUTS, SERIALIZATION_FAILURE}

    def gauge(self) -> Gauge:
        return PostgreSQLGauge(self)

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

    def lock_timeout(self, wait: timedelta) -> AbstractContextManager[None]:
        return self._timeout("lock_timeout", wait)

    def idle_transaction_timeout(self, wait: timedelta) -> AbstractContextManager[None]:
        return self._timeout("idle_in_transaction_session_timeout", wait)

    @contextmanager
    def _timeout(self, name: str, wait: timedelta) -> Iterator[None]:
        """Within the block, let the setting `name` of this session be `wait`."""
        [(before,)] = self.ask("SELECT current_setting(%s)", [name])
        set_it = "SELECT set_config(%s, %s, false)"
        self.ask(set_it, [name, f"{round(wait.total_seconds() * 1000)}ms"])
        with self.put_back(set_it, [name, before]):
            yield

    def is_lock_timeout(self, error: Exception) -> bool:
        return getattr(error.__cause__, "sqlstate", None) in LOCK_TIMEOUTS

    @contextmanager
    def read_only(self) -> Iterator[None]:
        names = ("default_transaction_read_only", "statement_timeout")
        before = {name: self.ask("SELECT current_setting(%s)", [name])[0][0] for name in names}
        set_both = "SELECT " + ", ".join(["set_config(%s, %s, false)"] * 2)
        with self.put_back(set_both, [word for pair in before.items() for word in pair]):
            self.put_aside = before
            self.ask("SELECT set_config(%s, 'on', false)", [names[0]])
            yield

    def limit_statements(self, seconds: float) -> None:
        self.ask("SELECT set_config('statement_timeout', %s, false)", [f"{max(1, round(seconds * 1000))}ms"])

    def is_time_limit(self, error: Exception) -> bool:
        return getattr(error.__cause__, "sqlstate", None) == QUERY_CANCELED

    def blockers(self) -> list[str]:
        return [f"session {row[0]} ({row[1]} s, {row[2]}): {row[3]}" for row in self.ask(BLOCKERS)]

    def exact(self, column: str) -> str:
        return f'({column})::text COLLATE "C"'

    def definition(self, table: str) -> str:
        """Columns, constraints and indexes; `table` may also name an index.

        An index that is not valid counts: one that was to be dropped is still there.
        """
        return json.dumps([self.ask(query, [table]) for query in DEFINITION], default=str)

    def name_of_unique(self, table: str, column: str) -> str:
        for number in itertools.count():
            name = postgresql_gentle.name_of_unique(table, column, number)
            if not self.ask(NAME_TAKEN, [name, name]):
                return name
        raise AssertionError("there are more numbers than names")

    def gentle_forms(self, sql: str) -> list[str]:
        """Of a partitioned table the server knows none."""
        found = _BUILT_ON.match(sql)
        if found and self.ask(PARTITIONED, [found["table"].replace('""', '"')]):
            return [sql]
        return postgresql_gentle.gentle_forms(sql)

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
        """Of an index that was created concurrently, and of what builds by itself, whatever was `before`;
        all else its operation takes back.
        """
        if added := ADDED_CONSTRAINT.match(sql):
            return self.without_constraint(added["table"], added["name"])
        if built := BUILT_INDEX.match(sql):
            there = self.ask("SELECT 1 WHERE to_regclass(%s) IS NOT NULL", [built["name"]])
            return [f"DROP INDEX {built['name']}"] if there else []
        found = CONCURRENT_INDEX.search(sql)
        name = self.index_name(found) if found else ""
        if not name or not before or any(name in index_names(text) for text in before.values()):
            return None
        there = self.ask("SELECT 1 FROM pg_class WHERE relname = %s AND pg_table_is_visible(oid)", [name])
        return [f"DROP INDEX CONCURRENTLY {self.quote(name)}"] if there else []

    def without_constraint(self, table: str, name: str) -> list[str]:
        """What drops a constraint, if it is there; both names quoted."""
        there = self.ask(
            "SELECT 1 FROM pg_constraint WHERE conrelid = to_regclass(%s) AND conname = %s",
            [table, name[1:-1].replace('""', '"')],
        )
        return [f"ALTER TABLE {table} DROP CONSTRAINT {name}"] if there else []

    def size(self) -> int:
        [(size,)] = self.ask(
            "SELECT COALESCE(SUM(pg_table_size(c.oid)), 0)"
            " FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace"
            " WHERE c.relkind IN ('r', 'm') AND n.nspname NOT IN ('pg_catalog', 'information_schema')"
            " OR c.oid = 'pg_catalog.pg_largeobject'::regclass"
        )
        return int(size)

    def estimated_rows(self, table: str) -> int:
        """Before its first ANALYZE the server says -1."""
        return max(0, int((self.ask(ROWS_ON_POSTGRESQL, [self.quote(table)]) or [(0,)])[0][0]))

    def table_sizes(self) -> dict[str, TableSize]:
        return {name: TableSize(bytes=int(size)) for name, size in self.ask(ON_POSTGRESQL)}

    def ddl_costs(self) -> Costs:
        return PostgreSQLCosts(self.connection, self.server())

    def missing_programs(self) -> list[str]:
        return [program for program in ("pg_dump", "psql") if shutil.which(program) is None]

    def unfit_key(
        self, key: ColumnType, table: str, column: str, target_table: str, target_column: str
    ) -> tuple[ColumnType, ColumnType] | None:
        found = self.ask(postgresql_keys.COLUMN, [self.quote(target_table), target_column])
        target = ColumnType(name=str(found[0][0])) if found else key
        return None if postgresql_keys.are_connectable(key, target) else (key, target)

    @property
    def misfits(self) -> Misfits:
        return PostgreSQLMisfits(self)

    def nearly_full(self, part: float) -> list[FillingKey]:
        return filling_keys(self.ask(KEYS_OF_POSTGRESQL), part)

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

    def dumped_tables(self) -> list[str]:
        """With their schema where the search path does not lead to it; and the large objects, if any."""
        names = [str(name) for (name,) in self.ask(DUMPED_TABLES)]
        has_large = self.ask("SELECT 1 FROM pg_largeobject_metadata LIMIT 1")
        return [*names, LARGE_OBJECTS] if has_large else names

    def counted(self, table: str) -> TableContent:
        if table == LARGE_OBJECTS:
            return self.summed(table)
        [(rows,)] = self.ask(f"SELECT COUNT(*) FROM {self.path(table)}")
        return TableContent(rows=int(rows))

    def path(self, table: str) -> str:
        """A name that `dumped_tables` gives, quoted; its dot is a table's own if there is no such schema."""
        schema, dot, name = table.partition(".")
        found = dot and self.ask(
            "SELECT 1 FROM pg_tables WHERE schemaname = %s AND tablename = %s", [schema, name]
        )
        return f"{self.quote(schema)}.{self.quote(name)}" if found else self.quote(table)

    def summed(self, table: str) -> TableContent:
        """Of rows as text, in the forms that `SUMMING` fixes."""
        with transaction.atomic(using=self.alias):
            for setting in SUMMING:
                self.ask_nothing(f"SET LOCAL {setting}")
            of_rows = (
                "SELECT count(*), COALESCE(SUM(hashtextextended(t::text, 0)::numeric), 0)::text"
                f" FROM {self.path(table)} AS t"
            )
            [(rows, checksum)] = self.ask(SUM_OF_LARGE_OBJECTS if table == LARGE_OBJECTS else of_rows)
        return TableContent(rows=int(rows), checksum=checksum)

    def schema(self) -> str:
        text = io.BytesIO()
        argv, env = self.client("pg_dump", "--schema-only", *(f"--role={role}" for role in self.roles()))
        read_program(argv, text, env=env, secrets=self.secrets)
        return RESTRICT.sub("", text.getvalue().decode()) + self.inventory()

    def inventory(self) -> str:
        """A line for each thing that the server itself lists."""
        return "\n".join(map(str, self.ask(inventories.OF_POSTGRESQL)))

    def scratch_name(self, token: str) -> str:
        return super().scratch_name(token) if len(self.name.encode()) <= LONGEST_STEM else f"runbook_{token}"

    def refuses_scratch(self) -> str:
        return refused_scratch(self)

    def create_scratch(self, name: str, like: Database) -> dict[str, Any]:
        return create_scratch(self, name, like)

    def drop_scratch(self, name: str) -> None:
        self.ask_nothing(f"DROP DATABASE IF EXISTS {self.quote(name)} WITH (FORCE)")

    @property
    def folder_dumpers(self) -> Sequence[FolderDumper]:
        return (PgDumpFolder(self),)

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


def index_names(definition: str) -> list[str]:
    """Of a table as `definition` tells it."""
    _columns, _constraints, indexes = json.loads(definition)
    return [name.rpartition(".")[2].strip('"').replace('""', '"') for name, _text in indexes]


def unnamed(what: list[Any]) -> list[str]:
    """What a constraint or an index is, without the name that CREATE INDEX has in it."""
    return [re.sub(r"^(CREATE (?:UNIQUE )?INDEX) .*? ON ", r"\1 ON ", str(item)) for item in what]
