"""An applied migration whose dependency is not: what the database shows of it, the cause, and the mend."""

from __future__ import annotations

import pytest
from django.conf import settings
from django.db.migrations.exceptions import InconsistentMigrationHistory
from graph_findings import django_says, found, in_short, migrate, record, run
from written_files import Disk, column, table

from django_runbook.databases import Database
from django_runbook.preflight import Finding, Severity

on_sqlite = pytest.mark.parametrize("database", ["sqlite"], indirect=True)
FACT = "zoo.0002_b is not applied here, though what depends on it is: zoo.0003_c. "
MEND = "INSERT INTO django_migrations (app, name, applied) VALUES ('zoo', '0002_b', CURRENT_TIMESTAMP);"


def chain(disk: Disk, second: str = "") -> None:
    disk.write("zoo", "0001_initial", operations=table("Animal"))
    disk.write("zoo", "0002_b", "0001_initial", operations=second or column("animal", "age"))
    disk.write("zoo", "0003_c", "0002_b", operations=table("Keeper"))


def only(database: Database) -> Finding:
    [finding] = found(database)
    return finding


def test_a_row_that_was_lost_is_written_again(database: Database, disk: Disk):
    chain(disk)
    migrate(database, "zoo")
    run(database, "DELETE FROM django_migrations WHERE name = '0002_b'")
    assert only(database) == Finding(
        id="runbook.P207",
        severity=Severity.ERROR,
        subject="zoo.0002_b",
        message=FACT
        + "What it makes is in the database: its row in django_migrations was lost, as in a partly "
        "restored dump, or was never written.",
        hint=f"If what zoo.0002_b does is done here, in `manage.py dbshell`: {MEND}",
        examples=("zoo.0003_c: written/zoo/0003_c.py",),
    )
    with pytest.raises(InconsistentMigrationHistory):
        migrate(database, "zoo", "0002_b", "--fake")
    run(database, MEND)
    assert in_short(database) == []
    migrate(database, "zoo")


def test_one_that_was_put_in_later_is_to_come_last(database: Database, disk: Disk):
    disk.write("zoo", "0001_initial", operations=table("Animal"))
    disk.write("zoo", "0003_c", "0001_initial", operations=table("Keeper"))
    migrate(database, "zoo")
    chain(disk)
    finding = only(database)
    assert finding.message == (
        FACT
        + "What it makes is not in the database: it was added later, before one that was applied already, "
        "or that one was faked."
    )
    assert finding.hint == (
        "Let zoo.0002_b come last in its app: its file depends on what is the last one now, and no other "
        "on it."
    )
    disk.write("zoo", "0003_c", "0001_initial", operations=table("Keeper"))
    disk.write("zoo", "0002_b", "0003_c", operations=column("animal", "age"))
    assert in_short(database) == []
    migrate(database, "zoo")


@on_sqlite
def test_one_that_leaves_no_trace_may_be_either(database: Database, disk: Disk):
    chain(disk, "migrations.RunSQL('SELECT 1')")
    record(database, "zoo.0001_initial", "zoo.0003_c")
    finding = only(database)
    assert finding.message == (
        FACT
        + "Either it was added later, before one that was applied already, or its row in django_migrations "
        "was lost."
    )
    assert finding.hint == (
        "Let zoo.0002_b come last in its app: its file depends on what is the last one now, and no "
        "other on it.\n"
        f"If what zoo.0002_b does is done here, in `manage.py dbshell`: {MEND}"
    )


@on_sqlite
def test_latest_that_became_another_one_is_told(database: Database, disk: Disk):
    disk.write("zoo", "0001_initial")
    disk.write("zoo", "0002_b", "0001_initial")
    disk.write("nomig", "0001_initial", ("zoo", "__latest__"))
    record(database, "zoo.0001_initial", "nomig.0001_initial")
    finding = only(database)
    assert finding.message.endswith(
        "The dependency says __latest__, which became another one when migrations were added."
    )
    assert finding.hint == (
        "In written/nomig/0001_initial.py, name the migration that was the last one then, instead of "
        "__latest__."
    )
    disk.write("nomig", "0001_initial", ("zoo", "0001_initial"))
    assert found(database) == []


@on_sqlite
def test_run_before_of_one_that_is_applied_is_told(database: Database, disk: Disk):
    disk.write("nomig", "0001_initial")
    disk.write("zoo", "0001_initial", run_before=[("nomig", "0001_initial")])
    record(database, "nomig.0001_initial")
    finding = only(database)
    assert finding.message.endswith("It says so itself, by its run_before.")
    assert finding.hint == "Take run_before out of written/zoo/0001_initial.py."
    disk.write("zoo", "0001_initial")
    assert found(database) == []


@on_sqlite
def test_a_user_model_that_was_changed_later_is_told(
    database: Database, disk: Disk, monkeypatch: pytest.MonkeyPatch
):
    disk.write("zoo", "0001_initial", operations=table("Keeper"))
    disk.write("nomig", "0001_initial", ("zoo", "__first__"))
    record(database, "nomig.0001_initial")
    monkeypatch.setattr(settings, "AUTH_USER_MODEL", "zoo.Keeper")
    finding = only(database)
    assert finding.message.endswith("AUTH_USER_MODEL was changed after the first `migrate`.")
    assert finding.hint.startswith("There is no short way: https://docs.djangoproject.com/")


@on_sqlite
def test_those_of_packages_ask_for_the_versions_of_before(database: Database, disk: Disk):
    record(database, "auth.0001_initial")
    finding = only(database)
    assert finding.subject == "contenttypes.0001_initial"
    assert finding.hint == (
        "Install the versions of the packages that this database was upgraded with: `python -m pip freeze`"
    )


@on_sqlite
def test_all_that_depend_on_it_are_one_finding(database: Database, disk: Disk):
    chain(disk)
    disk.write("nomig", "0001_initial", ("zoo", "0002_b"))
    record(database, "zoo.0001_initial", "zoo.0003_c", "nomig.0001_initial")
    assert "depends on it is: nomig.0001_initial, zoo.0003_c. " in only(database).message


@on_sqlite
def test_a_graph_with_a_gap_elsewhere_is_told_as_far_as_it_goes(database: Database, disk: Disk):
    chain(disk)
    disk.write("nomig", "0002_b", "0001_lost")
    record(database, "zoo.0001_initial", "zoo.0003_c")
    assert in_short(database) == [
        ("P202", "error", "nomig.0001_lost"),
        ("P207", "error", "zoo.0002_b"),
    ]
    assert django_says(database) == "NodeNotFoundError"


def test_one_that_was_renamed_under_an_applied_one_is_told_by_its_old_name(database: Database, disk: Disk):
    chain(disk)
    migrate(database, "zoo")
    run(database, "UPDATE django_migrations SET name = '0002_old' WHERE name = '0002_b'")
    finding = only(database)
    assert finding.message == (
        FACT + "zoo.0002_old is applied and not on disk: probably the file was renamed."
    )
    run(database, finding.hint.rpartition("`: ")[2])
    assert in_short(database) == []
    migrate(database, "zoo")


@on_sqlite
def test_operations_that_fit_to_nothing_do_not_end_the_check(database: Database, disk: Disk):
    chain(disk, column("unicorn", "age"))
    record(database, "zoo.0001_initial", "zoo.0003_c")
    assert "Either it was added later" in only(database).message
