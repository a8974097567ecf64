"""DDL waits for its locks briefly and often, and says who holds them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.db import connections, migrations, models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.recorder import MigrationRecorder
from django.db.migrations.state import ProjectState
from library import history

from django_runbook.databases import Database
from django_runbook.exceptions import RunbookError
from django_runbook.ledger import Ledger
from django_runbook.schema import locks
from django_runbook.schema.executor import CrashSafeExecutor

SHORT = timedelta(seconds=1)
pytestmark = pytest.mark.parametrize("database", ["mariadb", "postgresql"], indirect=True)


PAST = history(
    ("0001", [migrations.CreateModel("Book", [("id", models.BigAutoField(primary_key=True))])]),
    ("0002", [migrations.AddField("book", "pages", models.IntegerField(null=True))]),
)
ADD = PAST.migration(("library", "0002"))


def executor_for(database: Database) -> CrashSafeExecutor:
    executor = CrashSafeExecutor(database, "run")
    executor.loader = PAST.loader
    return executor


@pytest.fixture
def state(database: Database) -> ProjectState:
    """With an empty table of books."""
    MigrationRecorder(database.connection).ensure_schema()
    Ledger(database.connection).ensure()
    return executor_for(database).apply_migration(ProjectState(), PAST.migration(("library", "0001")))


@pytest.fixture
def reader(database: Database, state: ProjectState) -> Iterator[BaseDatabaseWrapper]:
    """Another session, in a transaction that has read the table: enough to hold up an ALTER."""
    other = connections.create_connection(database.alias)
    other.set_autocommit(False)
    other.cursor().execute("SELECT * FROM library_book")
    yield other
    other.close()


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "pause", lambda number: 0.0)


def test_a_blocked_migration_names_the_holder_and_is_applied_once_the_lock_is_free(
    database: Database, state: ProjectState, reader: BaseDatabaseWrapper
):
    told: list[str] = []

    def free(holders: str) -> None:
        told.append(holders)
        reader.rollback()

    executor = executor_for(database)
    executor.blocked = free
    with database.lock_timeout(SHORT):
        executor.apply_migration(state, ADD)
    assert len(told) == 1
    assert told[0].startswith("session ")
    assert database.ask("SELECT pages FROM library_book") == []
    assert ("library", "0002") in MigrationRecorder(database.connection).applied_migrations()


def test_a_lock_that_is_never_free_fails_the_migration_and_changes_nothing(
    database: Database,
    state: ProjectState,
    reader: BaseDatabaseWrapper,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(locks, "ATTEMPTS", 2)
    with (
        database.lock_timeout(SHORT),
        pytest.raises(
            RunbookError, match="A lock was not free in 2 attempts; it seems to be held by session"
        ),
    ):
        executor_for(database).apply_migration(state.clone(), ADD)
    reader.rollback()
    assert ("library", "0002") not in MigrationRecorder(database.connection).applied_migrations()
    executor_for(database).apply_migration(state, ADD)
    assert database.ask("SELECT pages FROM library_book") == []


def test_the_timeout_ends_with_its_block(database: Database):
    before = setting(database)
    with database.lock_timeout(SHORT):
        assert setting(database) != before
    assert setting(database) == before


def setting(database: Database) -> object:
    name = (
        "@@SESSION.lock_wait_timeout"
        if database.connection.vendor == "mysql"
        else "current_setting('lock_timeout')"
    )
    return database.ask(f"SELECT {name}")
