"""Settings under which a promise would not hold are named, with the setting that mends them."""

from __future__ import annotations

import pytest
from looking import found_by

from django_runbook.databases import Database
from django_runbook.preflight import Finding, Severity

BROKEN = {
    "mariadb": {
        "SET SESSION sql_mode = 'ANSI_QUOTES'": "sql_mode is not strict in this session (ANSI_QUOTES): "
        "values that do not fit are cut off and stored, instead of refused.",
        "SET SESSION foreign_key_checks = 0": "foreign_key_checks is 0 in this session: rows could point at "
        "nothing.",
        "SET SESSION unique_checks = 0": "unique_checks is 0 in this session: the server may let duplicates "
        "pass.",
        "SET SESSION autocommit = 0": "autocommit is 0 in this session: statements would not be committed "
        "one by one.",
    },
    "postgresql": {
        "SET session_replication_role = replica": "session_replication_role is 'replica' in this session: "
        "foreign keys are not checked.",
    },
    "sqlite": {
        "PRAGMA foreign_keys = OFF": "Foreign keys are not checked in this session: rows could point at "
        "nothing.",
        "PRAGMA journal_mode = MEMORY": "SQLite's journal_mode is MEMORY: a process that is killed in the "
        "middle of a change leaves the file damaged.",
        "PRAGMA journal_mode = OFF": "SQLite's journal_mode is OFF: a process that is killed in the middle "
        "of a change leaves the file damaged.",
    },
}
WEAK = {
    "postgresql": {
        "SET synchronous_commit = off": "synchronous_commit is off in this session: after a power cut, "
        "commits that the run's journal speaks of may be gone. A kill does no such harm.",
        "SET default_transaction_isolation = 'serializable'": "Transactions of this session are "
        "'serializable': a backfill's batch fails if somebody changes one of its rows meanwhile.",
    },
    "sqlite": {
        "PRAGMA synchronous = OFF": "SQLite's synchronous is OFF: a power cut may leave the file damaged. A "
        "kill does no such harm.",
    },
}


def cases(settings: dict[str, dict[str, str]]) -> list[tuple[str, str, str]]:
    return [(kind, *pair) for kind, pairs in settings.items() for pair in pairs.items()]


def found(database: Database) -> list[Finding]:
    return found_by("runbook.P120", database)


@pytest.mark.parametrize(("database", "statement", "message"), cases(BROKEN), indirect=["database"])
def test_a_setting_that_breaks_a_promise_is_an_error(
    database: Database, statement: str, message: str
) -> None:
    database.ask_nothing(statement)
    assert [(it.severity, it.message) for it in found(database)] == [(Severity.ERROR, message)]


@pytest.mark.parametrize(("database", "statement", "message"), cases(WEAK), indirect=["database"])
def test_a_setting_that_only_a_power_cut_shows_is_a_warning(
    database: Database, statement: str, message: str
) -> None:
    database.ask_nothing(statement)
    assert [(it.severity, it.message) for it in found(database)] == [(Severity.WARNING, message)]


@pytest.mark.parametrize("database", ["mariadb"], indirect=True)
@pytest.mark.parametrize("mode", ["STRICT_TRANS_TABLES", "STRICT_ALL_TABLES,ANSI_QUOTES", "TRADITIONAL"])
def test_a_strict_mode_by_any_name_will_do(database: Database, mode: str) -> None:
    database.ask_nothing(f"SET SESSION sql_mode = '{mode}'")
    assert found(database) == []


@pytest.mark.parametrize("database", ["mariadb"], indirect=True)
def test_the_hint_is_an_option_that_mends_the_session(database: Database) -> None:
    database.connection.settings_dict["OPTIONS"]["init_command"] = "SET sql_mode = ''"
    [finding] = found(database)
    assert finding.hint == (
        'In DATABASES[\'mariadb\'], for this command: "OPTIONS": {"init_command": "SET sql_mode = '
        "CONCAT(@@sql_mode, ',STRICT_TRANS_TABLES')\"}"
    )
    database.connection.close()
    database.connection.settings_dict["OPTIONS"]["init_command"] = finding.hint.split('"')[-2]
    assert found(database) == []


@pytest.mark.parametrize("database", ["mariadb"], indirect=True)
def test_commits_that_a_power_cut_takes_back_are_a_warning(database: Database) -> None:
    database.ask_nothing("SET GLOBAL innodb_flush_log_at_trx_commit = 2")
    try:
        [finding] = found(database)
        assert finding == Finding(
            id="runbook.P120",
            severity=Severity.WARNING,
            message="innodb_flush_log_at_trx_commit is 2 on the server: after a power cut, commits that the "
            "run's journal speaks of may be gone, or pages torn. A kill does no such harm.",
            hint="For as long as the run lasts: SET GLOBAL innodb_flush_log_at_trx_commit = 1;",
            subject="innodb_flush_log_at_trx_commit",
        )
        database.ask_nothing(finding.hint.partition(": ")[2].rstrip(";"))
        assert found(database) == []
    finally:
        database.ask_nothing("SET GLOBAL innodb_flush_log_at_trx_commit = 1")


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_a_server_without_fsync_is_a_warning_and_the_hint_mends_it(database: Database) -> None:
    database.ask_nothing("ALTER SYSTEM SET full_page_writes = off")
    try:
        database.ask("SELECT pg_reload_conf(), pg_sleep(0.2)")
        [finding] = found(database)
        assert (finding.severity, finding.subject) == (Severity.WARNING, "full_page_writes")
        for statement in finding.hint.split(";")[:2]:
            database.ask_nothing(statement)
        database.ask("SELECT pg_sleep(0.2)")
        assert found(database) == []
    finally:
        database.ask_nothing("ALTER SYSTEM RESET full_page_writes")
        database.ask("SELECT pg_reload_conf()")


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_database_in_memory_may_keep_its_journal_there(database: Database) -> None:
    database.connection.settings_dict["NAME"] = ":memory:"
    assert database.ask("PRAGMA journal_mode") == [("memory",)]
    assert found(database) == []
