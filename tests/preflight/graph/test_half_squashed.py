"""A squashed migration of which only a part is applied."""

from __future__ import annotations

import pytest
from django.db import DatabaseError
from graph_findings import django_says, found, in_short, migrate, run
from written_files import Disk, column, table

from django_runbook.databases import Database
from django_runbook.preflight import Finding, Severity
from django_runbook.schema import applied_migrations

BOTH = ["0001_initial", "0002_b"]


def single_files(disk: Disk) -> None:
    disk.write("zoo", "0001_initial", operations=table("Animal"))
    disk.write("zoo", "0002_b", "0001_initial", operations=column("animal", "age"))


def squash(disk: Disk) -> None:
    both = f"{table('Animal')}, {column('animal', 'age')}"
    disk.write("zoo", "0001_squashed_0002_b", operations=both, replaces=BOTH)


def test_lost_files_of_its_pending_part_are_asked_for(database: Database, disk: Disk):
    single_files(disk)
    migrate(database, "zoo", "0001")
    squash(disk)
    assert in_short(database) == []
    for name in BOTH:
        disk.remove("zoo", name)
    assert found(database) == [
        Finding(
            id="runbook.P208",
            severity=Severity.ERROR,
            subject="zoo.0001_squashed_0002_b",
            message="zoo.0001_squashed_0002_b replaces 2 migrations, of which only a part is applied here, "
            "and these of them are not on disk: zoo.0002_b. Django can apply neither them nor "
            "zoo.0001_squashed_0002_b.",
            hint="First bring a release that still has them, and there: `manage.py migrate zoo 0002_b`. "
            "Then this one.\n"
            "Where it was added, renamed or deleted, on any branch: `git -C written/zoo log --all "
            "--name-status --diff-filter=ADR -- 0002_b.py '0002_*' '*_b.py'`",
            examples=("zoo.0002_b",),
        )
    ]
    assert django_says(database) == ""
    migrate(database, "zoo")
    assert ("zoo", "0002_b") not in applied_migrations(database.connection)
    single_files(disk)
    migrate(database, "zoo", "0002_b")
    for name in BOTH:
        disk.remove("zoo", name)
    assert in_short(database) == []
    migrate(database, "zoo")


def test_rows_of_what_it_replaces_that_were_deleted_are_written_again(database: Database, disk: Disk):
    squash(disk)
    migrate(database, "zoo")
    run(database, "DELETE FROM django_migrations WHERE app = 'zoo' AND name IN ('0001_initial', '0002_b')")
    [finding] = found(database)
    assert finding == Finding(
        id="runbook.P208",
        severity=Severity.ERROR,
        subject="zoo.0001_squashed_0002_b",
        message="zoo.0001_squashed_0002_b is recorded as applied, but of the 2 migrations that it replaces "
        "these are not: zoo.0001_initial, zoo.0002_b. Django goes by those, takes it as not applied, and "
        "would do again what is done.",
        hint="Record them as well, in `manage.py dbshell`:\n"
        "INSERT INTO django_migrations (app, name, applied) VALUES ('zoo', '0001_initial', "
        "CURRENT_TIMESTAMP);\n"
        "INSERT INTO django_migrations (app, name, applied) VALUES ('zoo', '0002_b', CURRENT_TIMESTAMP);",
        examples=("zoo.0001_initial", "zoo.0002_b"),
    )
    assert django_says(database) == ""
    with pytest.raises(DatabaseError, match="already exists"):
        migrate(database, "zoo")
    run(database, finding.hint.partition("\n")[2])
    assert in_short(database) == []
    migrate(database, "zoo")
