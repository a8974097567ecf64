from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.test import override_settings
from folder_dumpers import Pieces, provide
from situations import fill, run

from django_runbook.backups import Level, Manifest, Terms, find_backups, make_backup, manifest, restore_backup
from django_runbook.databases import Database
from django_runbook.exceptions import BackupFailed, Refused

NOW = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)
IN_PIECES = Terms(level=Level.PROVEN, dumper="pieces", jobs=3)
SQLITE = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


@pytest.fixture(autouse=True)
def pieces(database: Database, monkeypatch: pytest.MonkeyPatch) -> type[Pieces]:
    fill(database)
    return provide(monkeypatch, database)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "backups"


@pytest.fixture
def made(database: Database, folder: Path) -> Manifest:
    return make_backup(database, folder, terms=IN_PIECES, now=NOW)


def test_a_folder_is_proven_and_restored_exactly(
    database: Database, folder: Path, pieces: type[Pieces], made: Manifest
) -> None:
    assert made.level is Level.PROVEN
    run(database, "DELETE FROM child", "CREATE TABLE added (x INTEGER)")
    with override_settings(RUNBOOK={"BACKUP": {"JOBS": 2}}):
        assert restore_backup(made.path, database) == made
    assert pieces.jobs == [3, 3, 2]
    assert find_backups(folder) == [made]


@SQLITE
def test_the_manifest_lists_every_file_in_the_folder(made: Manifest) -> None:
    assert made.file == "db.sqlite3-20260131T120000Z.pieces"
    assert made.dumper == "pieces"
    assert made.dump_bytes is None
    there = {str(path.relative_to(made.path.parent)) for path in made.dump_path.rglob("0*")}
    assert {file.name for file in made.files} == there > {f"{made.file}/000000", f"{made.file}/rest/000001"}
    assert made.bytes == sum((made.path.parent / name).stat().st_size for name in there)


@SQLITE
def test_a_folder_is_0700_and_its_files_are_0600(database: Database, folder: Path) -> None:
    before = os.umask(0)
    try:
        made = make_backup(database, folder, terms=IN_PIECES, now=NOW)
    finally:
        os.umask(before)
    assert stat.S_IMODE(made.dump_path.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in made.dump_path.rglob("0*")} == {0o600}


@SQLITE
def test_two_folders_of_one_second_have_two_names(database: Database, made: Manifest) -> None:
    second = make_backup(database, made.path.parent, terms=IN_PIECES, now=NOW)
    assert second.file == "db.sqlite3-20260131T120000Z-2.pieces"


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGES: dict[str, Callable[[Path], None]] = {
    "a flipped bit": lambda folder: flip(folder / "rest/000002"),
    "a byte less": lambda folder: os.truncate(folder / "rest/000002", 999),
    "a file less": lambda folder: (folder / "rest/000002").unlink(),
    "a file more": lambda folder: (folder / "rest/000002a").write_text("DROP TABLE parent"),
    "another name": lambda folder: (folder / "rest/000002").rename(folder / "rest/2") and None,
}


@SQLITE
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_folder_is_refused_before_anything_is_touched(
    database: Database, made: Manifest, damage: str
) -> None:
    DAMAGES[damage](made.dump_path)
    run(database, "CREATE TABLE since (x INTEGER)")
    with pytest.raises(Refused) as caught:
        restore_backup(made.path, database)
    assert str(caught.value) == (
        f"The backup {made.dump_path} is damaged: it is not the file that its manifest describes.\n"
        "Choose another backup. The database was not touched."
    )
    assert "since" in database.row_counts()


@SQLITE
@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_folder_leaves_nothing(
    database: Database,
    folder: Path,
    pieces: type[Pieces],
    monkeypatch: pytest.MonkeyPatch,
    error: type[BaseException],
) -> None:
    def half_way(dumper: Pieces, folder: Path, **terms: object) -> None:
        (folder / "000000").write_text("half")
        raise error

    monkeypatch.setattr(pieces, "dump", half_way)
    with pytest.raises(error):
        make_backup(database, folder, terms=IN_PIECES, now=NOW)
    assert list(folder.iterdir()) == []


@SQLITE
def test_a_folder_whose_manifest_cannot_be_written_is_removed(
    database: Database, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("django_runbook.backups.writing.to_json", interrupted)
    with pytest.raises(KeyboardInterrupt):
        make_backup(database, folder, terms=IN_PIECES, now=NOW)
    assert list(folder.iterdir()) == []


@SQLITE
def test_a_dumper_that_writes_nothing_has_failed(
    database: Database, folder: Path, pieces: type[Pieces], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "dump", lambda dumper, folder, **terms: {})
    with pytest.raises(BackupFailed, match=r"'default' failed: pieces wrote nothing\."):
        make_backup(database, folder, terms=IN_PIECES, now=NOW)


@SQLITE
def test_a_backup_by_an_unknown_dumper_is_refused(database: Database, made: Manifest) -> None:
    made.path.write_text(manifest.to_json(replace(made, dumper="xtrabackup")))
    with pytest.raises(Refused) as caught:
        restore_backup(made.path, database)
    assert str(caught.value) == (
        f"The backup {made.path} was made by xtrabackup, which is not known here.\n"
        "Restore it with the version of django-runbook that made it."
    )


@SQLITE
def test_a_backup_by_a_dumper_that_cannot_work_here_is_refused(
    database: Database, made: Manifest, pieces: type[Pieces], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "unfit_here", "glue is not installed.")
    with pytest.raises(Refused) as caught:
        restore_backup(made.path, database)
    assert str(caught.value) == (
        f"The backup {made.path} is to be restored by pieces, which cannot be used here: "
        "glue is not installed.\n"
        "Mend that, or choose another backup. The database was not touched."
    )


@SQLITE
def test_a_manifest_does_not_lead_out_of_its_folder(database: Database, made: Manifest) -> None:
    written = json.loads(made.path.read_text())
    written["files"][0]["name"] = "../elsewhere"
    made.path.write_text(json.dumps(written))
    with pytest.raises(Refused, match="cannot be read"):
        restore_backup(made.path, database)
