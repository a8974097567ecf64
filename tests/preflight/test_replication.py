"""Replication that is behind, that a run would hurt, or that would stop it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import DatabaseError
from library import EXPAND, INITIAL, runbook, start
from looking import found_by
from places import empty_database, pointed_at
from private_server import MariaDB

from django_runbook.databases import Database
from django_runbook.plan import make_plan
from django_runbook.preflight import Finding, Severity
from django_runbook.steps import Backup, Migrate

on_postgresql = pytest.mark.parametrize("database", ["postgresql"], indirect=True)
PLAN = make_plan(runbook(Backup(), Migrate.all()), start(INITIAL, EXPAND, applied=[INITIAL[0]]))


def found(database: Database) -> list[Finding]:
    return found_by("runbook.P116", database, PLAN)


def create(database: Database) -> None:
    database.ask_nothing("CREATE TABLE library_author (id INT PRIMARY KEY)")
    database.ask_nothing("CREATE TABLE other (id INT PRIMARY KEY)")


@on_postgresql
def test_a_publication_of_a_table_of_the_plan_is_named_and_of_others_not(database: Database) -> None:
    create(database)
    database.ask_nothing("CREATE PUBLICATION outside FOR TABLE other")
    assert found(database) == []
    database.ask_nothing("CREATE PUBLICATION warehouse FOR TABLE library_author, other")
    assert found(database) == [
        Finding(
            id="runbook.P116",
            severity=Severity.WARNING,
            message="Publication 'warehouse' sends rows of library_author to other servers, but not their "
            "changes of schema: a subscriber stops at the first row that has a column it does not know.",
            hint="Apply the migrations to the subscribers first, as far as they add something.",
            subject="warehouse",
        )
    ]


@on_postgresql
def test_commits_that_wait_for_a_standby_that_is_not_there_are_an_error(database: Database) -> None:
    create(database)
    database.ask_nothing("ALTER SYSTEM SET synchronous_standby_names = 'far_away'")
    try:
        database.ask("SELECT pg_reload_conf(), pg_sleep(0.2)")
        [finding] = found(database)
        assert (finding.severity, finding.message) == (
            Severity.ERROR,
            "Every commit waits for a synchronous standby (far_away), and none is connected: the run would "
            "wait for ever.",
        )
    finally:
        database.ask_nothing("ALTER SYSTEM RESET synchronous_standby_names")
        database.ask("SELECT pg_reload_conf(), pg_sleep(0.2)")
    assert found(database) == []


class WithBinaryLog(MariaDB):
    def command(self) -> list[str]:
        return [*super().command(), "--log-bin=binlog", "--binlog-format=STATEMENT", "--sync-binlog=0"]


@pytest.fixture(scope="module")
def logging_server() -> Iterator[WithBinaryLog]:
    with WithBinaryLog(in_memory=True) as server:
        yield server


def test_a_binary_log_by_statement_is_an_error_where_innodb_refuses_it(logging_server: WithBinaryLog) -> None:
    with empty_database(logging_server) as place, pointed_at("mariadb", place) as database:
        create(database)
        [finding] = found(database)
        assert finding == Finding(
            id="runbook.P116",
            severity=Severity.ERROR,
            message="The server writes its binary log by statement, and this session's isolation level is "
            "READ-COMMITTED: InnoDB refuses every change of rows so.",
            hint="SET GLOBAL binlog_format = 'ROW';",
        )
        with pytest.raises(DatabaseError, match="BINLOG_FORMAT"):
            database.ask_nothing("INSERT INTO library_author VALUES (1)")
        database.ask_nothing("SET SESSION tx_isolation = 'REPEATABLE-READ'")
        database.ask_nothing("INSERT INTO library_author VALUES (1)")
        assert [(it.severity, it.message) for it in found(database)] == [
            (
                Severity.WARNING,
                "The server writes its binary log by statement: what a backfill or a migration computes anew "
                "on a replica may not be the same there.",
            )
        ]
        assert [it.subject for it in found_by("runbook.P120", database)] == ["sync_binlog"]
        database.ask_nothing(finding.hint.rstrip(";"))
        database.connection.close()
        assert found(database) == []
        database.ask_nothing("SET GLOBAL binlog_format = 'STATEMENT'")


def test_a_server_that_is_a_replica_is_named(logging_server: WithBinaryLog) -> None:
    with empty_database(logging_server) as place, pointed_at("mariadb", place) as database:
        create(database)
        database.ask_nothing("SET GLOBAL binlog_format = 'ROW'")
        database.ask_nothing("CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_USER = 'nobody'")
        database.connection.close()
        try:
            assert [(it.severity, it.message) for it in found(database)] == [
                (
                    Severity.WARNING,
                    "The server of database 'mariadb' is a replica of another one: what a run writes here is "
                    "not there, and may stop the replication.",
                )
            ]
        finally:
            database.ask_nothing("RESET SLAVE ALL")
            database.ask_nothing("SET GLOBAL binlog_format = 'STATEMENT'")
        assert len(found(database)) == 0
