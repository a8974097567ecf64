"""Applied and not on disk: ahead of the code, renamed, squashed and deleted, or of an app that is gone."""

from __future__ import annotations

import pytest
from django.db import DatabaseError
from graph_findings import django_says, found, in_short, migrate, record, run
from written_files import Disk, column, table

from django_runbook.databases import Database
from django_runbook.preflight import Finding, Severity
from django_runbook.preflight.not_on_disk import CHECK

on_sqlite = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


@on_sqlite
def test_a_database_ahead_of_the_code_is_told_with_the_release_to_bring(database: Database, disk: Disk):
    disk.write("zoo", "0001_initial")
    disk.write("nomig", "0001_initial", ("zoo", "0001_initial"))
    record(database, "zoo.0001_initial", "zoo.0002_b", "nomig.0001_initial", "zoo.0003_c")
    assert found(database) == [
        Finding(
            id="runbook.P206",
            severity=Severity.ERROR,
            subject="zoo.0003_c",
            message="Database 'default' is ahead of the code. Of app 'zoo' it has applied migrations that "
            "are not on disk (2): zoo.0002_b, zoo.0003_c. The last one on disk is zoo.0001_initial. The "
            "code does not know the tables as they are now.",
            hint="Bring the release that has them. Where it was added, renamed or deleted, on any branch: "
            "`git -C written/zoo log --all --name-status --diff-filter=ADR -- 0003_c.py '0003_*' "
            "'*_c.py'`\n"
            "Only if the history was begun anew on purpose, in `manage.py dbshell`: DELETE FROM "
            "django_migrations WHERE app = 'zoo' AND name IN ('0002_b', '0003_c');",
            examples=("zoo.0002_b", "zoo.0003_c"),
        )
    ]


def test_the_statement_forgets_what_was_begun_anew(database: Database, disk: Disk):
    disk.write("zoo", "0001_initial")
    record(database, "zoo.0001_initial", "zoo.0002_b", "zoo.0003_c")
    run(database, found(database)[0].hint.rpartition("`: ")[2])
    assert found(database) == []


def test_a_renamed_one_would_be_done_again(database: Database, disk: Disk):
    disk.write("zoo", "0001_initial", operations=table("Animal"))
    disk.write("zoo", "0002_old", "0001_initial", operations=column("animal", "age"))
    migrate(database, "zoo")
    disk.remove("zoo", "0002_old")
    disk.write("zoo", "0002_new", "0001_initial", operations=column("animal", "age"))
    assert django_says(database) == ""
    [finding] = found(database)
    assert finding == Finding(
        id="runbook.P206",
        severity=Severity.ERROR,
        subject="zoo.0002_old",
        message="zoo.0002_old is applied and not on disk; zoo.0002_new is on disk and not applied. Either "
        "the file was renamed, and the run would do again what is done, or the database was upgraded from "
        "another branch.",
        hint="If it is the same one, in `manage.py dbshell`: UPDATE django_migrations SET name = "
        "'0002_new' WHERE app = 'zoo' AND name = '0002_old';\n"
        "Where it was added, renamed or deleted, on any branch: `git -C written/zoo log --all "
        "--name-status --diff-filter=ADR -- 0002_old.py '0002_*' '*_old.py'`",
    )
    with pytest.raises(DatabaseError, match=r"(?i)duplicate column|already exists"):
        migrate(database, "zoo")
    run(database, finding.hint.splitlines()[0].rpartition("`: ")[2])
    assert found(database) == []
    migrate(database, "zoo")


@on_sqlite
def test_what_was_squashed_and_deleted_is_a_warning(database: Database, disk: Disk):
    disk.write("zoo", "0001_squashed_0002_b")
    record(database, "zoo.0001_initial", "zoo.0002_b", "zoo.0001_squashed_0002_b")
    assert found(database) == [
        Finding(
            id="runbook.P206",
            severity=Severity.WARNING,
            subject="zoo",
            message="Applied migrations of app 'zoo' are not on disk (2): zoo.0001_initial, zoo.0002_b. "
            "Later ones are, so they were probably squashed and deleted.",
            hint="Nothing, if they were deleted on purpose. `manage.py migrate --prune zoo` takes them out "
            "of the record.",
            examples=("zoo.0001_initial", "zoo.0002_b"),
        )
    ]
    migrate(database, "zoo", "--prune")
    assert found(database) == []


@on_sqlite
def test_what_a_squashed_one_replaces_is_known(database: Database, disk: Disk):
    disk.write("zoo", "0001_squashed_0002_b", replaces=["0001_initial", "0002_b"])
    record(database, "zoo.0001_initial", "zoo.0002_b")
    assert found(database) == []


def test_apps_that_are_gone_are_counted(database: Database, disk: Disk):
    record(database, "aquarium.0001_initial", "aquarium.0002_b", "farm.0001_initial")
    [finding] = found(database)
    assert finding == Finding(
        id="runbook.P206",
        severity=Severity.WARNING,
        subject="aquarium, farm",
        message="Migrations are applied of apps that are not installed: aquarium (2), farm (1). Their "
        "tables may still be there, with foreign keys that stop rows from being deleted.",
        hint="If they should be there, put them back into INSTALLED_APPS. To see them, in `manage.py "
        "dbshell`: SELECT app, name, applied FROM django_migrations WHERE app IN ('aquarium', 'farm') "
        "ORDER BY id;",
    )
    rows = database.ask(finding.hint.rpartition("`: ")[2].rstrip(";"))
    assert [row[:2] for row in rows] == [
        ("aquarium", "0001_initial"),
        ("aquarium", "0002_b"),
        ("farm", "0001_initial"),
    ]


@on_sqlite
def test_an_app_without_any_file_is_told_as_such(database: Database, disk: Disk):
    record(database, "zoo.0001_initial")
    assert found(database)[0].message == (
        "Migrations of app 'zoo' are applied (1), and none is on disk: zoo.0001_initial. Its tables stay "
        "as they are, whatever its models say."
    )


@on_sqlite
def test_a_broken_file_is_on_disk(database: Database, disk: Disk):
    disk.write("zoo", "0001_initial")
    disk.write_text("zoo", "0002_b", "1 / 0")
    record(database, "zoo.0001_initial", "zoo.0002_b")
    assert in_short(database) == [("P201", "error", "zoo.0002_b")]


@on_sqlite
def test_an_old_one_is_not_taken_for_a_later_change_of_the_same_name(database: Database, disk: Disk):
    disk.write("zoo", "0001_squashed_0031_x")
    disk.write("zoo", "0032_alter_animal_age", "0001_squashed_0031_x")
    record(database, "zoo.0005_alter_animal_age", "zoo.0031_x", "zoo.0001_squashed_0031_x")
    assert in_short(database) == [("P206", "warning", "zoo")]


@on_sqlite
def test_what_was_deleted_before_a_squash_is_older_than_what_that_replaces(database: Database, disk: Disk):
    disk.write("zoo", "0001_squashed_0003_c", replaces=["0001_initial", "0003_c"])
    record(database, "zoo.0001_initial", "zoo.0002_dropped", "zoo.0003_c")
    assert in_short(database) == [("P206", "warning", "zoo")]


def test_a_runbook_may_say_that_it_does_not_matter():
    """What bars the plan is not weighed against the runbook's own words: there is no plan to have them."""
    assert CHECK.suppressible
    assert not CHECK.bars_plan
