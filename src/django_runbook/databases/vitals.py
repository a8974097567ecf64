"""How a server is doing: what is asked between two batches, cheap enough for once a second."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.utils.translation import gettext as _

from django_runbook.exceptions import RunbookError

if TYPE_CHECKING:
    from django_runbook.databases.base import Database

ON_POSTGRESQL = (
    "SELECT count(*) FILTER (WHERE state = 'active'), count(*) FILTER (WHERE wait_event_type = 'Lock')"
    " FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    " AND backend_type = 'client backend'"
)
POSTGRESQL_LAG = (
    "SELECT pg_is_in_recovery(), EXTRACT(EPOCH FROM now() - pg_last_xact_replay_timestamp()),"
    " pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn()"
)
"""On the standby. One that has replayed all it has received is not behind, however old that is."""
ON_MYSQL = "SHOW GLOBAL STATUS WHERE Variable_name IN ('Threads_running', 'Innodb_row_lock_current_waits')"
SECONDS_BEHIND = ("Seconds_Behind_Master", "Seconds_Behind_Source")


@dataclass(frozen=True, slots=True, kw_only=True)
class Vitals:
    """Of this moment; the session that asks is not counted."""

    running: int = 0
    """Sessions that execute a statement."""
    waiting: int = 0
    """Sessions that wait for a lock."""


def postgresql_vitals(database: Database) -> Vitals:
    [(running, waiting)] = database.ask(ON_POSTGRESQL)
    return Vitals(running=running, waiting=waiting)


def mysql_vitals(database: Database) -> Vitals:
    status = {name.lower(): int(value) for name, value in database.ask(ON_MYSQL)}
    return Vitals(
        running=status["threads_running"] - 1,
        waiting=status["innodb_row_lock_current_waits"],
    )


def postgresql_lag(replica: Database) -> float:
    [(is_standby, seconds, is_even)] = replica.ask(POSTGRESQL_LAG)
    if not is_standby:
        raise is_no_replica(replica)
    return 0 if is_even else float(seconds or 0)


def mysql_lag(replica: Database, statement: str) -> float:
    with replica.connection.cursor() as cursor:
        cursor.execute(statement)
        names, row = [column[0] for column in cursor.description or ()], cursor.fetchone()
    if row is None:
        raise is_no_replica(replica)
    seconds = next((value for name, value in zip(names, row, strict=True) if name in SECONDS_BEHIND), None)
    if seconds is None:
        raise RunbookError(_("the replication to '%(alias)s' is stopped") % {"alias": replica.alias})
    return float(seconds)


def is_no_replica(database: Database) -> RunbookError:
    return RunbookError(_("database '%(alias)s' is no replica") % {"alias": database.alias})
