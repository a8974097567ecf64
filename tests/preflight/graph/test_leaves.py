"""Two last migrations: what each does, whether it is applied, and whether one is the other's old name."""

from __future__ import annotations

import subprocess

import pytest
from graph_findings import django_says, found, in_short, record, run
from written_files import Disk, column, table

from django_runbook.databases import Database
from django_runbook.preflight import Finding, Severity

on_sqlite = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


@on_sqlite
def test_two_last_ones_are_told_with_what_they_do(database: Database, disk: Disk):
    disk.write("zoo", "0001_initial", operations=table("Animal"))
    disk.write("zoo", "0002_age", "0001_initial", operations=column("animal", "age"))
    disk.write("zoo", "0002_merged", "0001_initial")
    record(database, "zoo.0001_initial", "zoo.0002_age")
    assert found(database) == [
        Finding(
            id="runbook.P204",
            severity=Severity.ERROR,
            subject="zoo",
            message="App 'zoo' has more than one last migration: zoo.0002_age, zoo.0002_merged.",
            hint="On the development machine: `manage.py makemigrations --merge zoo`; commit what it "
            "writes, and bring it here.",
            examples=(
                "zoo.0002_age (applied): Add field age to animal",
                "zoo.0002_merged (not applied): nothing",
            ),
        )
    ]
    disk.write("zoo", "0003_merge", "0002_age", "0002_merged")
    assert [it.id for it in found(database)] == ["runbook.P205"]
    assert django_says(database) == ""


def test_an_old_file_beside_its_new_name_is_told_as_such(database: Database, disk: Disk):
    disk.write("zoo", "0001_initial")
    disk.write("zoo", "0002_new", "0001_initial", operations=table("Animal"))
    for command in ("git init -q", "git add .", "git -c user.name=A -c user.email=a@b.c commit -qm New"):
        subprocess.run(command.split(), cwd=disk.path, check=True)
    disk.write("zoo", "0002_old", "0001_initial", operations=table("Animal"))
    record(database, "zoo.0001_initial", "zoo.0002_old")
    [finding] = found(database)
    assert finding.hint == (
        "zoo.0002_new and zoo.0002_old are the same: one was renamed, and the old file stayed behind. "
        "Delete the one that git does not know: `git -C written/zoo ls-files --others -- '*.py'`\n"
        "If that is zoo.0002_old, which is recorded as applied, then in `manage.py dbshell`: UPDATE "
        "django_migrations SET name = '0002_new' WHERE app = 'zoo' AND name = '0002_old';"
    )
    command = finding.hint.split("`")[1]
    said = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)  # noqa: S602
    assert said.stdout == "0002_old.py\n"
    disk.remove("zoo", "0002_old")
    run(database, finding.hint.rpartition("`: ")[2])
    assert in_short(database) == []
    assert django_says(database) == ""


@on_sqlite
def test_a_renamed_parent_is_not_told_as_two_last_ones(database: Database, disk: Disk):
    disk.write("zoo", "0001_initial")
    disk.write("zoo", "0002_new", "0001_initial")
    disk.write("zoo", "0003_c", "0002_old")
    assert in_short(database) == [("P202", "error", "zoo.0002_old")]


@on_sqlite
def test_an_app_with_a_broken_file_has_unknown_last_ones(database: Database, disk: Disk):
    disk.write("zoo", "0001_initial")
    disk.write("zoo", "0002_b", "0001_initial")
    disk.write("zoo", "0002_c", "0001_initial")
    disk.write_text("zoo", "0003_merge", "from django.db import")
    assert in_short(database) == [("P201", "error", "zoo.0003_merge")]
