from __future__ import annotations

from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from django.db import connections
from django.test import override_settings
from situations import fill, run

from django_runbook.backups import Level, Terms, make_backup, restore_backup
from django_runbook.checks import check_settings
from django_runbook.databases import Database, scratch
from django_runbook.exceptions import BackupFailed, Refused

PROVEN = Terms(level=Level.PROVEN)
NOW = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)


def test_a_backup_is_proven_by_a_restore_of_the_very_file(database: Database, tmp_path: Path) -> None:
    fill(database)
    made = make_backup(database, tmp_path / "backups", terms=PROVEN, now=NOW)
    assert made.level is Level.PROVEN
    assert made.restore_seconds
    assert all(content.checksum for content in made.tables.values())
    assert scratch.SCRATCH_ALIAS not in scratch.connections.settings
    run(database, "DELETE FROM child")
    assert restore_backup(made.path, database) == made


def test_a_dump_that_restores_to_something_else_is_no_backup(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(database)
    restore = type(database.dumper).restore

    def spoilt(dumper, source) -> None:
        restore(dumper, source)
        run(dumper.database, "UPDATE parent SET name = 'another' WHERE id = 1")

    monkeypatch.setattr(type(database.dumper), "restore", spoilt)
    with pytest.raises(BackupFailed, match="parent: other rows"):
        make_backup(database, tmp_path / "backups", terms=PROVEN, now=NOW)
    assert list((tmp_path / "backups").iterdir()) == []


def test_a_dump_that_cannot_be_restored_is_no_backup(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(database)
    restore = type(database.dumper).restore
    monkeypatch.setattr(
        type(database.dumper), "restore", lambda dumper, source: restore(dumper, BytesIO(source.read(900)))
    )
    with pytest.raises(BackupFailed) as caught:
        make_backup(database, tmp_path / "backups", terms=PROVEN, now=NOW)
    assert caught.value.message.startswith(
        f"The backup of database '{database.alias}' cannot be restored: The restore of database"
    )
    assert caught.value.hint == "The database was not changed. No backup was kept."
    assert list((tmp_path / "backups").iterdir()) == []


@override_settings(RUNBOOK={"BACKUP": {"PROVE_ON": "elsewhere"}})
def test_a_proof_is_made_on_the_server_that_the_settings_name(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(database)
    created: list[str] = []
    create = type(database).create_scratch

    def noted(host: Database, name: str, like: Database) -> dict[str, Any]:
        created.append(host.alias)
        assert like.alias == database.alias
        return create(host, name, like)

    monkeypatch.setattr(type(database), "create_scratch", noted)
    monkeypatch.setitem(connections.settings, "elsewhere", database.connection.settings_dict)
    try:
        made = make_backup(database, tmp_path / "backups", terms=PROVEN, now=NOW)
    finally:
        connections["elsewhere"].close()
        del connections["elsewhere"]
    assert made.level is Level.PROVEN
    assert created == ["elsewhere"]


@pytest.mark.parametrize("database", ["mariadb"], indirect=True)
@override_settings(RUNBOOK={"BACKUP": {"PROVE_ON": "default"}})
def test_a_proof_on_a_server_of_another_kind_is_refused(database: Database, tmp_path: Path) -> None:
    words = r"is served by MariaDB, and the one that PROVE_ON names by SQLite\."
    with pytest.raises(Refused, match=words):
        make_backup(database, tmp_path / "backups", terms=PROVEN, now=NOW)


def test_a_server_that_no_entry_names_is_told() -> None:
    with override_settings(RUNBOOK={"BACKUP": {"PROVE_ON": "nowhere"}}):
        assert [it.id for it in check_settings(None)] == ["runbook.E003"]
