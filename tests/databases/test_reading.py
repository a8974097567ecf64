"""A session that may only read, and only for so long."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest
from django.db import Error as AnyDatabaseError

from django_runbook.databases import Database
from django_runbook.exceptions import TimeLimitReached

LONG = timedelta(minutes=1)
SHORT = timedelta(milliseconds=300)
DIGITS = " UNION ALL ".join(f"SELECT {digit} AS n" for digit in range(10))
PLACES = ", ".join(f"({DIGITS}) AS d{place}" for place in range(14))
ENDLESS = f"SELECT COUNT(*) FROM {PLACES} WHERE d0.n + d13.n < 0"
"""Takes days, on every server."""


def test_every_change_is_refused_and_nothing_is_afterwards(database: Database) -> None:
    database.ask_nothing("CREATE TABLE t (id INTEGER)")
    with database.reading(LONG):
        assert database.ask("SELECT COUNT(*) FROM t") == [(0,)]
        with pytest.raises(AnyDatabaseError):
            database.ask_nothing("INSERT INTO t VALUES (1)")
        with pytest.raises(AnyDatabaseError):
            database.ask_nothing("CREATE TABLE u (id INTEGER)")
    database.ask_nothing("INSERT INTO t VALUES (1)")
    assert database.ask("SELECT COUNT(*) FROM t") == [(1,)]


def test_a_statement_ends_at_the_limit_and_no_later_one_begins(database: Database) -> None:
    database.connection.ensure_connection()
    began = time.monotonic()
    with database.reading(SHORT):
        with pytest.raises(TimeLimitReached):
            database.ask(ENDLESS)
        with pytest.raises(TimeLimitReached):
            database.ask("SELECT 1")
    assert time.monotonic() - began < LONG.total_seconds()
    assert database.ask("SELECT 1") == [(1,)]


def test_the_limit_is_of_all_statements_together(database: Database) -> None:
    with database.reading(SHORT), pytest.raises(TimeLimitReached):
        _ask_often(database)


def _ask_often(database: Database) -> None:
    for _turn in range(1_000):
        database.ask("SELECT 1")
        time.sleep(0.01)


def test_what_is_read_once_is_read_anew_in_the_next_block(database: Database):
    asked = []

    def read(of: Database) -> int:
        asked.append(of)
        return len(asked)

    assert [database.once(read), database.once(read)] == [1, 2]
    for first in (3, 4):
        with database.reading(timedelta(minutes=1)):
            assert [database.once(read), database.once(read)] == [first, first]
