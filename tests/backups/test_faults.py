"""What can be wrong with a dump although its program reports success, each noticed before it counts."""

from __future__ import annotations

import os
import shutil
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest
from situations import canonical, fill, run

from django_runbook.backups import Level, Terms, make_backup, restore_backup
from django_runbook.databases import Database
from django_runbook.exceptions import BackupFailed, Refused

NOW = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)
PROVEN = Terms(level=Level.PROVEN)

FAULTS = {
    "no output at all": ("", "its output is cut off"),
    "half of it": ('"$real" "$@" | head -c 2000', "its output is cut off"),
    "a 4-byte character damaged": ('"$real" "$@" | sed "s/😀/????/"', "parent: other rows"),
    "bytes damaged": ('"$real" "$@" | sed "s/F0F1F2/F0F1F3/; s/f0f1f2/f0f1f3/"', "child: other rows"),
    "an index missing": ('"$real" "$@" | grep -v "child_note"', "another schema"),
    "rows missing": (
        r"""
        "$real" "$@" | sed -e "/^INSERT INTO .log. /,/;$/d" -e "/^COPY public.log /,/^\\\\./{/^in the/d}"
        """,
        "log: 2 expected, 0 found",
    ),
}
MISSING = {
    ("mariadb", "a trigger"): ("--skip-triggers", "another schema"),
    ("mariadb", "the routines"): ("--skip-routines", "another schema"),
    ("mariadb", "the events"): ("--skip-events", "another schema"),
    ("mariadb", "a table"): ("--ignore-table=$name.log", "log: 2 expected, no table found"),
    ("postgresql", "the triggers"): ("| sed -n '/^CREATE TRIGGER/!p'", "another schema"),
    ("postgresql", "a table"): ("--exclude-table=log", "log: 2 expected, no table found"),
    ("postgresql", "the large objects"): ("--no-blobs", "pg_largeobject: 1 expected, no table found"),
    ("postgresql", "a schema"): ("--exclude-schema=tenant", "tenant.person"),
}


def dump_program(database: Database) -> str:
    programs = getattr(database, "dump_programs", ("pg_dump",))
    return next(filter(shutil.which, programs))


def replace_program(database: Database, folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let another program be found under the dump program's name; `$real` is the real one."""
    name = dump_program(database)
    fake = folder / "bin" / name
    fake.parent.mkdir()
    fake.write_text(f"#!/bin/bash\nreal={shutil.which(name)}\nname={database.name}\n{script}\nexit 0\n")
    fake.chmod(fake.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{fake.parent}{os.pathsep}{os.environ['PATH']}")


def assert_noticed(database: Database, folder: Path, words: str) -> None:
    with pytest.raises(BackupFailed) as failed:
        make_backup(database, folder / "backups", terms=PROVEN, now=NOW)
    assert words in failed.value.message
    assert list((folder / "backups").iterdir()) == []


@pytest.mark.parametrize("database", ["mariadb", "postgresql"], indirect=True)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_damaged_dump_is_noticed_although_its_program_reports_success(
    database: Database, tmp_path: Path, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(database)
    run(database, "INSERT INTO log VALUES ('in the log'), ('in the log too')")
    script, words = FAULTS[fault]
    replace_program(database, tmp_path, script, monkeypatch)
    assert_noticed(database, tmp_path, words)


@pytest.mark.parametrize(("database", "missing"), list(MISSING), indirect=["database"])
def test_a_dump_in_which_something_is_missing_is_noticed(
    database: Database, tmp_path: Path, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(database)
    run(database, "INSERT INTO log VALUES ('in the log'), ('in the log too')")
    option, words = MISSING[database.alias, missing]
    replace_program(database, tmp_path, f'"$real" "$@" {option}', monkeypatch)
    assert_noticed(database, tmp_path, words)


def test_the_dump_of_another_run_under_a_manifest_is_noticed(database: Database, tmp_path: Path) -> None:
    fill(database)
    first = make_backup(database, tmp_path, terms=PROVEN, now=NOW, run_id="first")
    run(database, "DELETE FROM child")
    now = canonical(database)
    second = make_backup(database, tmp_path, terms=PROVEN, now=NOW, run_id="second")
    shutil.copy(second.dump_path, first.dump_path)
    with pytest.raises(Refused, match="it is not the file that its manifest describes"):
        restore_backup(first.path, database)
    assert canonical(database) == now
