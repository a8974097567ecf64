"""A server on this machine without room for its largest table is named."""

from __future__ import annotations

import shutil
from collections import namedtuple
from pathlib import Path

import pytest
from library import EXPAND, INITIAL, UNIQUE, runbook, start
from looking import found_by

from django_runbook.databases import Database
from django_runbook.plan import make_plan
from django_runbook.preflight import Finding, Severity
from django_runbook.steps import Backup, Migrate

Usage = namedtuple("Usage", "total used free")
APPLIED = [INITIAL[0], EXPAND[0]]
PLAN = make_plan(runbook(Backup(), Migrate.all()), start(INITIAL, EXPAND, UNIQUE, applied=APPLIED))
NEW = make_plan(runbook(Backup(), Migrate.all()), start(INITIAL))


def with_free(bytes: int, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Let every disk have so many bytes free. The list fills with the folders that are asked for."""
    asked: list[Path] = []

    def usage(folder: Path) -> Usage:
        asked.append(folder)
        return Usage(bytes, 0, bytes)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    return asked


def test_too_little_room_for_the_largest_table_is_named(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.ask_nothing("CREATE TABLE library_author (id INT PRIMARY KEY, slug VARCHAR(80))")
    database.ask_nothing("CREATE TABLE other (id INT PRIMARY KEY)")
    asked = with_free(1, monkeypatch)
    [finding] = found_by("runbook.P113", database, PLAN)
    [folder] = asked
    table = Path(database.name).name if database.alias == "default" else "library_author"
    needed = finding.message.split("may need ")[1].split(" in ")[0]
    assert finding == Finding(
        id="runbook.P113",
        severity=Severity.WARNING,
        message=f"The plan changes {table}, and the server may need {needed} in {folder} to make it anew; 1 "
        "MiB are free.",
        hint="Free some space there: a server whose disk is full stops.",
        subject=table,
    )
    assert folder.is_dir()
    with_free(2**40, monkeypatch)
    assert found_by("runbook.P113", database, PLAN) == []


def test_new_tables_need_no_room(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    with_free(1, monkeypatch)
    assert found_by("runbook.P113", database, NEW) == []
