"""All models of an export are read as they were at one moment."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from django.db import transaction

from django_runbook.databases import Database
from django_runbook.exceptions import Refused
from django_runbook.fixtures import export

Zoo = Callable[..., Database]


def test_rows_that_move_between_tables_during_an_export_are_in_it_once(zoo: Zoo, tmp_path: Path) -> None:
    assert rows_of_both_tables(zoo(), tmp_path) == 2


@pytest.mark.parametrize("database", ["mariadb", "postgresql"], indirect=True)
def test_without_the_snapshot_the_same_drill_finds_a_row_twice(
    zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = zoo()
    monkeypatch.setattr(type(database), "snapshot_statements", ())
    assert rows_of_both_tables(database, tmp_path) == 3


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
