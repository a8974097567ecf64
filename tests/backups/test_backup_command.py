"""`runbook backup`, and `runbook restore` of what it made."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyrage
import pytest
from django.core.files.storage import InMemoryStorage
from django.core.management import CommandError, call_command
from django.test import override_settings
from rich.console import Console
from situations import fill, run

from django_runbook.backups import Level, Stage, Terms, find_backups, make_backup, progress
from django_runbook.databases import Database
from django_runbook.report.backup import LiveBackup

KEY = pyrage.x25519.Identity.generate()
pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


@pytest.fixture(autouse=True)
def backups(database: Database, tmp_path: Path) -> Iterator[Path]:
    """The folder of the backups."""
    fill(database)
    memory = {"BACKEND": f"{InMemoryStorage.__module__}.InMemoryStorage"}
    with override_settings(RUNBOOK={"DIR": tmp_path / "runs"}, STORAGES={"far": memory}):
        yield tmp_path / "runs" / "backups"


def runbook(*words: str) -> str:
    stdout, stderr = io.StringIO(), io.StringIO()
    call_command("runbook", *words, stdout=stdout, stderr=stderr)
    assert not stderr.getvalue()
    return stdout.getvalue()


def with_settings(tmp_path: Path, **backup: Any) -> override_settings:
    return override_settings(RUNBOOK={"DIR": tmp_path / "runs", "BACKUP": backup})


def test_the_words_say_what_is_known_of_the_backup(backups: Path) -> None:
    said = runbook("backup").replace("\n", "")
    [made] = find_backups(backups)
    for words in (
        f"{made.bytes} bytes, SHA-256 ",
        "Made by online backup: this kind of database has no other",
        "Proven by a restore, which took ",
    ):
        assert words in said


def test_the_level_on_the_command_line_goes_before_the_settings(backups: Path, tmp_path: Path) -> None:
    with with_settings(tmp_path, LEVEL="proven"):
        said = runbook("backup", "--level", "checksummed")
    assert "Not proven: no proof was asked for" in said
    with with_settings(tmp_path, LEVEL="checksummed"):
        runbook("backup", "--level", "proven")
    assert [it.level for it in find_backups(backups)] == ["proven", "checksummed"]


def test_another_level_is_refused(backups: Path) -> None:
    with pytest.raises(SystemExit, match="2"):
        runbook("backup", "--level", "hoped")
    assert not backups.exists()


def test_the_json_is_the_manifest_and_what_went(backups: Path, tmp_path: Path) -> None:
    first = json.loads(runbook("backup", "--format", "json"))
    with with_settings(tmp_path, KEEP_LAST=1, STORAGE="far"):
        found = json.loads(runbook("backup", "--format", "json"))
    [made] = find_backups(backups)
    written = json.loads(made.path.read_text())
    del written["format"]
    assert {**found, "created": made.created.isoformat()} == {
        **written,
        "path": str(made.path),
        "storage": "far",
        "swept": [],
        "removed": [first["file"]],
        "not_removed": [],
    }


def test_what_went_is_told(backups: Path, tmp_path: Path) -> None:
    runbook("backup", "--level", "checksummed")
    [old] = find_backups(backups)
    (backups / "x.sql.zst.partial").touch()
    with with_settings(tmp_path, KEEP_DAYS=1, KEEP_LAST=1, STORAGE="far", LEVEL="checksummed"):
        said = runbook("backup")
    assert "Leftovers of killed backups removed: x.sql.zst.partial" in said
    assert "Copied to the storage 'far', and read back." in said
    assert "Old backups" not in said
    with with_settings(tmp_path, KEEP_LAST=1, LEVEL="checksummed"):
        said = runbook("backup").replace("\n", "")
    assert "Old backups removed: " in said
    assert old.file in said


def test_a_terminal_shows_what_is_done_and_a_pipe_does_not(backups: Path) -> None:
    assert "Proving the dump by a restore" not in runbook("backup")
    assert "Proving the dump by a restore" in runbook("backup", "--force-color")


def test_a_terminal_shows_how_large_the_dump_is(database: Database) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    with LiveBackup(console) as report:
        report(Stage.DUMPING, 3 * 1024**2)
    assert "Dumping the database · 3 MiB" in console.file.getvalue()


def test_the_size_of_a_dump_is_told_while_it_grows(
    database: Database, backups: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "PERIOD", timedelta(0))
    run(database, "CREATE TABLE noise (x BLOB)", "INSERT INTO noise VALUES (randomblob(1000000))")
    told: list[tuple[Stage, int]] = []
    terms = Terms(level=Level.PROVEN)
    made = make_backup(
        database, backups, terms=terms, now=datetime.now(UTC), report=lambda *facts: told.append(facts)
    )
    dumping = [size for stage, size in told if stage is Stage.DUMPING]
    assert dumping == sorted(set(dumping))
    assert dumping[0] == 0
    assert len(dumping) > 3
    assert dumping[-1] == made.dump_bytes
    assert told[-1] == (Stage.PROVING, 0)


def test_an_encrypted_backup_is_restored_with_its_key(
    database: Database, backups: Path, tmp_path: Path
) -> None:
    with with_settings(tmp_path, RECIPIENTS=[str(KEY.to_public())]):
        runbook("backup")
    run(database, "DELETE FROM child")
    with pytest.raises(CommandError, match=r"(?s)is encrypted, to age1.*--identity FILE"):
        runbook("restore", "--noinput")
    (tmp_path / "key").write_text(f"{KEY}\n")
    runbook("restore", "--noinput", "--identity", str(tmp_path / "key"))
    assert database.row_counts()["child"] > 0


def test_a_backup_that_is_only_in_the_storage_is_fetched_by_its_name(
    database: Database, backups: Path, tmp_path: Path
) -> None:
    with with_settings(tmp_path, STORAGE="far"):
        runbook("backup")
        [made] = find_backups(backups)
        made.path.unlink()
        made.dump_path.unlink()
        run(database, "DELETE FROM child")
        for _again in range(2):
            runbook("restore", made.file, "--noinput")
        assert database.row_counts()["child"] > 0
        with pytest.raises(CommandError, match="could not be fetched from 'far'"):
            runbook("restore", "another", "--noinput")
