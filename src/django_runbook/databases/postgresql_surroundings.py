"""What surrounds a run on PostgreSQL."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from django.utils.translation import gettext as _

from django_runbook.databases.client_versions import asked, dotted
from django_runbook.databases.postgresql_rights import missing_rights
from django_runbook.databases.surroundings import (
    LONG_IDLE,
    LONG_STATEMENT,
    LONG_TRANSACTION,
    Disk,
    Needs,
    Surroundings,
    Trouble,
)

if TYPE_CHECKING:
    from django_runbook.databases.postgresql import PostgreSQLDatabase

MAINTENANCE = "autovacuum: %"
"""Gives way to an ALTER TABLE that waits for it, unless it is there to prevent wraparound."""
URGENT_MAINTENANCE = "%(to prevent wraparound)"
LONG_LAG = 10
"""Seconds."""
MUCH_RETAINED = 1024**3
"""Bytes of WAL."""
WRAPAROUND_SOON = 1_500_000_000
"""Transactions; the server refuses new ones a little after two billion."""
FEW_SESSIONS = 3
"""The run's own, that of its dump, and one for a look from outside."""

TRANSACTIONS = (
    "SELECT a.pid, a.usename, a.state, EXTRACT(EPOCH FROM clock_timestamp() - a.xact_start)::int,"
    " LEFT(a.query, 80), string_agg(DISTINCT c.relname, ', ')"
    " FROM pg_locks l JOIN pg_class c ON c.oid = l.relation JOIN pg_stat_activity a ON a.pid = l.pid"
    " WHERE l.locktype = 'relation' AND l.granted AND c.relname = ANY(%s) AND a.pid <> pg_backend_pid()"
    " AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    " AND clock_timestamp() - a.xact_start >= make_interval(secs => %s)"
    " AND (a.query NOT LIKE %s OR a.query LIKE %s)"
    " GROUP BY a.pid, a.usename, a.state, a.xact_start, a.query ORDER BY a.xact_start LIMIT 5"
)
PREPARED = (
    "SELECT p.gid, p.owner, string_agg(DISTINCT c.relname, ', ')"
    " FROM pg_prepared_xacts p JOIN pg_locks own ON own.transactionid = p.transaction AND own.pid IS NULL"
    " JOIN pg_locks l ON l.virtualtransaction = own.virtualtransaction AND l.pid IS NULL"
    " JOIN pg_class c ON c.oid = l.relation"
    " WHERE p.database = current_database() AND c.relname = ANY(%s) GROUP BY p.gid, p.owner ORDER BY p.gid"
)
REPLICAS = (
    "SELECT COALESCE(application_name, ''), state, EXTRACT(EPOCH FROM replay_lag)::int"
    " FROM pg_stat_replication WHERE state = 'catchup' OR replay_lag > make_interval(secs => %s) ORDER BY 1"
)
SLOTS = (
    "SELECT slot_name, pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::bigint FROM pg_replication_slots"
    " WHERE NOT active AND pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn) > %s ORDER BY 1"
)
PUBLISHED = (
    "SELECT pubname, string_agg(tablename, ', ' ORDER BY tablename) FROM pg_publication_tables"
    " WHERE tablename = ANY(%s) AND schemaname = ANY(current_schemas(false))"
    " GROUP BY pubname ORDER BY pubname"
)
SUBSCRIBED = (
    "SELECT subname, string_agg(c.relname, ', ' ORDER BY c.relname)"
    " FROM pg_subscription_rel r JOIN pg_class c ON c.oid = r.srrelid"
    " JOIN pg_stat_subscription s ON s.subid = r.srsubid WHERE c.relname = ANY(%s)"
    " GROUP BY subname ORDER BY 1"
)
STANDBYS_MISSING = (
    "SELECT current_setting('synchronous_standby_names')"
    " WHERE current_setting('synchronous_standby_names') <> ''"
    " AND current_setting('synchronous_commit') NOT IN ('off', 'local')"
    " AND pg_has_role('pg_read_all_stats', 'USAGE')"
    " AND NOT EXISTS (SELECT 1 FROM pg_stat_replication WHERE sync_state IN ('sync', 'quorum'))"
)
LARGEST = (
    "SELECT relname, pg_total_relation_size(oid) FROM pg_class WHERE relname = ANY(%s) AND relkind = 'r'"
    " AND pg_table_is_visible(oid) ORDER BY 2 DESC LIMIT 1"
)
INVALID_INDEXES = (
    "SELECT i.indexrelid::regclass::text, i.indrelid::regclass::text FROM pg_index i"
    " JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE NOT i.indisvalid AND c.relkind = 'i' AND n.nspname NOT LIKE 'pg\\_%' ORDER BY 1"
)
FREE_SESSIONS = (
    "SELECT current_setting('max_connections')::int - (SELECT count(*) FROM pg_stat_activity"
    " WHERE backend_type IN ('client backend', 'background worker', 'logical replication launcher'))"
    " - CASE WHEN (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN 0"
    " ELSE current_setting('superuser_reserved_connections')::int END"
)
LOST_COMMITS = {"fsync": "on", "full_page_writes": "on"}
"""Server settings, and the value with which the data survive a power cut."""
CONNECTED = (
    "SELECT pid, usename, COALESCE(host(client_addr), 'this machine'), application_name FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
    " ORDER BY pid"
)


class PostgreSQLSurroundings(Surroundings):
    database: PostgreSQLDatabase

    def connected(self) -> list[str]:
        return [
            _("session %(id)s of user '%(user)s' from %(host)s")
            % {"id": session, "user": user, "host": " ".join(filter(None, (host, program)))}
            for session, user, host, program in self.database.ask(CONNECTED)
        ]

    def programs(self) -> Iterator[Trouble]:
        """pg_dump refuses a newer server; a newer one writes what an older server may not load."""
        server = self.database.server()
        found = {name: self._version(name) for name in ("pg_dump", "psql") if shutil.which(name)}
        for program, version in found.items():
            if version and version[0] < server.version[0]:
                yield Trouble(
                    message=_("%(program)s is of version %(version)s, older than the server (%(server)s).")
                    % {"program": program, "version": dotted(version), "server": server}
                    + (" " + _("It refuses to dump a newer server.") if program == "pg_dump" else ""),
                    hint=_("Install the client programs of PostgreSQL %(version)d, first on PATH.")
                    % {"version": server.version[0]},
                    is_error=program == "pg_dump",
                    subject=program,
                )
        dump, load = found.get("pg_dump"), found.get("psql")
        if dump and dump[0] > server.version[0]:
            yield Trouble(
                message=_(
                    "pg_dump is of version %(version)s, newer than the server (%(server)s): its dump may "
                    "have settings that the server refuses when it is restored."
                )
                % {"version": dotted(dump), "server": server},
                hint=_("Install the client programs of PostgreSQL %(version)d, first on PATH.")
                % {"version": server.version[0]},
                subject="pg_dump",
            )
        elif dump and load and load < dump:
            yield Trouble(
                message=_(
                    "psql is of version %(load)s, older than pg_dump, %(dump)s: it may not understand its "
                    "dump."
                )
                % {"load": dotted(load), "dump": dotted(dump)},
                hint=_("Install both from one package."),
                subject="psql",
            )

    def _version(self, program: str) -> tuple[int, ...] | None:
        """Asked with host and port behind it: Debian's wrapper chooses the version by these."""
        argv, env = self.database.client(program)
        found = asked([program, "--version", *argv[1:]], env)
        return found[1] if found else None

    def rights(self, needs: Needs) -> Iterator[Trouble]:
        yield from missing_rights(self.database, needs)

    def disk(self, tables: Collection[str]) -> Disk | None:
        """Only those who may read all settings hear of the folder, which is what every superuser may."""
        found = self.database.ask(
            "SELECT setting FROM pg_settings WHERE name = 'data_directory'"
            " AND (inet_server_addr() IS NULL OR inet_server_addr() = inet_client_addr())"
        )
        sizes = self.database.ask(LARGEST, [list(tables)]) if found else []
        if not sizes or not _is_folder(Path(found[0][0])):
            return None
        return Disk(folder=Path(found[0][0]), table=sizes[0][0], bytes=int(sizes[0][1]))

    def transactions(self, tables: Collection[str]) -> Iterator[Trouble]:
        for gid, owner, locked in self.database.ask(PREPARED, [list(tables)]):
            yield Trouble(
                message=_(
                    "The prepared transaction '%(gid)s' of user '%(owner)s' holds locks on %(tables)s, and "
                    "keeps them until somebody ends it."
                )
                % {"gid": gid, "owner": owner, "tables": locked},
                hint=_("Ask its owner, then end it: %(statement)s")
                % {"statement": "ROLLBACK PREPARED '" + gid.replace("'", "''") + "';"},
                is_error=True,
                subject=gid,
            )
        parameters = [
            list(tables),
            LONG_TRANSACTION.total_seconds(),
            MAINTENANCE,
            URGENT_MAINTENANCE,
        ]
        for pid, user, state, seconds, query, locked in self.database.ask(TRANSACTIONS, parameters):
            yield Trouble(
                message=_(
                    "Session %(session)s of user '%(user)s' has had a transaction open for %(seconds)d s "
                    "(%(state)s), with locks on %(tables)s, and the run must wait for it: %(query)s"
                )
                % {
                    "session": pid,
                    "user": user,
                    "seconds": seconds,
                    "state": state or _("at work"),
                    "tables": locked,
                    "query": query,
                },
                hint=_("Wait until it ends, or end it: %(statement)s")
                % {"statement": f"SELECT pg_terminate_backend({pid});"},
                subject=str(pid),
            )

    def refusals(self) -> Iterator[Trouble]:
        alias = self.database.alias
        [is_standby] = self.one("SELECT pg_is_in_recovery()")
        if is_standby:
            yield Trouble(
                message=_("The server of database '%(alias)s' is a standby: it takes no changes.")
                % {"alias": alias},
                hint=_("Connect to the primary."),
                is_error=True,
            )
        name = "default_transaction_read_only"
        if not is_standby and self.own(name, f"SELECT current_setting('{name}')") == "on":
            yield Trouble(
                message=_("Transactions on database '%(alias)s' are read-only by default.")
                % {"alias": alias},
                hint=_options(alias, f"{name}=off"),
                is_error=True,
            )

    def replication(self, tables: Collection[str]) -> Iterator[Trouble]:
        if self.one("SELECT pg_is_in_recovery()")[0]:
            return
        for (names,) in self.database.ask(STANDBYS_MISSING):
            yield Trouble(
                message=_(
                    "Every commit waits for a synchronous standby (%(names)s), and none is connected: the "
                    "run would wait for ever."
                )
                % {"names": names},
                hint=_("Start the standby. `SELECT * FROM pg_stat_replication;` shows who is connected."),
                is_error=True,
            )
        for name, state, seconds in self.database.ask(REPLICAS, [LONG_LAG]):
            yield Trouble(
                message=_("Replica '%(name)s' lags behind by %(seconds)d s (%(state)s).")
                % {"name": name, "seconds": seconds or 0, "state": state},
                hint=_("Wait until it has caught up: the run's changes come on top of it."),
                subject=name,
            )
        for name, size in self.database.ask(SLOTS, [MUCH_RETAINED]):
            yield Trouble(
                message=_(
                    "Nobody reads replication slot '%(name)s', for which the server keeps %(size)d MiB of "
                    "WAL by now; what the run changes comes on top."
                )
                % {"name": name, "size": size // 1024**2},
                hint=_("If nobody needs it: %(statement)s")
                % {"statement": f"SELECT pg_drop_replication_slot('{name}');"},
                subject=name,
            )
        yield from self._logical(tables)

    def _logical(self, tables: Collection[str]) -> Iterator[Trouble]:
        for name, published in self.database.ask(PUBLISHED, [list(tables)]):
            yield Trouble(
                message=_(
                    "Publication '%(name)s' sends rows of %(tables)s to other servers, but not their changes "
                    "of schema: a subscriber stops at the first row that has a column it does not know."
                )
                % {"name": name, "tables": published},
                hint=_("Apply the migrations to the subscribers first, as far as they add something."),
                subject=name,
            )
        for name, subscribed in self.database.ask(SUBSCRIBED, [list(tables)]):
            yield Trouble(
                message=_("Subscription '%(name)s' writes to %(tables)s during the run.")
                % {"name": name, "tables": subscribed},
                hint=f"ALTER SUBSCRIPTION {self.database.quote(name)} DISABLE;",
                subject=name,
            )

    def clock(self) -> float | None:
        return float(self.one("SELECT EXTRACT(EPOCH FROM clock_timestamp())")[0])

    def settings(self) -> Iterator[Trouble]:
        alias = self.database.alias
        if not self.database.connection.settings_dict["AUTOCOMMIT"]:
            yield Trouble(
                message=_("autocommit is off in this session: statements would not be committed one by one."),
                hint=_("Set \"AUTOCOMMIT\": True in DATABASES['%(alias)s'].") % {"alias": alias},
                is_error=True,
            )
        role = self._setting("session_replication_role")
        if role != "origin":
            yield Trouble(
                message=_(
                    "session_replication_role is '%(role)s' in this session: foreign keys are not checked."
                )
                % {"role": role},
                hint=_options(alias, "session_replication_role=origin"),
                is_error=True,
            )
        isolation = self._setting("default_transaction_isolation")
        if isolation != "read committed":
            yield Trouble(
                message=_(
                    "Transactions of this session are '%(isolation)s': a backfill's batch fails if somebody "
                    "changes one of its rows meanwhile."
                )
                % {"isolation": isolation},
                hint=f"ALTER ROLE {self._role} SET default_transaction_isolation = 'read committed';",
            )
        yield from self._durability()

    def _durability(self) -> Iterator[Trouble]:
        for name, safe in LOST_COMMITS.items():
            if self._setting(name) != safe:
                yield Trouble(
                    message=_(
                        "%(name)s is %(value)s on the server: a power cut may leave the database damaged. A "
                        "kill does no such harm."
                    )
                    % {"name": name, "value": self._setting(name)},
                    hint=f"ALTER SYSTEM SET {name} = on; SELECT pg_reload_conf();",
                    subject=name,
                )
        if self._setting("synchronous_commit") == "off":
            yield Trouble(
                message=_(
                    "synchronous_commit is off in this session: after a power cut, commits that the run's "
                    "journal speaks of may be gone. A kill does no such harm."
                ),
                hint=_options(self.database.alias, "synchronous_commit=on"),
                subject="synchronous_commit",
            )

    def limits(self, *, idles: bool) -> Iterator[Trouble]:
        alias = self.database.alias
        limit = self.own("statement_timeout", "SELECT current_setting('statement_timeout')")
        seconds = self._seconds(limit)
        if 0 < seconds < LONG_STATEMENT.total_seconds():
            yield Trouble(
                message=_(
                    "The server ends every statement of this session after %(limit)s (statement_timeout): a "
                    "change of a large table would be ended each time."
                )
                % {"limit": limit},
                hint=_options(alias, "statement_timeout=0"),
                subject="statement_timeout",
            )
        names = ["transaction_timeout", *(["idle_session_timeout"] if idles else [])]
        for name in names:
            [limit] = self.one("SELECT current_setting(%s, true)", name)
            if limit and 0 < self._seconds(limit) < LONG_IDLE.total_seconds():
                yield Trouble(
                    message=_(
                        "The server ends this session after %(limit)s (%(name)s): a step that takes longer "
                        "loses the run's lock, and the run stops."
                    )
                    % {"limit": limit, "name": name},
                    hint=_options(alias, f"{name}=0"),
                    subject=name,
                )

    def _seconds(self, limit: str) -> float:
        """As `current_setting` gives a time: a number with its unit, or without one in milliseconds."""
        interval = f"{limit} ms" if limit.isdigit() else limit
        return float(self.one("SELECT EXTRACT(EPOCH FROM %s::interval)", interval)[0])

    def leftovers(self) -> Iterator[Trouble]:
        for index, table in self.database.ask(INVALID_INDEXES):
            yield Trouble(
                message=_(
                    "Index %(index)s on %(table)s is not valid: it is being built, or its CREATE INDEX "
                    "CONCURRENTLY was cut off; then it is updated with every row, and never used."
                )
                % {"index": index, "table": table},
                hint=_("If nobody is building it: %(statement)s")
                % {"statement": f"DROP INDEX CONCURRENTLY {index};"},
                subject=str(table),
            )

    def health(self) -> Iterator[Trouble]:
        name = self.database.name
        [age] = self.one("SELECT age(datfrozenxid) FROM pg_database WHERE datname = current_database()")
        if age > WRAPAROUND_SOON:
            yield Trouble(
                message=_(
                    "The oldest transaction number of database '%(name)s' is %(age)d transactions old; soon "
                    "the server takes no more changes."
                )
                % {"name": name, "age": age},
                hint="VACUUM (FREEZE);",
            )
        yield from self._collation(name)
        [free] = self.one(FREE_SESSIONS)
        if free < FEW_SESSIONS:
            yield Trouble(
                message=_(
                    "The server has %(free)d sessions left of max_connections; a backup needs one beside the "
                    "run's own."
                )
                % {"free": max(0, free)},
                hint=_("End sessions that nobody needs: %(query)s")
                % {"query": "SELECT pid, usename, state, query FROM pg_stat_activity ORDER BY state_change;"},
            )

    def _collation(self, name: str) -> Iterator[Trouble]:
        """Since PostgreSQL 15 a database remembers the version that its indexes were sorted by."""
        if self.database.server().version < (15,):
            return
        [then, now] = self.one(
            "SELECT datcollversion, pg_database_collation_actual_version(oid) FROM pg_database"
            " WHERE datname = current_database()"
        )
        if then and now and then != now:
            yield Trouble(
                message=_(
                    "Database '%(name)s' was made with version %(then)s of its collation, and the system has "
                    "%(now)s: indexes of texts may be out of order, and let duplicates pass."
                )
                % {"name": name, "then": then, "now": now},
                hint=f"REINDEX DATABASE {self.database.quote(name)};\n"
                f"ALTER DATABASE {self.database.quote(name)} REFRESH COLLATION VERSION;",
            )

    @property
    def _role(self) -> str:
        return self.database.quote(self.one("SELECT session_user")[0])

    def _setting(self, name: str) -> str:
        return str(self.one("SELECT current_setting(%s)", name)[0])


def _options(alias: str, setting: str) -> str:
    return _('In DATABASES[\'%(alias)s\'], for this command: "OPTIONS": {"options": "-c %(setting)s"}') % {
        "alias": alias,
        "setting": setting,
    }


def _is_folder(path: Path) -> bool:
    """The server's folder may lie where this user may not look."""
    try:
        return path.is_dir()
    except PermissionError:
        return False
