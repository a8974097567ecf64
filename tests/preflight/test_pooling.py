"""Poolers that share sessions are found on the real connection; others, and none, are let through."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from threading import Event, Thread
from typing import Any

import pytest
from django.db import connections
from looking import situation
from private_pooler import PgBouncer

from django_runbook.databases import Database
from django_runbook.databases.pooling import NoSecondConnection, sign_of_pooling
from django_runbook.exceptions import Refused
from django_runbook.preflight import Examination, Finding, Severity, refuse_findings

MakePooled = Callable[..., Database]
SHARING = {
    "a pool in transaction mode": ("transaction", {}),
    "one with a single session": ("transaction", {"default_pool_size": 1}),
    "one that hands its sessions out in turn": ("transaction", {"server_round_robin": 1}),
    "one that cleans them each time": ("transaction", {"server_reset_query_always": 1}),
    "a pool in statement mode": ("statement", {}),
}


@pytest.fixture
def make_pooled(
    make_database: Callable[[str], Database], start_pooler: Callable[..., PgBouncer]
) -> Callable[..., Database]:
    """Call it with a pool mode and settings of PgBouncer to get a database that is reached through it."""

    def make(mode: str, **settings: object) -> Database:
        database = make_database("postgresql")
        pooler = start_pooler(mode, **settings)
        for place in (connections.settings[database.alias], database.connection.settings_dict):
            place.update(HOST=pooler.host, PORT=str(pooler.port))
        return database

    return make


def found(database: Database) -> list[Finding]:
    return [finding for finding in situation(database) if finding.id == "runbook.P110"]


@pytest.mark.parametrize(("mode", "settings"), SHARING.values(), ids=SHARING)
def test_a_pool_that_shares_sessions_is_refused(
    make_pooled: MakePooled, mode: str, settings: dict[str, Any]
) -> None:
    [finding] = found(make_pooled(mode, **settings))
    assert finding.severity is Severity.ERROR
    assert re.sub(r"server process \d+|a setting of .* transaction", "SIGN", finding.message) == (
        "A connection pooler in transaction or statement mode stands before database 'postgresql': "
        + ("SIGN" if "server_reset_query_always" in settings else "SIGN served two connections at a time")
        + ". The run's lock, and all else that a session holds, would not last from one statement to the "
        "next."
    )
    assert finding.hint == (
        "Connect directly, or through a pool in session mode (PgBouncer: pool_mode = session): "
        "change HOST and PORT in DATABASES['postgresql'] for this command."
    )
    with pytest.raises(Refused, match=r"runbook\.P110"):
        refuse_findings(Examination(plan=None, findings=(finding,)))


def test_a_pool_in_session_mode_is_let_through(make_pooled: MakePooled) -> None:
    database = make_pooled("session")
    assert found(database) == []
    with database.lock():
        assert database.lock_holder()


def test_a_direct_connection_is_let_through(database: Database) -> None:
    assert found(database) == []


@pytest.mark.parametrize("mode", ["transaction", "session"])
def test_a_setting_against_server_side_cursors_is_no_sign(make_pooled: MakePooled, mode: str) -> None:
    """Django's manual advises it for transaction pooling; it may be left over, or forgotten."""
    database = make_pooled(mode)
    for without_cursors in (False, True):
        database.connection.settings_dict["DISABLE_SERVER_SIDE_CURSORS"] = without_cursors
        assert len(found(database)) == (mode == "transaction")


def test_one_of_several_poolers_on_a_port_is_found(
    make_pooled: MakePooled, start_pooler: Callable[..., PgBouncer]
) -> None:
    """Each has sessions of its own, so that most second connections cannot meet the first one's."""
    database = make_pooled("transaction", so_reuseport=1)
    port = int(database.connection.settings_dict["PORT"])
    start_pooler("transaction", so_reuseport=1, listen_port=port)
    assert len(found(database)) == 1


def test_a_pool_that_moves_a_connection_among_its_sessions_is_found(make_pooled: MakePooled) -> None:
    database = make_pooled("transaction", server_round_robin=1)
    others = [database.connection.copy() for _number in range(3)]
    for other in others:
        other.set_autocommit(False)
        other.cursor().execute("SELECT 1")
    for other in others:
        other.rollback()
        other.close()
    [finding] = found(database)
    assert re.search(r": server process \d+ served this connection, then \d+ did\.", finding.message)


def test_a_pool_with_other_clients_is_found(make_pooled: MakePooled) -> None:
    database = make_pooled("transaction", default_pool_size=4)
    done = Event()

    def work() -> None:
        other = database.connection.copy()
        while not done.is_set():
            with other.cursor() as cursor:
                cursor.execute("SELECT pg_sleep(0.001)")
        other.close()

    threads = [Thread(target=work) for _number in range(3)]
    for thread in threads:
        thread.start()
    try:
        assert len(found(database)) == 1
    finally:
        done.set()
        for thread in threads:
            thread.join()


def test_the_run_lock_is_not_taken_through_a_pool_that_shares_sessions(make_pooled: MakePooled) -> None:
    database = make_pooled("transaction")
    with pytest.raises(Refused, match="A connection pooler in transaction or statement mode"):
        database.lock().__enter__()
    assert database.lock_holder() is None


def test_a_pool_in_session_mode_without_a_second_session_cannot_be_told(make_pooled: MakePooled) -> None:
    database = make_pooled("session", default_pool_size=1)
    with pytest.raises(NoSecondConnection, match=r"^no answer in 1 s$"):
        sign_of_pooling(database.connection, timedelta(seconds=1))


def test_a_second_connection_that_is_refused_leaves_it_untold(
    make_database: Callable[[str], Database],
) -> None:
    database = make_database("postgresql")
    database.ask_nothing("CREATE ROLE alone LOGIN PASSWORD 'alone' CONNECTION LIMIT 1")
    database.connection.close()
    before = dict(database.connection.settings_dict)
    database.connection.settings_dict.update(USER="alone", PASSWORD="alone")
    try:
        [finding] = found(database)
    finally:
        database.connection.close()
        database.connection.settings_dict.update(before)
        database.ask_nothing("DROP ROLE alone")
    assert finding.severity is Severity.ERROR
    assert finding.message.startswith(
        "Whether a connection pooler shares the sessions of database 'postgresql' cannot be told, because a "
        "second connection failed: "
    )
    assert finding.message.endswith('too many connections for role "alone"')
    assert finding.hint == "Make room for a second connection, which the backup needs too, and try again."
