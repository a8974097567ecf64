from __future__ import annotations

import time

import pytest
from children import start_child
from django.db import OperationalError, connections
from situations import run

from django_runbook.databases import Database
from django_runbook.exceptions import LockHeld, SessionLost

HOLDER = """
    with get_database("{alias}").lock():
        ready()
        wait()
"""


def wait_until_free(database: Database) -> bool:
    """A server notices the end of a client a moment later."""
    deadline = time.monotonic() + 10
    while database.lock_holder() is not None:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def test_a_second_process_is_refused_and_told_who_holds_the_lock(database: Database) -> None:
    with start_child(HOLDER.format(alias=database.alias), database) as child:
        child.wait_until_ready()
        holder = database.lock_holder()
        with pytest.raises(LockHeld) as caught, database.lock():
            pass
        assert str(caught.value) == (
            f"{holder} runs a runbook on database '{database.alias}'.\n"
            "Wait for it to end, or look with `manage.py runbook status`."
        )
        assert child.let_go() == 0
    assert wait_until_free(database)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_the_holder_of_a_file_lock_is_named_by_its_process(database: Database) -> None:
    with start_child(HOLDER.format(alias=database.alias), database) as child:
        child.wait_until_ready()
        assert database.lock_holder() == f"process {child.pid}"


@pytest.mark.parametrize("database", ["mariadb", "postgresql"], indirect=True)
def test_the_holder_of_a_server_lock_is_named_by_its_session(database: Database) -> None:
    sql = "SELECT CONNECTION_ID()" if database.connection.vendor == "mysql" else "SELECT pg_backend_pid()"
    with database.lock():
        assert database.lock_holder() == f"session {database.ask(sql)[0][0]}"


def test_a_killed_holder_lets_go_of_the_lock(database: Database) -> None:
    with start_child(HOLDER.format(alias=database.alias), database) as child:
        child.wait_until_ready()
        assert database.lock_holder() is not None
        child.kill()
        assert wait_until_free(database)
    with database.lock():
        assert database.lock_holder() is not None


def test_leaving_the_block_frees_the_lock_even_through_an_error(database: Database) -> None:
    with pytest.raises(ZeroDivisionError), database.lock():
        raise ZeroDivisionError
    assert database.lock_holder() is None


def test_asking_for_the_holder_changes_nothing(database: Database) -> None:
    assert database.lock_holder() is None
    with database.lock():
        assert database.lock_holder() == database.lock_holder()


@pytest.mark.parametrize("database", ["mariadb", "postgresql"], indirect=True)
def test_a_statement_on_another_session_than_the_locks_is_refused(database: Database) -> None:
    kill = {"mysql": "KILL CONNECTION_ID()", "postgresql": "SELECT pg_terminate_backend(pg_backend_pid())"}
    with database.lock():
        with pytest.raises(OperationalError):
            run(database, kill[database.connection.vendor])
        database.connection.close_if_unusable_or_obsolete()
        with pytest.raises(SessionLost, match="the run's lock with it"):
            run(database, "CREATE TABLE written_without_the_lock (x INTEGER)")
    assert database.row_counts() == {}


def test_a_connection_that_was_closed_is_not_silently_reopened(database: Database) -> None:
    with database.lock():
        database.connection.close()
        with pytest.raises(SessionLost):
            run(database, "CREATE TABLE written_without_the_lock (x INTEGER)")
    assert database.row_counts() == {}


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_the_statement_of_a_killed_lock_holder_is_cancelled_with_it(database: Database) -> None:
    with start_child(
        """
        with get_database("postgresql").lock():
            ready()
            get_database("postgresql").ask("SELECT pg_sleep(600)")
        """,
        database,
    ) as child:
        child.wait_until_ready()
        asleep = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
        while database.ask(asleep) != [(1,)]:
            time.sleep(0.02)
        child.kill()
    assert wait_until_free(database)
    assert database.ask(asleep) == [(0,)]


@pytest.mark.parametrize("database", ["mariadb"], indirect=True)
def test_two_databases_of_one_server_can_be_locked_at_once(database: Database) -> None:
    name = database.name
    run(database, f"CREATE DATABASE {name}_b")
    other = database.connection.copy()
    other.settings_dict = {**other.settings_dict, "NAME": f"{name}_b"}
    connections["mariadb"] = database.connection
    try:
        with database.lock():
            mine = database.connection
            connections["mariadb"] = other
            assert database.lock_holder() is None
            with database.lock():
                assert database.lock_holder() is not None
            connections["mariadb"] = mine
            assert database.lock_holder() is not None
    finally:
        other.close()
        run(database, f"DROP DATABASE {name}_b")


@pytest.mark.parametrize("database", ["mariadb"], indirect=True)
def test_the_longest_database_name_still_makes_a_lock_name_that_mysql_takes(database: Database) -> None:
    database.connection.settings_dict["NAME"] = "x" * 64
    assert len(database.lock_name) <= 64  # type: ignore[attr-defined]


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_symbolic_link_to_the_database_shares_its_lock(database: Database) -> None:
    link = f"{database.name}-link"
    database.lock_file.with_name(link.rpartition("/")[2]).symlink_to(database.name)  # type: ignore[attr-defined]
    with start_child(HOLDER.format(alias=database.alias), database) as child:
        child.wait_until_ready()
        database.connection.close()
        database.connection.settings_dict["NAME"] = link
        assert database.lock_holder() == f"process {child.pid}"


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_database_in_memory_needs_no_lock_file(database: Database) -> None:
    database.connection.settings_dict["NAME"] = ":memory:"
    with database.lock():
        assert database.lock_holder() is None
        assert database.ask("SELECT 1") == [(1,)]
    database.connection.connection.close()  # Django keeps a database in memory open
