from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import run_checks
from django.test import override_settings
from folder_dumpers import Pieces, provide
from situations import fill

from django_runbook.backups import load_manifest, make_backup, mebibytes, terms_for
from django_runbook.conf import backup_jobs
from django_runbook.databases import Database
from django_runbook.exceptions import Refused

NOW = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)
SQLITE = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


def backup_settings(**settings: Any) -> override_settings:
    return override_settings(RUNBOOK={"BACKUP": settings})


@pytest.fixture
def pieces(database: Database, monkeypatch: pytest.MonkeyPatch) -> type[Pieces]:
    fill(database)
    return provide(monkeypatch, database)


def test_a_small_database_is_dumped_as_one_stream(database: Database, pieces: type[Pieces]) -> None:
    with backup_settings(JOBS=2):
        terms = terms_for(database)
    assert terms.dumper == database.dumper.name
    assert terms.dumper_reason == (
        f"the database has {mebibytes(database.size())}, parallel dumps begin at 1024 MiB"
    )


def test_a_large_database_is_dumped_in_parallel(
    database: Database, pieces: type[Pieces], tmp_path: Path
) -> None:
    with backup_settings(JOBS=2, PARALLEL_FROM=0):
        terms = terms_for(database)
    assert terms.dumper == "pieces"
    assert terms.dumper_reason == (
        f"the database has {mebibytes(database.size())}, parallel dumps begin at 0 MiB"
    )
    made = make_backup(database, tmp_path / "backups", terms=terms, now=NOW)
    assert (made.dumper, made.dumper_reason) == ("pieces", terms.dumper_reason)
    assert load_manifest(made.path) == made
    assert pieces.jobs == [2, 2]


@SQLITE
def test_an_unfit_dumper_is_passed_over_and_the_reason_told(
    database: Database, pieces: type[Pieces], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "unfit_here", "glue is not installed.")
    with backup_settings(JOBS=2, PARALLEL_FROM=0):
        terms = terms_for(database)
    assert terms.dumper == "online backup"
    assert terms.dumper_reason == "pieces: glue is not installed."


@SQLITE
def test_with_one_session_at_a_time_there_is_nothing_to_gain(
    database: Database, pieces: type[Pieces]
) -> None:
    with backup_settings(JOBS=1, PARALLEL_FROM=0):
        terms = terms_for(database)
    assert terms.dumper == "online backup"
    assert terms.dumper_reason == "only one session at a time is allowed"


@SQLITE
def test_a_database_with_one_dumper_has_no_choice(database: Database) -> None:
    terms = terms_for(database)
    assert (terms.dumper, terms.dumper_reason) == ("online backup", "this kind of database has no other")


@SQLITE
@pytest.mark.parametrize("name", ["pieces", "online backup"])
def test_the_settings_decide_whatever_the_size(database: Database, pieces: type[Pieces], name: str) -> None:
    with backup_settings(DUMPER=name):
        terms = terms_for(database)
    assert (terms.dumper, terms.dumper_reason) == (name, "the settings say so")


@SQLITE
def test_a_named_dumper_that_cannot_work_is_refused(
    database: Database, pieces: type[Pieces], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "unfit_here", "glue is not installed.")
    with backup_settings(DUMPER="pieces"), pytest.raises(Refused) as caught:
        terms_for(database)
    assert str(caught.value) == (
        "The backup of database 'default' cannot be made by pieces: glue is not installed.\n"
        'Mend that, or leave out RUNBOOK["BACKUP"]["DUMPER"].'
    )


@SQLITE
def test_a_dumper_that_does_not_exist_is_refused(database: Database, pieces: type[Pieces]) -> None:
    with backup_settings(DUMPER="mysqlhotcopy"), pytest.raises(Refused) as caught:
        terms_for(database)
    assert str(caught.value) == (
        "Database 'default' has no dumper called 'mysqlhotcopy'.\nIt has: online backup, pieces."
    )


def test_there_are_as_many_sessions_as_cpus_and_no_more_than_four(monkeypatch: pytest.MonkeyPatch) -> None:
    for cpus, jobs in [(1, 1), (3, 3), (64, 4), (None, 1)]:
        monkeypatch.setattr("os.cpu_count", lambda cpus=cpus: cpus)
        assert backup_jobs() == jobs


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"JOBS": 0}, 'RUNBOOK["BACKUP"]["JOBS"] must be a whole number, 1 or more.'),
        ({"JOBS": True}, 'RUNBOOK["BACKUP"]["JOBS"] must be a whole number, 1 or more.'),
        ({"PARALLEL_FROM": "1 GiB"}, 'RUNBOOK["BACKUP"]["PARALLEL_FROM"] must be a whole number, 0 or more.'),
        ({"PROVE_UP_TO": -1}, 'RUNBOOK["BACKUP"]["PROVE_UP_TO"] must be a whole number, 0 or more.'),
        ({"DUMPER": 1}, 'RUNBOOK["BACKUP"]["DUMPER"] must be a name.'),
        (
            {"LEVEL": "prooven"},
            'RUNBOOK["BACKUP"]["LEVEL"] must be "proven" or "checksummed", or empty to decide by size.',
        ),
    ],
)
def test_a_wrong_setting_is_found_by_the_system_checks(wrong: dict[str, Any], message: str) -> None:
    with backup_settings(**wrong):
        [error] = [it for it in run_checks() if it.id and it.id.startswith("runbook.")]
    assert (error.id, error.msg) == ("runbook.E003", message)
    assert error.hint == "The reference of the settings says what they mean."


def test_sound_settings_are_not_complained_of() -> None:
    with backup_settings(JOBS=4, PARALLEL_FROM=0, PROVE_UP_TO=0, DUMPER="pieces", LEVEL="proven"):
        assert [it for it in run_checks() if it.id and it.id.startswith("runbook.")] == []


@SQLITE
def test_a_wrong_setting_is_refused_before_anything_is_touched(database: Database) -> None:
    with backup_settings(LEVEL="prooven"), pytest.raises(Refused, match="must be"):
        terms_for(database)
