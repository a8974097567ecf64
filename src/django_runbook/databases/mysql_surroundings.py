"""What surrounds a run on MySQL or MariaDB."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.utils.translation import gettext as _

from django_runbook.databases.client_versions import asked, dotted
from django_runbook.databases.mysql_rights import missing_rights
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
    from django_runbook.databases.mysql import MySQLDatabase

LEAST_PACKET = 16 * 1024**2
"""The servers' own default; a row in a dump may be twice as long as in the table."""
STRICT = {"STRICT_TRANS_TABLES", "STRICT_ALL_TABLES", "TRADITIONAL"}
TRANSACTIONS = (
    "SELECT p.ID, p.USER, TIMESTAMPDIFF(SECOND, t.trx_started, NOW()), LEFT(COALESCE(p.INFO, p.COMMAND), 80)"
    " FROM information_schema.INNODB_TRX t JOIN information_schema.PROCESSLIST p"
    " ON p.ID = t.trx_mysql_thread_id WHERE p.ID <> CONNECTION_ID() AND p.DB = DATABASE()"
    " AND TIMESTAMPDIFF(SECOND, t.trx_started, NOW()) >= %s ORDER BY t.trx_started LIMIT 5"
)
CONNECTED = (
    "SELECT ID, USER, HOST FROM information_schema.PROCESSLIST WHERE DB = DATABASE()"
    " AND ID <> CONNECTION_ID() AND COMMAND <> 'Daemon' ORDER BY ID"
)
LEFTOVERS = (
    "SELECT TRIGGER_NAME, EVENT_OBJECT_TABLE FROM information_schema.TRIGGERS"
    " WHERE TRIGGER_SCHEMA = DATABASE()"
    " AND (TRIGGER_NAME LIKE 'pt\\_osc\\_%%' OR TRIGGER_NAME LIKE 'ghost\\_%%') ORDER BY TRIGGER_NAME"
)
EVENTS = (
    "SELECT EVENT_NAME FROM information_schema.EVENTS WHERE EVENT_SCHEMA = DATABASE() AND STATUS = 'ENABLED'"
    " AND @@event_scheduler = 'ON' ORDER BY EVENT_NAME"
)
LARGEST = (
    "SELECT TABLE_NAME, COALESCE(DATA_LENGTH, 0) + COALESCE(INDEX_LENGTH, 0) FROM information_schema.TABLES"
    " WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME IN ({}) ORDER BY 2 DESC LIMIT 1"
)
LOST_COMMITS = {
    "innodb_flush_log_at_trx_commit": "1",
    "innodb_doublewrite": "1",
    "sync_binlog": "1",
}
"""Server settings, and the value with which a commit, or a page, survives a power cut."""


class MySQLSurroundings(Surroundings):
    database: MySQLDatabase

    def connected(self) -> list[str]:
        """Without the right PROCESS a user sees its own sessions only."""
        return [
            _("session %(id)s of user '%(user)s' from %(host)s")
            % {"id": session, "user": user, "host": host.partition(":")[0]}
            for session, user, host in self.database.ask(CONNECTED)
        ]

    def programs(self) -> Iterator[Trouble]:
        server = self.database.server()
        for programs in (self.database.dump_programs, self.database.load_programs):
            program = next(filter(shutil.which, programs), "")
            found = asked([program, "--version"]) if program else None
            if found:
                yield from _misfits(program, *found, server)

    def rights(self, needs: Needs) -> Iterator[Trouble]:
        yield from missing_rights(self.database, needs)

    def disk(self, tables: Collection[str]) -> Disk | None:
        hostname, folder = self.one("SELECT @@hostname, @@datadir")
        if not tables or hostname != socket.gethostname() or not Path(folder).is_dir():
            return None
        found = self.database.ask(LARGEST.format(", ".join(["%s"] * len(tables))), list(tables))
        return Disk(folder=Path(folder), table=found[0][0], bytes=int(found[0][1])) if found else None

    def transactions(self, tables: Collection[str]) -> Iterator[Trouble]:
        """Which tables they have locked is not known here without the performance schema."""
        if not tables:
            return
        for gid_format, gtrid, _bqual, xid in self.database.ask("XA RECOVER"):
            yield Trouble(
                message=_(
                    "The server has a prepared transaction, %(xid)s, which keeps its locks until somebody "
                    "ends it. If it has changed tables of the plan, the run waits for it in vain."
                )
                % {"xid": _text(xid)},
                hint=_("Ask its owner, then end it: %(statement)s")
                % {"statement": f"XA ROLLBACK {_xid(xid, int(gtrid), int(gid_format))};"},
                subject=_text(xid),
            )
        for session, user, seconds, query in self.database.ask(
            TRANSACTIONS, [LONG_TRANSACTION.total_seconds()]
        ):
            yield Trouble(
                message=_(
                    "Session %(session)s of user '%(user)s' has had a transaction open on this database for "
                    "%(seconds)d s: %(query)s. If it has used tables of the plan, the run must wait for it."
                )
                % {"session": session, "user": user, "seconds": seconds, "query": query},
                hint=_("Wait until it ends, or end it: %(statement)s") % {"statement": f"KILL {session};"},
                subject=str(session),
            )

    def refusals(self) -> Iterator[Trouble]:
        if self.own("read_only", f"SELECT @@SESSION.{self._read_only_name}"):
            yield Trouble(
                message=_("Transactions on database '%(alias)s' are read-only by default.")
                % {"alias": self.database.alias},
                hint=_(
                    "Look for it in the `init_command` of DATABASES['%(alias)s'], and on the server: "
                    "%(statement)s"
                )
                % {
                    "alias": self.database.alias,
                    "statement": f"SET GLOBAL {self._read_only_name} = 0;",
                },
                is_error=True,
            )
        [super_read_only] = (False,) if self._is_mariadb else self.one("SELECT @@super_read_only")
        [read_only] = self.one("SELECT @@GLOBAL.read_only")
        if super_read_only or str(read_only) not in ("0", "OFF"):
            yield Trouble(
                message=_("The server of database '%(alias)s' is set read-only, as a replica is.")
                % {"alias": self.database.alias},
                hint=_("Connect to the primary. If this is the primary: %(statement)s")
                % {
                    "statement": "SET GLOBAL super_read_only = 0, GLOBAL read_only = 0;"
                    if super_read_only
                    else "SET GLOBAL read_only = 0;"
                },
                is_error=True,
            )

    def replication(self, tables: Collection[str]) -> Iterator[Trouble]:
        binlog, form, isolation = self.one(
            f"SELECT @@log_bin, @@SESSION.binlog_format, @@SESSION.{self._isolation_name}"
        )
        if binlog and form == "STATEMENT":
            yield self._by_statement(str(isolation).replace(" ", "-").upper())
        if self.database.ask(self.replica_status):
            yield Trouble(
                message=_(
                    "The server of database '%(alias)s' is a replica of another one: what a run writes here "
                    "is not there, and may stop the replication."
                )
                % {"alias": self.database.alias},
                hint=_("Connect to the primary."),
            )

    def _by_statement(self, isolation: str) -> Trouble:
        mend = "SET GLOBAL binlog_format = 'ROW';"
        if isolation in ("READ-COMMITTED", "READ-UNCOMMITTED"):
            return Trouble(
                message=_(
                    "The server writes its binary log by statement, and this session's isolation level is "
                    "%(isolation)s: InnoDB refuses every change of rows so."
                )
                % {"isolation": isolation},
                hint=mend,
                is_error=True,
            )
        return Trouble(
            message=_(
                "The server writes its binary log by statement: what a backfill or a migration computes anew "
                "on a replica may not be the same there."
            ),
            hint=mend,
        )

    def clock(self) -> float | None:
        [seconds] = self.one("SELECT UNIX_TIMESTAMP(SYSDATE(6))")
        return float(seconds)

    def settings(self) -> Iterator[Trouble]:
        alias = self.database.alias
        autocommit, foreign_keys, unique, mode = self.one(
            "SELECT @@SESSION.autocommit, @@SESSION.foreign_key_checks, @@SESSION.unique_checks,"
            " @@SESSION.sql_mode"
        )
        if not autocommit:
            yield _broken(
                _("autocommit is 0 in this session: statements would not be committed one by one."),
                _("Set \"AUTOCOMMIT\": True in DATABASES['%(alias)s'].") % {"alias": alias},
            )
        if not STRICT & set(str(mode).split(",")):
            yield _broken(
                _(
                    "sql_mode is not strict in this session (%(mode)s): values that do not fit are cut off "
                    "and stored, instead of refused."
                )
                % {"mode": mode or "''"},
                _options(alias, "SET sql_mode = CONCAT(@@sql_mode, ',STRICT_TRANS_TABLES')"),
            )
        if not foreign_keys:
            yield _broken(
                _("foreign_key_checks is 0 in this session: rows could point at nothing."),
                _options(alias, "SET foreign_key_checks = 1"),
            )
        if not unique:
            yield _broken(
                _("unique_checks is 0 in this session: the server may let duplicates pass."),
                _options(alias, "SET unique_checks = 1"),
            )
        yield from self._durability()

    def _durability(self) -> Iterator[Trouble]:
        names = "', '".join(LOST_COMMITS)
        found = dict(self.database.ask(f"SHOW GLOBAL VARIABLES WHERE Variable_name IN ('{names}')"))
        [has_binlog] = self.one("SELECT @@log_bin")
        for name, value in found.items():
            is_used = name != "sync_binlog" or has_binlog
            if is_used and {"ON": "1"}.get(str(value), str(value)) != LOST_COMMITS[name]:
                yield Trouble(
                    message=_(
                        "%(name)s is %(value)s on the server: after a power cut, commits that the run's "
                        "journal speaks of may be gone, or pages torn. A kill does no such harm."
                    )
                    % {"name": name, "value": value},
                    hint=_("For as long as the run lasts: %(statement)s")
                    % {"statement": f"SET GLOBAL {name} = {LOST_COMMITS[name]};"}
                    if name != "innodb_doublewrite"
                    else _("Put `innodb_doublewrite = ON` into the server's configuration, and restart it."),
                    subject=name,
                )

    def limits(self, *, idles: bool) -> Iterator[Trouble]:
        [wait, packet] = self.one("SELECT @@SESSION.wait_timeout, @@GLOBAL.max_allowed_packet")
        if self._is_mariadb:
            yield from self._long_statements()
        if idles and int(wait) < LONG_IDLE.total_seconds():
            yield Trouble(
                message=_(
                    "The server ends a session that has had nothing to do for %(seconds)d s (wait_timeout). "
                    "A step that takes longer outside of it, as a backup or a restart may, loses the run's "
                    "lock, and the run stops."
                )
                % {"seconds": wait},
                hint=_options(self.database.alias, "SET wait_timeout = 28800"),
                subject="wait_timeout",
            )
        if int(packet) < LEAST_PACKET:
            yield Trouble(
                message=_(
                    "The server takes no statement larger than %(bytes)d bytes (max_allowed_packet): a "
                    "restore of the backup fails at the first row that is longer in the dump."
                )
                % {"bytes": packet},
                hint="SET GLOBAL max_allowed_packet = 67108864;",
                subject="max_allowed_packet",
            )

    def _long_statements(self) -> Iterator[Trouble]:
        """MySQL's max_execution_time is of SELECT only."""
        seconds = float(self.own("time_limit", "SELECT @@SESSION.max_statement_time"))
        if 0 < seconds < LONG_STATEMENT.total_seconds():
            yield Trouble(
                message=_(
                    "The server ends every statement of this session after %(seconds)g s "
                    "(max_statement_time): a change of a large table would be ended each time."
                )
                % {"seconds": seconds},
                hint=_options(self.database.alias, "SET max_statement_time = 0"),
                subject="max_statement_time",
            )

    def leftovers(self) -> Iterator[Trouble]:
        for trigger, table in self.database.ask(LEFTOVERS.replace("%%", "%")):
            yield Trouble(
                message=_(
                    "Trigger %(trigger)s on table %(table)s is of a tool that copies tables: it is at work, "
                    "or was cut off."
                )
                % {"trigger": trigger, "table": table},
                hint=_("If the tool is no longer at work: %(statement)s")
                % {"statement": f"DROP TRIGGER {self.database.quote(trigger)};"},
                subject=str(table),
            )

    def health(self) -> Iterator[Trouble]:
        events = [str(name) for (name,) in self.database.ask(EVENTS)]
        if events:
            yield Trouble(
                message=_(
                    "The server's event scheduler is on, and these events of the database may write during "
                    "the run: %(events)s."
                )
                % {"events": ", ".join(events)},
                hint="\n".join(f"ALTER EVENT {self.database.quote(name)} DISABLE;" for name in events),
            )

    @property
    def _is_mariadb(self) -> bool:
        return self.database.is_mariadb

    @property
    def _read_only_name(self) -> str:
        return "tx_read_only" if self._is_mariadb else "transaction_read_only"

    @property
    def _isolation_name(self) -> str:
        return "tx_isolation" if self._is_mariadb else "transaction_isolation"

    @property
    def replica_status(self) -> str:
        """The statement that shows it, by both servers' older word, which MySQL has dropped since 8.4."""
        says_slave = self._is_mariadb or self.database.server().version < (8, 0, 22)
        return "SHOW SLAVE STATUS" if says_slave else "SHOW REPLICA STATUS"


def _misfits(program: str, product: str, version: tuple[int, ...], server: Any) -> Iterator[Trouble]:
    if product != server.product:
        yield Trouble(
            message=_(
                "%(program)s is of %(product)s %(version)s, and the server is %(server)s: what only the "
                "server's own program knows may be missing from a backup."
            )
            % {"program": program, "product": product, "version": dotted(version), "server": server},
            hint=_("Install the client programs of %(product)s.") % {"product": server.product},
            subject=program,
        )
    elif version[:2] < server.version[:2]:
        yield Trouble(
            message=_(
                "%(program)s is of version %(version)s, older than the server (%(server)s): what it does not "
                "know yet may be missing from a backup."
            )
            % {"program": program, "version": dotted(version), "server": server},
            hint=_("Install the client programs of %(server)s.") % {"server": server},
            subject=program,
        )


def _broken(message: str, hint: str) -> Trouble:
    return Trouble(message=message, hint=hint, is_error=True)


def _options(alias: str, statement: str) -> str:
    return _(
        'In DATABASES[\'%(alias)s\'], for this command: "OPTIONS": {"init_command": "%(statement)s"}'
    ) % {
        "alias": alias,
        "statement": statement,
    }


def _text(xid: Any) -> str:
    return xid.decode(errors="replace") if isinstance(xid, bytes) else str(xid)


def _xid(xid: Any, length: int, form: int) -> str:
    """As XA ROLLBACK takes it: both parts in hexadecimal, and the format."""
    raw = xid if isinstance(xid, bytes) else str(xid).encode()
    return f"X'{raw[:length].hex()}',X'{raw[length:].hex()}',{form}"
