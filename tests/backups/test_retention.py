"""Old backups go when a new one is there, and never one that somebody may need."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings
from folder_dumpers import provide
from situations import run

from django_runbook.backups import (
    Level,
    Manifest,
    Taken,
    Terms,
    find_backups,
    manifest,
    retention,
    take_backup,
)
from django_runbook.backups.retention import Rules, outlived, remove_backup
from django_runbook.databases import Database, Server
from django_runbook.exceptions import BackupFailed

NOW = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)
DAY = timedelta(days=1)
pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


@pytest.fixture
def folder(tmp_path: Path, database: Database) -> Path:
    run(database, "CREATE TABLE t (id INTEGER PRIMARY KEY)")
    return tmp_path / "backups"


def take(
    database: Database, folder: Path, day: int, *, unfinished: Collection[str] = (), **terms: Any
) -> Taken:
    return take_backup(
        database,
        folder,
        terms=Terms(**terms),
        unfinished=unfinished,
        run_id=f"run-{day}",
        now=NOW + day * DAY,
    )


def days_left(folder: Path) -> list[int]:
    """Newest first."""
    return [(it.created - NOW).days for it in find_backups(folder)]


def keeping(**rules: int) -> override_settings:
    return override_settings(RUNBOOK={"BACKUP": rules})


def test_without_a_rule_all_are_kept(database: Database, folder: Path) -> None:
    assert [take(database, folder, day).removed for day in range(4)] == [()] * 4
    assert days_left(folder) == [3, 2, 1, 0]


def test_the_last_ones_are_kept_and_the_others_leave_nothing(database: Database, folder: Path) -> None:
    first, *_others = [take(database, folder, day) for day in range(4)]
    with keeping(KEEP_LAST=2):
        taken = take(database, folder, 4)
    assert days_left(folder) == [4, 3]
    assert len(list(folder.iterdir())) == 4
    assert first.manifest.file in taken.removed
    assert taken.facts()["removed"] == list(taken.removed)
    assert len(taken.removed) == 3


def test_a_backup_is_kept_for_its_days(database: Database, folder: Path) -> None:
    for day in range(4):
        take(database, folder, day)
    with keeping(KEEP_DAYS=2):
        take(database, folder, 4)
    assert days_left(folder) == [4, 3]


def test_one_rule_that_keeps_it_is_enough(database: Database, folder: Path) -> None:
    for day in range(4):
        take(database, folder, day)
    with keeping(KEEP_DAYS=2, KEEP_LAST=4):
        take(database, folder, 4)
    assert days_left(folder) == [4, 3, 2, 1]


def test_the_backup_of_an_unfinished_run_stays(database: Database, folder: Path) -> None:
    for day in range(3):
        take(database, folder, day)
    with keeping(KEEP_LAST=1):
        take(database, folder, 3, unfinished={"run-1", "run-3"})
    assert days_left(folder) == [3, 1]


def test_the_newest_proven_one_stays(database: Database, folder: Path) -> None:
    take(database, folder, 0, level=Level.PROVEN)
    take(database, folder, 1, level=Level.PROVEN)
    take(database, folder, 2)
    with keeping(KEEP_LAST=1):
        take(database, folder, 3)
        assert days_left(folder) == [3, 1]
        take(database, folder, 4, level=Level.PROVEN)
    assert days_left(folder) == [4]


def test_backups_of_another_database_are_not_touched(database: Database, folder: Path) -> None:
    other = take(database, folder, 0).manifest
    other.path.write_text(manifest.to_json(replace(other, identity={**other.identity, "host": "elsewhere"})))
    with keeping(KEEP_LAST=1):
        take(database, folder, 1)
    assert days_left(folder) == [1, 0]


def test_a_folder_goes_with_all_its_files(
    database: Database, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    provide(monkeypatch, database)
    take(database, folder, 0, dumper="pieces")
    with keeping(KEEP_LAST=1):
        take(database, folder, 1)
    assert len(list(folder.iterdir())) == 2


def test_a_backup_that_fails_removes_none(
    database: Database, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take(database, folder, 0)

    def failing(dumper: Any, target: Any, **terms: Any) -> None:
        raise dumper.backup_failed("the server is gone.")

    monkeypatch.setattr(type(database.dumper), "dump", failing)
    with keeping(KEEP_LAST=1), pytest.raises(BackupFailed):
        take(database, folder, 1)
    assert days_left(folder) == [0]


def test_a_backup_that_cannot_be_removed_is_told_and_is_no_failure(
    database: Database, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = take(database, folder, 0).manifest

    def refusing(manifest: Manifest) -> None:
        raise PermissionError

    monkeypatch.setattr("django_runbook.backups.taking.remove_backup", refusing)
    with keeping(KEEP_LAST=1):
        taken = take(database, folder, 1)
    assert taken.facts()["not_removed"] == [old.file]
    assert "removed" not in taken.facts()


@pytest.mark.parametrize("moment", [0, 1])
def test_a_removal_that_is_cut_off_leaves_nothing_that_looks_whole_and_is_gone_on_with(
    database: Database, folder: Path, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    old = take(database, folder, 0).manifest
    removals: list[Path] = []

    def cut_off(path: Path) -> None:
        removals.append(path)
        if len(removals) > moment:
            raise KeyboardInterrupt
        path.unlink()

    with monkeypatch.context() as patched:
        patched.setattr(retention, "remove", cut_off)
        with pytest.raises(KeyboardInterrupt):
            remove_backup(old)
    assert find_backups(folder) == []
    assert len(list(folder.iterdir())) == 2 - moment
    taken = take(database, folder, 1)
    assert taken.swept == (f"{old.path.name}.partial",)
    assert {path.name for path in folder.iterdir()} == {taken.manifest.file, taken.manifest.path.name}


def made(day: int, **more: Any) -> Manifest:
    values: dict[str, Any] = {
        "path": Path(f"/backups/{day}.manifest.json"),
        "file": str(day),
        "files": (),
        "dumper": "",
        "created": NOW + day * DAY,
        "alias": "default",
        "identity": {"name": "shop"},
        "server": Server(product="SQLite", version=(3,)),
        "dump_bytes": 0,
        "tables": {},
    }
    return Manifest(**{**values, **more})


def test_the_new_backup_stays_even_if_the_clock_says_that_it_is_old(database: Database) -> None:
    new, old = made(0), made(5)
    assert outlived([old, new], new, Rules(last=1), unfinished=(), now=NOW + 9 * DAY) == []
    assert outlived([old, new], new, Rules(days=1), unfinished=(), now=NOW + 9 * DAY) == [old]
