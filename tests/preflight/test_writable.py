"""A database that takes no changes is refused before a plan is made."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.db import DatabaseError
from looking import found_by
from restricted import connected_as, mariadb_user

from django_runbook.databases import Database
from django_runbook.preflight import Finding, Severity

READ_ONLY = {
    "mariadb": (
        "SET SESSION TRANSACTION READ ONLY",
        "Transactions on database 'mariadb' are read-only by default.",
    ),
    "postgresql": (
        "SET default_transaction_read_only = on",
        "Transactions on database 'postgresql' are read-only by default.",
    ),
}


def found(database: Database) -> list[Finding]:
    return found_by("runbook.P115", database)


@pytest.mark.parametrize(
    ("database", "statement", "message"),
    [(kind, *pair) for kind, pair in READ_ONLY.items()],
    indirect=["database"],
)
def test_a_session_that_only_reads_by_itself_is_refused(
    database: Database, statement: str, message: str
) -> None:
    assert found(database) == []
    database.ask_nothing(statement)
    [finding] = found(database)
    assert (finding.severity, finding.message) == (Severity.ERROR, message)
    with pytest.raises(DatabaseError):
        database.ask_nothing("CREATE TABLE t (x INT)")


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_the_hint_makes_the_session_write(database: Database) -> None:
    database.ask_nothing(f"ALTER DATABASE {database.name} SET default_transaction_read_only = on")
    database.connection.close()
    [finding] = found(database)
    assert finding.hint == (
        'In DATABASES[\'postgresql\'], for this command: "OPTIONS": {"options": "-c '
        'default_transaction_read_only=off"}'
    )
    database.connection.close()
    options = database.connection.settings_dict["OPTIONS"]
    options["options"] = finding.hint.split('"')[-2]
    try:
        assert found(database) == []
    finally:
        database.connection.close()
        del options["options"]


@pytest.mark.parametrize("database", ["mariadb"], indirect=True)
def test_a_server_that_is_read_only_is_refused_and_the_hint_mends_it(database: Database) -> None:
    with mariadb_user(database, "ALL PRIVILEGES") as user:
        database.ask_nothing("SET GLOBAL read_only = 1")
        try:
            with connected_as(database, user):
                [finding] = found(database)
                with pytest.raises(DatabaseError, match="--read-only"):
                    database.ask_nothing("CREATE TABLE t (x INT)")
            assert finding == Finding(
                id="runbook.P115",
                severity=Severity.ERROR,
                message="The server of database 'mariadb' is set read-only, as a replica is.",
                hint="Connect to the primary. If this is the primary: SET GLOBAL read_only = 0;",
            )
            database.ask_nothing(finding.hint.rpartition(": ")[2].rstrip(";"))
            with connected_as(database, user):
                assert found(database) == []
        finally:
            database.ask_nothing("SET GLOBAL read_only = 0")


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_file_that_is_opened_to_be_read_is_refused(database: Database) -> None:
    path = Path(database.name)
    database.ask_nothing("CREATE TABLE t (x INT)")
    database.connection.close()
    database.connection.settings_dict["NAME"] = f"file:{path}?mode=ro"
    database.connection.settings_dict["OPTIONS"]["uri"] = True
    [finding] = found(database)
    assert finding == Finding(
        id="runbook.P115",
        severity=Severity.ERROR,
        message=f"Database 'default' can only be read: file:{path}?mode=ro.",
        hint="Run as the user that owns the file, and without mode=ro or query_only.",
    )
    with pytest.raises(DatabaseError, match="readonly"):
        database.ask_nothing("CREATE TABLE u (x INT)")


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_session_of_sqlite_that_only_reads_is_refused(database: Database) -> None:
    database.ask_nothing("PRAGMA query_only = ON")
    assert [it.message for it in found(database)] == [
        "Database 'default' can only be read: PRAGMA query_only."
    ]
