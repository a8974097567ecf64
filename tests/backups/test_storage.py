from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import run_checks
from django.core.files.base import ContentFile, File
from django.core.files.storage import FileSystemStorage, InMemoryStorage, Storage, storages
from django.test import override_settings
from folder_dumpers import provide
from situations import fill, run

from django_runbook.backups import (
    Manifest,
    Taken,
    Terms,
    fetch_backup,
    find_backups,
    load_manifest,
    restore_backup,
    take_backup,
    terms_for,
)
from django_runbook.databases import Database
from django_runbook.exceptions import BackupFailed, Refused

NOW = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)
SQLITE = pytest.mark.parametrize("database", ["sqlite"], indirect=True)
FAR = "far"
"""Alias of the storage."""


class Corrupting(InMemoryStorage):
    """Gives one byte of each dump back as another one."""

    def _open(self, name: str, mode: str = "rb") -> File[bytes]:
        content = bytearray(super()._open(name, mode).read())
        if not name.endswith(".json"):
            content[len(content) // 2] ^= 1
        return ContentFile(bytes(content))


class Renaming(InMemoryStorage):
    def get_available_name(self, name: str, max_length: int | None = None) -> str:
        return name.replace(".json", "_x7Tg.json")


class Failing(InMemoryStorage):
    """Fails at the manifest, and says more than it should."""

    def __init__(self, secret_key: str = "", **options: Any) -> None:
        super().__init__(**options)
        self.secret_key = secret_key

    def _save(self, name: str, content: File[bytes]) -> str:
        if name.endswith(".json"):
            raise RuntimeError(f"403 Forbidden for {self.secret_key}.")
        return super()._save(name, content)


@pytest.fixture
def folder(database: Database, tmp_path: Path) -> Path:
    fill(database)
    return tmp_path / "backups"


def backend(kind: type[Storage], **options: Any) -> override_settings:
    """The settings with such a storage, and backups copied there."""
    places = {FAR: {"BACKEND": f"{kind.__module__}.{kind.__qualname__}", "OPTIONS": options}}
    return override_settings(STORAGES=places, RUNBOOK={"BACKUP": {"STORAGE": FAR}})


@pytest.fixture(params=["in memory", "in another folder"])
def far(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Storage]:
    """A storage that works."""
    private = {"file_permissions_mode": 0o600, "directory_permissions_mode": 0o700}
    settings = (
        backend(InMemoryStorage)
        if request.param == "in memory"
        else backend(FileSystemStorage, location=str(tmp_path / "far"), **private)
    )
    with settings:
        yield storages[FAR]


def take(database: Database, folder: Path, *, day: int = 0, **terms: Any) -> Taken:
    return take_backup(
        database, folder, terms=Terms(storage=FAR, **terms), unfinished=(), now=NOW + timedelta(days=day)
    )


def names(storage: Storage) -> set[str]:
    def below(folder: str) -> Iterator[str]:
        folders, files = storage.listdir(folder)
        yield from (f"{folder}{name}" for name in files)
        for name in folders:
            yield from below(f"{folder}{name}/")

    return set(below(""))


def lose(manifest: Manifest) -> None:
    """The machine's disk is gone, with the backup."""
    manifest.path.unlink()
    for file in manifest.files:
        (manifest.path.parent / file.name).unlink()


def test_a_backup_comes_back_from_a_storage_and_is_restored(
    database: Database, folder: Path, far: Storage
) -> None:
    taken = take(database, folder)
    made = taken.manifest
    assert names(far) == {made.file, made.path.name}
    assert taken.facts()["storage"] == FAR
    lose(made)
    run(database, "DELETE FROM child")
    fetched = fetch_backup(made.file, FAR, folder)
    assert fetched == made == load_manifest(made.path)
    assert restore_backup(fetched.path, database) == made
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


@SQLITE
def test_a_folder_comes_back_from_a_storage(
    database: Database, folder: Path, far: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    provide(monkeypatch, database)
    made = take(database, folder, dumper="pieces").manifest
    assert names(far) == {made.path.name, *(file.name for file in made.files)}
    elsewhere = folder.parent / "elsewhere"
    fetched = fetch_backup(made.path.name, FAR, elsewhere)
    assert fetched.files == made.files
    assert {path.stat().st_mode & 0o077 for path in elsewhere.rglob("*")} == {0}
    assert restore_backup(fetched.path, database).file == made.file


@SQLITE
@pytest.mark.parametrize(
    ("kind", "why"),
    [
        (Corrupting, "{file} is read otherwise than it was written"),
        (Failing, "403 Forbidden for ***"),
        (Renaming, "{file}.manifest.json was stored as {file}.manifest_x7Tg.json"),
    ],
)
def test_a_copy_that_fails_is_a_failure_and_the_backup_here_is_kept(
    database: Database, folder: Path, kind: type[Storage], why: str
) -> None:
    options = {"secret_key": "hunter2"} if kind is Failing else {}
    with backend(kind, **options):
        with pytest.raises(BackupFailed) as caught:
            take(database, folder)
        [here] = find_backups(folder)
        assert str(caught.value) == (
            f"The backup could not be stored in 'far': {why.format(file=here.file)}.\n"
            f"It is whole on this machine, as {here.dump_path}. The database was not changed."
        )
        assert names(storages[FAR]) == set()
    assert restore_backup(here.path, database) == here


@SQLITE
def test_the_manifest_is_copied_last_and_removed_first(
    database: Database, folder: Path, far: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that whatever cuts it off leaves nothing there that looks whole."""
    done: list[tuple[str, str]] = []
    for action in ("save", "delete"):
        call = getattr(type(far), action)

        def noted(storage: Storage, name: str, *args: Any, action: str = action, call: Any = call) -> Any:
            done.append((action, name))
            return call(storage, name, *args)

        monkeypatch.setattr(type(far), action, noted)
    old = take(database, folder).manifest
    assert done == [("save", old.file), ("save", old.path.name)]
    with override_settings(RUNBOOK={"BACKUP": {"KEEP_LAST": 1}}):
        take(database, folder, day=1)
    assert done[4:] == [("delete", old.path.name), ("delete", old.file)]


@SQLITE
def test_what_lies_in_a_storage_is_not_replaced(database: Database, folder: Path, far: Storage) -> None:
    made = take(database, folder).manifest
    lose(made)
    with pytest.raises(BackupFailed, match="is there already"):
        take(database, folder)
    assert names(far) == {made.file, made.path.name}


@SQLITE
@pytest.mark.parametrize("damage", ["a flipped bit", "a missing file", "a damaged manifest"])
def test_a_backup_that_does_not_come_back_whole_is_refused_and_leaves_nothing(
    database: Database, folder: Path, far: Storage, damage: str
) -> None:
    made = take(database, folder).manifest
    spoilt = made.path.name if damage == "a damaged manifest" else made.file
    with far.open(spoilt) as file:
        content = bytearray(file.read())
    content[len(content) // 2] ^= 1
    far.delete(spoilt)
    if damage != "a missing file":
        far.save(spoilt, ContentFile(b"{" if damage == "a damaged manifest" else bytes(content)))
    lose(made)
    with pytest.raises(Refused) as caught:
        fetch_backup(made.file, FAR, folder)
    assert "cannot be read" in str(caught.value) or "could not be fetched from 'far'" in str(caught.value)
    assert list(folder.iterdir()) == []


@SQLITE
def test_a_backup_that_is_in_no_storage_is_refused(database: Database, folder: Path, far: Storage) -> None:
    with pytest.raises(Refused, match=r"The backup x\.manifest\.json could not be fetched from 'far'"):
        fetch_backup("x", FAR, folder)


@SQLITE
def test_an_old_backup_goes_here_and_there(database: Database, folder: Path, far: Storage) -> None:
    take(database, folder)
    with override_settings(RUNBOOK={"BACKUP": {"KEEP_LAST": 1}}):
        made = take(database, folder, day=1).manifest
    assert names(far) == {made.file, made.path.name}
    assert find_backups(folder) == [made]


@SQLITE
def test_an_old_backup_that_the_storage_does_not_let_go_stays_here_and_is_told(
    database: Database, folder: Path, far: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = take(database, folder).manifest

    def refusing(storage: Storage, name: str) -> None:
        raise RuntimeError("403")

    monkeypatch.setattr(type(far), "delete", refusing)
    with override_settings(RUNBOOK={"BACKUP": {"KEEP_LAST": 1}}):
        taken = take(database, folder, day=1)
    assert taken.not_removed == (old.file,)
    assert find_backups(folder) == [taken.manifest, old]


@SQLITE
def test_the_settings_name_the_storage(database: Database, far: Storage) -> None:
    assert terms_for(database).storage == FAR
    assert [it for it in run_checks() if it.id and it.id.startswith("runbook.")] == []


def test_an_unknown_storage_is_found_by_the_system_checks() -> None:
    with override_settings(RUNBOOK={"BACKUP": {"STORAGE": "nowhere"}}):
        [error] = [it for it in run_checks() if it.id and it.id.startswith("runbook.")]
    assert error.id == "runbook.E003"
    assert error.msg.startswith('RUNBOOK["BACKUP"]["STORAGE"] must be an alias of STORAGES (')


def test_a_storage_that_others_may_read_is_refused(tmp_path: Path) -> None:
    with backend(FileSystemStorage, location=str(tmp_path)):
        [error] = [it for it in run_checks() if it.id and it.id.startswith("runbook.")]
    assert error.id == "runbook.E003"
    assert error.msg == "Every user of this machine may read the files in the storage 'far'."
    assert error.hint == (
        'Give it the OPTIONS "file_permissions_mode": 0o600 and "directory_permissions_mode": 0o700.'
    )
