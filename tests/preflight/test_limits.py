"""Time limits that would end long work are named."""

from __future__ import annotations

import pytest
from django.db import DatabaseError
from library import EXPAND, INITIAL, runbook, start
from looking import found_by

from django_runbook.databases import Database
from django_runbook.plan import Plan, make_plan
from django_runbook.preflight import Finding, Severity
from django_runbook.steps import Backup, Migrate, Step, Verify

on_mariadb = pytest.mark.parametrize("database", ["mariadb"], indirect=True)
on_postgresql = pytest.mark.parametrize("database", ["postgresql"], indirect=True)


def plan(*steps: Step) -> Plan:
    applied = [INITIAL[0], EXPAND[0]] if steps else []
    return make_plan(runbook(*(steps or (Backup(), Migrate.all()))), start(INITIAL, EXPAND, applied=applied))


def found(database: Database, plan: Plan) -> list[Finding]:
    return found_by("runbook.P121", database, plan)


@on_postgresql
def test_a_statement_timeout_is_named_and_the_hint_takes_it_away(database: Database) -> None:
    role = database.connection.settings_dict["USER"]
    database.ask_nothing(f"ALTER ROLE {role} IN DATABASE {database.name} SET statement_timeout = '300ms'")
    database.connection.close()
    assert found(database, plan()) == [
        Finding(
            id="runbook.P121",
            severity=Severity.WARNING,
            message="The server ends every statement of this session after 300ms (statement_timeout): a "
            "change of a large table would be ended each time.",
            hint='In DATABASES[\'postgresql\'], for this command: "OPTIONS": {"options": "-c '
            'statement_timeout=0"}',
            subject="statement_timeout",
        )
    ]
    with pytest.raises(DatabaseError, match="statement timeout"):
        database.ask("SELECT pg_sleep(1)")
    database.connection.close()
    options = database.connection.settings_dict["OPTIONS"]
    options["options"] = "-c statement_timeout=0"
    try:
        assert found(database, plan()) == []
        database.ask("SELECT pg_sleep(0.4)")
    finally:
        database.connection.close()
        del options["options"]


@on_postgresql
@pytest.mark.parametrize(
    ("timeout", "count"), [("2min", 1), ("14min", 1), ("1h", 0), ("0", 0), ("1d", 0), ("500", 1)]
)
def test_a_long_statement_timeout_is_nobodys_concern(database: Database, timeout: str, count: int) -> None:
    database.ask("SELECT set_config('statement_timeout', %s, false)", [timeout])
    assert len(found(database, plan())) == count


@on_postgresql
def test_a_session_that_ends_while_it_waits_is_named_if_it_will_wait(database: Database) -> None:
    database.ask_nothing("SET idle_session_timeout = '5min'")
    [finding] = found(database, plan())
    assert finding.message == (
        "The server ends this session after 5min (idle_session_timeout): a step that takes longer loses the "
        "run's lock, and the run stops."
    )
    assert found(database, plan(Verify())) == []


@on_mariadb
def test_a_session_that_ends_while_it_waits_is_named_with_the_option_that_helps(database: Database) -> None:
    database.ask_nothing("SET SESSION wait_timeout = 60")
    [finding] = found(database, plan())
    assert finding == Finding(
        id="runbook.P121",
        severity=Severity.WARNING,
        message="The server ends a session that has had nothing to do for 60 s (wait_timeout). A step that "
        "takes longer outside of it, as a backup or a restart may, loses the run's lock, and the run stops.",
        hint='In DATABASES[\'mariadb\'], for this command: "OPTIONS": {"init_command": "SET wait_timeout = '
        '28800"}',
        subject="wait_timeout",
    )
    assert found(database, plan(Verify())) == []
    database.ask_nothing(finding.hint.split('"')[-2])
    assert found(database, plan()) == []


@on_mariadb
def test_the_lock_is_really_lost_with_an_idle_session(database: Database) -> None:
    other = database.connection.copy()
    with database.lock(), other.cursor() as cursor:
        database.ask_nothing("SET SESSION wait_timeout = 1")
        cursor.execute("SELECT SLEEP(2), IS_USED_LOCK(%s)", [database.lock_name])
        assert cursor.fetchone()[1] is None
        with pytest.raises(DatabaseError):
            database.ask("SELECT 1")
    other.close()


@on_mariadb
def test_a_limit_of_statements_is_the_sessions_own_and_not_that_of_the_check(database: Database) -> None:
    assert found(database, plan()) == []
    database.ask_nothing("SET SESSION max_statement_time = 30")
    [finding] = found(database, plan())
    assert finding.message == (
        "The server ends every statement of this session after 30 s (max_statement_time): a change of a "
        "large table would be ended each time."
    )
    database.ask_nothing(finding.hint.split('"')[-2])
    assert found(database, plan()) == []


@on_mariadb
def test_a_server_that_takes_small_statements_only_is_named(database: Database) -> None:
    [(before,)] = database.ask("SELECT @@GLOBAL.max_allowed_packet")
    database.ask_nothing("SET GLOBAL max_allowed_packet = 1048576")
    try:
        [finding] = found(database, plan())
        assert finding.message == (
            "The server takes no statement larger than 1048576 bytes (max_allowed_packet): a restore of the "
            "backup fails at the first row that is longer in the dump."
        )
        database.ask_nothing(finding.hint.rstrip(";"))
        assert found(database, plan()) == []
    finally:
        database.ask_nothing(f"SET GLOBAL max_allowed_packet = {before}")
