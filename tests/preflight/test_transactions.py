"""Long transactions of others on tables of the plan are named, and no other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from library import EXPAND, INITIAL, runbook, start
from looking import found_by
from places import empty_database, pointed_at
from private_server import private_server

from django_runbook.databases import Database, mysql_surroundings, postgresql_surroundings
from django_runbook.plan import make_plan
from django_runbook.preflight import Finding, Severity
from django_runbook.steps import Backup, Migrate

on_mariadb = pytest.mark.parametrize("database", ["mariadb"], indirect=True)
on_postgresql = pytest.mark.parametrize("database", ["postgresql"], indirect=True)
REMEMBERED = "SELECT SLEEP(0.2)"
"""For that long MariaDB answers with the transactions that it saw last."""
PLAN = make_plan(runbook(Backup(), Migrate.all()), start(INITIAL, EXPAND, applied=[INITIAL[0]]))


def found(database: Database) -> list[Finding]:
    return found_by("runbook.P114", database, PLAN)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A transaction counts as long from its begin."""
    for module in (mysql_surroundings, postgresql_surroundings):
        monkeypatch.setattr(module, "LONG_TRANSACTION", timedelta(0))


@contextmanager
def another_transaction(database: Database, *statements: str) -> Iterator[Any]:
    """Another session with an open transaction that has run these."""
    other = database.connection.copy()
    other.set_autocommit(False)
    try:
        with other.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            yield cursor
    finally:
        other.close()


def create(database: Database) -> None:
    database.ask_nothing("CREATE TABLE library_author (id INT PRIMARY KEY, name VARCHAR(80))")
    database.ask_nothing("CREATE TABLE other (id INT PRIMARY KEY)")


def seconds(finding: Finding) -> str:
    """How long the transaction has been open, which depends on the machine."""
    return re.findall(r"for (\d+) s", finding.message)[0]


@on_postgresql
@pytest.mark.usefixtures("at_once")
def test_who_has_read_a_table_of_the_plan_is_named_and_the_hint_ends_it(database: Database) -> None:
    create(database)
    user = database.connection.settings_dict["USER"]
    with another_transaction(database, "SELECT * FROM library_author") as cursor:
        pid = cursor.connection.info.backend_pid
        [finding] = found(database)
        assert finding == Finding(
            id="runbook.P114",
            severity=Severity.WARNING,
            message=f"Session {pid} of user '{user}' has had a transaction open for {seconds(finding)} s "
            "(idle in transaction), with locks on library_author, and the run must wait for it: "
            "SELECT * FROM library_author",
            hint=f"Wait until it ends, or end it: SELECT pg_terminate_backend({pid});",
            subject=str(pid),
        )
        database.ask(finding.hint.partition(": ")[2].rstrip(";"))
        database.ask("SELECT pg_sleep(0.2)")
        assert found(database) == []


@on_postgresql
@pytest.mark.usefixtures("at_once")
def test_who_has_read_another_table_is_left_alone(database: Database) -> None:
    create(database)
    with another_transaction(database, "SELECT * FROM other"):
        assert found(database) == []


@pytest.mark.parametrize("database", ["mariadb", "postgresql"], indirect=True)
def test_a_transaction_that_has_just_begun_is_left_alone(database: Database) -> None:
    create(database)
    with another_transaction(database, "SELECT * FROM library_author"):
        assert found(database) == []


@on_mariadb
@pytest.mark.usefixtures("at_once")
def test_an_open_transaction_is_named_and_the_hint_ends_it(database: Database) -> None:
    create(database)
    user = database.connection.settings_dict["USER"]
    with another_transaction(database, "SELECT * FROM library_author", "SELECT 1") as cursor:
        session = cursor.connection.thread_id()
        database.ask(REMEMBERED)
        [finding] = found(database)
        assert finding == Finding(
            id="runbook.P114",
            severity=Severity.WARNING,
            message=f"Session {session} of user '{user}' has had a transaction open on this database for "
            f"{seconds(finding)} s: Sleep. If it has used tables of the plan, the run must wait for it.",
            hint=f"Wait until it ends, or end it: KILL {session};",
            subject=str(session),
        )
        database.ask_nothing(finding.hint.partition(": ")[2].rstrip(";"))
        database.ask(REMEMBERED)
        assert found(database) == []


@on_mariadb
def test_a_prepared_transaction_is_named_and_the_hint_ends_it(database: Database) -> None:
    create(database)
    other = database.connection.copy()
    with other.cursor() as cursor:
        for statement in (
            "XA START 'left over'",
            "INSERT INTO library_author VALUES (1, 'x')",
            "XA END 'left over'",
            "XA PREPARE 'left over'",
        ):
            cursor.execute(statement)
    other.close()
    [finding] = found(database)
    assert finding.message == (
        "The server has a prepared transaction, left over, which keeps its locks until somebody ends it. If "
        "it has changed tables of the plan, the run waits for it in vain."
    )
    database.ask_nothing(finding.hint.partition(": ")[2].rstrip(";"))
    assert found(database) == []
    assert database.ask("SELECT * FROM library_author") == []


def test_a_prepared_transaction_on_a_table_of_the_plan_is_an_error_and_the_hint_ends_it() -> None:
    """Such are off by default, and only a restart turns them on: hence a server of its own."""
    with private_server("postgresql", in_memory=True) as server:
        server.sql("ALTER SYSTEM SET max_prepared_transactions = 2")  # type: ignore[attr-defined]
        server.stop()
        server.start()
        with empty_database(server) as place, pointed_at("postgresql", place) as database:
            create(database)
            for table in ("library_author", "other"):
                statements = ("BEGIN", f"LOCK TABLE {table}", f"PREPARE TRANSACTION 'left {table}'")
                for statement in statements:
                    database.ask_nothing(statement)
            [finding] = found(database)
            assert finding == Finding(
                id="runbook.P114",
                severity=Severity.ERROR,
                message=f"The prepared transaction 'left library_author' of user '{server.user}' holds locks "
                "on library_author, and keeps them until somebody ends it.",
                hint="Ask its owner, then end it: ROLLBACK PREPARED 'left library_author';",
                subject="left library_author",
            )
            database.ask_nothing(finding.hint.partition(": ")[2].rstrip(";"))
            assert found(database) == []
            database.ask_nothing("ROLLBACK PREPARED 'left other'")
