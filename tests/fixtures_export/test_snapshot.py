"""All models of an export are read as they were at one moment."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from importlib import import_module
from pathlib import Path

import pytest
from django.db import transaction

from django_runbook.databases import Database
from django_runbook.databases.readers import Readers
from django_runbook.exceptions import Refused
from django_runbook.fixtures import export

Zoo = Callable[..., Database]


@pytest.fixture
def readers(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let every database be large; how many further sessions each snapshot had."""
    monkeypatch.setattr(import_module("django_runbook.fixtures.export"), "SMALL", 0)
    found: list[int] = []
    enter = Readers.__enter__

    def counted(self: Readers) -> Readers:
        enter(self)
        found.append(len(self._threads))
        return self

    monkeypatch.setattr(Readers, "__enter__", counted)
    return found


def test_rows_that_move_between_tables_during_an_export_are_in_it_once(zoo: Zoo, tmp_path: Path) -> None:
    assert rows_of_both_tables(zoo(), tmp_path) == 2


@pytest.mark.parametrize("database", ["mariadb", "postgresql"], indirect=True)
def test_without_the_snapshot_the_same_drill_finds_a_row_twice(
    zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = zoo()
    monkeypatch.setattr(type(database), "snapshot_statements", ())
    assert rows_of_both_tables(database, tmp_path) == 3


@pytest.mark.parametrize("database", ["sqlite", "postgresql"], indirect=True)
def test_several_sessions_read_one_state(
    zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, readers: list[int]
) -> None:
    database = zoo()
    assert rows_of_both_tables(database, tmp_path) == 2
    assert readers == [{"sqlite": 1, "postgresql": 2}[database.connection.vendor]]


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_sessions_that_do_not_share_the_snapshot_find_a_row_twice(
    zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, readers: list[int]
) -> None:
    database = zoo()
    monkeypatch.setattr(type(database), "sharing_statements", lambda self: ("BEGIN",))
    assert rows_of_both_tables(database, tmp_path) == 3
    assert readers == [2]


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_nobody_writes_between_the_beginnings_of_the_sessions(zoo: Zoo) -> None:
    database = zoo()
    with closing(sqlite3.connect(database.name, timeout=0, isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode=WAL")
        with database.still(2) as wanted:
            assert wanted == 2
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                other.execute("DELETE FROM zoo_ticket")
        assert other.execute("DELETE FROM zoo_ticket").rowcount == 1


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_one_session_reads_while_somebody_writes(
    zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, readers: list[int]
) -> None:
    database = zoo()
    with closing(sqlite3.connect(database.name, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert export(database, ["zoo.Ticket"], tmp_path / "zoo.json").objects == {"zoo.Ticket": 1}
    assert readers == [0]


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_a_server_without_further_sessions_is_read_by_one(
    zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, readers: list[int]
) -> None:
    database = zoo()
    monkeypatch.setattr(type(database), "sharing_statements", lambda self: ("BEGIN", "no statement"))
    assert export(database, ["zoo.Ticket"], tmp_path / "zoo.json").objects == {"zoo.Ticket": 1}
    assert readers == [0]


def test_an_export_within_a_transaction_is_refused(zoo: Zoo, tmp_path: Path) -> None:
    database = zoo(filled=False)
    with transaction.atomic(using=database.alias), pytest.raises(Refused):
        export(database, ["zoo"], tmp_path / "zoo.json")


@pytest.mark.parametrize("database", ["postgresql", "mariadb"], indirect=True)
def test_a_snapshot_refuses_writes(zoo: Zoo) -> None:
    database = zoo(filled=False)
    with pytest.raises(Exception, match=r"(?i)read.only"), database.snapshot():
        database.connection.cursor().execute("DELETE FROM zoo_ticket")


def test_after_an_export_the_connection_writes_again(zoo: Zoo, tmp_path: Path) -> None:
    database = zoo()
    export(database, ["zoo"], tmp_path / "zoo.json")
    with database.connection.cursor() as cursor:
        cursor.execute("DELETE FROM zoo_ticket")
    assert export(database, ["zoo"], tmp_path / "zoo.json").objects["zoo.Ticket"] == 0


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_an_export_takes_no_write_lock_where_transactions_are_immediate(zoo: Zoo, tmp_path: Path) -> None:
    database = zoo()
    database.connection.ensure_connection()
    database.connection.transaction_mode = "IMMEDIATE"
    assert rows_of_both_tables(database, tmp_path) == 2
    assert database.connection.transaction_mode == "IMMEDIATE"


def rows_of_both_tables(database: Database, tmp_path: Path) -> int:
    """Move the only ticket to the table of old rows after the tickets are read; count what is exported."""
    if database.connection.vendor == "sqlite":
        database.connection.cursor().execute("PRAGMA journal_mode=WAL")
    other = database.connection.copy()
    moved = []

    def move(label: str, done: int) -> None:
        if label == "zoo.Ticket":
            with other.cursor() as cursor:
                other.set_autocommit(False)
                cursor.execute("DELETE FROM zoo_ticket")
                cursor.execute("INSERT INTO zoo_old (id, label) VALUES (2, 'was a ticket')")
                other.commit()
                moved.append(label)

    try:
        export(database, ["zoo.Ticket", "zoo.Old"], tmp_path / "both.json", progress=move)
    finally:
        other.close()
    assert moved == ["zoo.Ticket"]
    return len(json.loads((tmp_path / "both.json").read_text()))
