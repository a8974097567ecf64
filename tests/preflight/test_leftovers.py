"""What a change of schema that was cut off has left is named, and what is out of order in a database."""

from __future__ import annotations

import pytest
from django.db import IntegrityError
from looking import found_by

from django_runbook.databases import Database
from django_runbook.preflight import Finding, Severity

on_mariadb = pytest.mark.parametrize("database", ["mariadb"], indirect=True)
on_postgresql = pytest.mark.parametrize("database", ["postgresql"], indirect=True)


@on_postgresql
def test_an_invalid_index_is_named_and_the_hint_drops_it(database: Database) -> None:
    database.ask_nothing('CREATE TABLE "Odd" (x INT)')
    database.ask_nothing('INSERT INTO "Odd" VALUES (1), (1)')
    with pytest.raises(IntegrityError):
        database.ask_nothing('CREATE UNIQUE INDEX CONCURRENTLY "by X" ON "Odd" (x)')
    [finding] = found_by("runbook.P122", database)
    assert finding == Finding(
        id="runbook.P122",
        severity=Severity.WARNING,
        message='Index "by X" on "Odd" is not valid: it is being built, or its CREATE INDEX CONCURRENTLY was '
        "cut off; then it is updated with every row, and never used.",
        hint='If nobody is building it: DROP INDEX CONCURRENTLY "by X";',
        subject='"Odd"',
    )
    database.ask_nothing(finding.hint.partition(": ")[2].rstrip(";"))
    assert found_by("runbook.P122", database) == []


@on_mariadb
def test_a_trigger_of_a_tool_is_named_and_others_are_not(database: Database) -> None:
    database.ask_nothing("CREATE TABLE t (x INT)")
    for name in ("pt_osc_shop_t_ins", "ptXosc_mine"):
        database.ask_nothing(f"CREATE TRIGGER {name} BEFORE INSERT ON t FOR EACH ROW SET NEW.x = 1")
    [finding] = found_by("runbook.P122", database)
    assert finding == Finding(
        id="runbook.P122",
        severity=Severity.WARNING,
        message="Trigger pt_osc_shop_t_ins on table t is of a tool that copies tables: it is at work, or was "
        "cut off.",
        hint="If the tool is no longer at work: DROP TRIGGER `pt_osc_shop_t_ins`;",
        subject="t",
    )
    database.ask_nothing(finding.hint.partition(": ")[2].rstrip(";"))
    assert found_by("runbook.P122", database) == []


@on_mariadb
def test_events_that_may_write_meanwhile_are_named_if_they_run(database: Database) -> None:
    database.ask_nothing("CREATE TABLE t (x INT)")
    # not now: the scheduler writes the status of an event that it runs
    tomorrow = "EVERY 1 DAY STARTS CURRENT_TIMESTAMP + INTERVAL 1 DAY"
    database.ask_nothing(f"CREATE EVENT cleanup ON SCHEDULE {tomorrow} DO DELETE FROM t")
    assert found_by("runbook.P123", database) == []
    database.ask_nothing("SET GLOBAL event_scheduler = ON")
    try:
        [finding] = found_by("runbook.P123", database)
        assert finding == Finding(
            id="runbook.P123",
            severity=Severity.WARNING,
            message="The server's event scheduler is on, and these events of the database may write during "
            "the run: cleanup.",
            hint="ALTER EVENT `cleanup` DISABLE;",
        )
        database.ask_nothing(finding.hint.rstrip(";"))
        assert found_by("runbook.P123", database) == []
    finally:
        database.ask_nothing("SET GLOBAL event_scheduler = OFF")


@on_postgresql
def test_a_server_with_no_sessions_left_is_named(database: Database) -> None:
    [(free,)] = database.ask(
        "SELECT current_setting('max_connections')::int - count(*) FROM pg_stat_activity"
        " WHERE backend_type IN ('client backend', 'background worker', 'logical replication launcher')"
    )
    others = [database.connection.copy() for _number in range(free - 1)]
    try:
        for other in others:
            other.ensure_connection()
        [finding] = found_by("runbook.P123", database)
        assert finding.severity is Severity.WARNING
        assert finding.message.startswith("The server has ")
        assert finding.message.endswith(
            " sessions left of max_connections; a backup needs one beside the run's own."
        )
        assert database.ask(finding.hint.partition(": ")[2].rstrip(";"))
    finally:
        for other in others:
            other.close()
