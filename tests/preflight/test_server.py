"""A server whose DDL statements are not atomic in a crash is not migrated."""

from __future__ import annotations

import pytest
from library import INITIAL, runbook, start

from django_runbook.databases import Database, MySQLDatabase, PostgreSQLDatabase, Server, SQLiteDatabase
from django_runbook.plan import make_plan
from django_runbook.planning import load_place
from django_runbook.preflight import PLAN_CHECKS, Finding, Severity
from django_runbook.preflight.server import CHECK
from django_runbook.steps import Backup, Migrate

MARIADB = Server(product="MariaDB", version=(10, 6, 1))
MYSQL = Server(product="MySQL", version=(8, 0))


def server(product: str, *version: int) -> Server:
    return Server(product=product, version=version)


def found(database: Database, *, applied: tuple[str, ...] = ()) -> list[Finding]:
    plan = make_plan(runbook(Backup(), Migrate.all()), start(INITIAL, applied=applied))
    assert CHECK in PLAN_CHECKS
    return list(CHECK.look(plan, database))


@pytest.mark.parametrize(
    ("stated", "needed"),
    [
        (server("MariaDB", 10, 5, 29), MARIADB),
        (server("MariaDB", 10, 6, 0), MARIADB),
        (server("MariaDB", 10, 6, 1), None),
        (server("MariaDB", 10, 11, 6), None),
        (server("MariaDB", 11, 4, 2), None),
        (server("MySQL", 5, 7, 44), MYSQL),
        (server("MySQL", 8, 0, 11), None),
        (server("MySQL", 9, 1, 0), None),
    ],
    ids=str,
)
def test_ddl_is_atomic_in_a_crash_since(stated: Server, needed: Server | None):
    assert MySQLDatabase("mariadb").needed_for_atomic_ddl(stated) == needed


def test_where_ddl_rolls_back_every_version_will_do():
    assert PostgreSQLDatabase("postgresql").needed_for_atomic_ddl(server("PostgreSQL", 9, 6)) is None
    assert SQLiteDatabase("default").needed_for_atomic_ddl(server("SQLite", 3, 31, 0)) is None


def test_the_servers_of_the_tests_are_new_enough(database: Database):
    assert found(database) == []
    assert load_place(database).atomic_ddl


@pytest.mark.parametrize("database", ["mariadb"], indirect=True)
def test_a_plan_that_migrates_a_server_too_old_is_refused(
    database: Database, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(MySQLDatabase, "server", lambda self: server("MariaDB", 10, 5, 29))
    [finding] = found(database)
    assert finding == Finding(
        id="runbook.P107",
        severity=Severity.ERROR,
        message="The plan applies migrations, and database 'mariadb' is served by MariaDB 10.5.29, where a "
        "crash may leave a single DDL statement half done; that is so before MariaDB 10.6.1.",
        hint="Upgrade the server to MariaDB 10.6.1 or later. `SELECT VERSION();` shows what it is.",
    )
    assert found(database, applied=("0001_initial",)) == []
    assert not load_place(database).atomic_ddl
