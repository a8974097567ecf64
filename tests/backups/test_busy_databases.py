"""A backup that is taken while others write is proven all the same, and keeps them waiting for no long."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread
from time import monotonic

import pytest
from situations import fill, run

from django_runbook.backups import Level, Terms, make_backup
from django_runbook.databases import Database, mysql_moments

PROVEN = Terms(level=Level.PROVEN)
NOW = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)


class Writer(Thread):
    """Adds rows to a table, each in a transaction of its own, on a session of its own."""

    def __init__(self, database: Database) -> None:
        super().__init__()
        self.database = database
        self.number = 0
        self.longest = 0.0
        """Seconds that one row took."""
        self.ended = Event()

    def run(self) -> None:
        try:
            while not self.ended.is_set():
                began = monotonic()
                self.database.ask_nothing("INSERT INTO busy (number) VALUES (1)")
                self.longest = max(self.longest, monotonic() - began)
                self.number += 1
        finally:
            self.database.connection.close()


@contextmanager
def written_to(database: Database) -> Iterator[Writer]:
    writer = Writer(database)
    writer.start()
    try:
        yield writer
    finally:
        writer.ended.set()
        writer.join()


@contextmanager
def open_transaction(database: Database) -> Iterator[None]:
    """Another session has written a row, and does not end its transaction."""
    session = database.connection.copy()
    session.set_autocommit(False)
    with session.cursor() as cursor:
        cursor.execute("INSERT INTO busy (number) VALUES (2)")
    try:
        yield
    finally:
        session.rollback()
        session.close()


@pytest.fixture(params=["mariadb", "postgresql"])
def busy(request: pytest.FixtureRequest, make_database) -> Database:
    database = make_database(request.param)
    fill(database)
    run(database, "CREATE TABLE busy (number integer NOT NULL)")
    return database


def test_every_table_is_compared_although_one_is_written_to_all_the_time(
    busy: Database, tmp_path: Path
) -> None:
    with written_to(busy) as writer:
        manifests = [make_backup(busy, tmp_path / "backups", terms=PROVEN, now=NOW) for _ in range(3)]
    assert [it.level for it in manifests] == [Level.PROVEN] * 3
    rows = [it.tables["busy"].rows for it in manifests]
    assert 0 < rows[0] < rows[1] < rows[2] <= writer.number
    assert writer.longest < mysql_moments.LOCK_SECONDS


@pytest.mark.parametrize("busy", ["mariadb"], indirect=True)
def test_a_transaction_that_does_not_end_costs_the_proof_of_no_table_that_stays_as_it_is(
    busy: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mysql_moments, "LOCK_PAUSES", ())
    with open_transaction(busy):
        made = make_backup(busy, tmp_path / "backups", terms=PROVEN, now=NOW)
    assert made.level is Level.PROVEN
    with open_transaction(busy), written_to(busy):
        made = make_backup(busy, tmp_path / "backups", terms=PROVEN, now=NOW)
    assert made.level is Level.CHECKSUMMED
    assert made.level_reason.endswith("not compared: busy")
    assert made.restore_seconds
    assert "parent" in made.tables
