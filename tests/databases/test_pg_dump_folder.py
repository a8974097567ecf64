"""pg_dump's directory format, dumped and loaded by several sessions."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from situations import alter, canonical, fill, run

from django_runbook.databases import Database
from django_runbook.databases.dumpers import FolderDumper
from django_runbook.databases.scratch import scratch_of
from django_runbook.exceptions import BackupFailed, RestoreFailed

pytestmark = pytest.mark.parametrize("database", ["postgresql"], indirect=True)


@pytest.fixture
def dumper(database: Database) -> FolderDumper:
    [dumper] = database.folder_dumpers
    assert dumper.unfit() == ""
    return dumper


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "dump"
    folder.mkdir(mode=0o700)
    return folder


def test_everything_is_brought_back_in_place_and_into_a_scratch_database(
    database: Database, dumper: FolderDumper, folder: Path
) -> None:
    fill(database)
    run(database, "CREATE EXTENSION IF NOT EXISTS pg_trgm")
    before, schema = canonical(database), database.schema()
    content = dumper.dump(folder, jobs=2, checksums=True)
    assert content == database.content(checksums=True)
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    alter(database)
    dumper.restore(folder, jobs=2)
    assert canonical(database) == before
    with scratch_of(database) as scratch:
        [there] = scratch.folder_dumpers
        there.restore(folder, jobs=2)
        assert scratch.content(checksums=True) == content
        assert scratch.schema() == schema


def test_rows_written_by_others_meanwhile_are_not_in_the_dump(
    database: Database, dumper: FolderDumper, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(database)
    other = database.connection.copy()
    read = type(database).content

    def late(here: Database, *, checksums: bool):
        content = read(here, checksums=checksums)
        with other.cursor() as cursor:
            cursor.execute("INSERT INTO log VALUES ('late')")
        return content

    monkeypatch.setattr(type(database), "content", late)
    content = dumper.dump(folder, jobs=2, checksums=False)
    other.close()
    monkeypatch.undo()
    assert database.row_counts()["log"] == content["log"].rows + 1
    dumper.restore(folder, jobs=1)
    assert database.row_counts()["log"] == content["log"].rows


@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_damaged_file_fails_the_restore_and_changes_nothing(
    database: Database, dumper: FolderDumper, folder: Path, damage: str
) -> None:
    fill(database)
    run(database, "INSERT INTO log SELECT md5(n::text) FROM generate_series(1, 2000) n")
    dumper.dump(folder, jobs=2, checksums=False)
    largest = max(folder.glob("*.dat.gz"), key=lambda path: path.stat().st_size)
    if damage == "cut":
        largest.write_bytes(largest.read_bytes()[:-2000])
    else:
        largest.unlink()
    run(database, "DELETE FROM child")
    now = canonical(database)
    with pytest.raises(RestoreFailed) as failed:
        dumper.restore(folder, jobs=2)
    assert failed.value.hint == "The database is as it was before the restore."
    assert canonical(database) == now
    with scratch_of(database) as scratch, pytest.raises(RestoreFailed):
        scratch.folder_dumpers[0].restore(folder, jobs=2)


def test_a_dump_that_fails_says_why(database: Database, dumper: FolderDumper, folder: Path) -> None:
    (folder / "in the way").touch()
    with pytest.raises(BackupFailed, match="pg_dump ended with exit code 1"):
        dumper.dump(folder, jobs=2, checksums=False)
