"""A dependency without a file: who needs it, what probably became of it, and how to mend it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from graph_findings import django_says, found, in_short, record, run
from written_files import Disk

from django_runbook.databases import Database
from django_runbook.preflight import Finding, Severity
from django_runbook.preflight.missing_parents import CHECK

on_sqlite = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


def only(database: Database) -> Finding:
    [finding] = found(database)
    assert finding.id == CHECK.id
    return finding


def test_a_renamed_one_is_told_with_the_statement_that_renames_its_record(database: Database, disk: Disk):
    disk.write("zoo", "0001_initial")
    disk.write("zoo", "0002_species", "0001_initial")
    disk.write("zoo", "0003_c", "0002_animals")
    record(database, "zoo.0001_initial", "zoo.0002_animals")
    assert only(database) == Finding(
        id="runbook.P202",
        severity=Severity.ERROR,
        subject="zoo.0002_animals",
        message="Migration zoo.0002_animals is not on disk, and these depend on it: zoo.0003_c. It is "
        "recorded as applied here, so the release that applied it had the file. zoo.0002_species has its "
        "number: probably it was renamed.",
        hint="If it is the same one, name ('zoo', '0002_species') as the dependency instead.\n"
        "The database knows it by the old name; in `manage.py dbshell`: UPDATE django_migrations SET name "
        "= '0002_species' WHERE app = 'zoo' AND name = '0002_animals';\n"
        "Where it was added, renamed or deleted, on any branch: `git -C written/zoo log --all "
        "--name-status --diff-filter=ADR -- 0002_animals.py '0002_*' '*_animals.py'`",
        examples=("zoo.0003_c: written/zoo/0003_c.py",),
    )
    mend = only(database).hint.splitlines()[1].split("`: ")[1]
    disk.write("zoo", "0003_c", "0002_species")
    run(database, mend)
    assert in_short(database) == []
    assert django_says(database) == ""


@on_sqlite
def test_a_renumbered_one_is_told_by_its_words(database: Database, disk: Disk):
    disk.write("zoo", "0001_initial")
    disk.write("zoo", "0002_other", "0001_initial")
    disk.write("zoo", "0003_animals", "0002_other")
    disk.write("zoo", "0004_d", "0002_animals", "0003_animals")
    finding = only(database)
    assert finding.message.endswith(
        "It is not recorded as applied here. zoo.0003_animals has its name behind another number: probably "
        "it was renumbered."
    )
    assert "UPDATE" not in finding.hint


@on_sqlite
def test_one_that_was_applied_beside_it_is_not_taken_for_it(database: Database, disk: Disk):
    disk.write("zoo", "0001_initial")
    disk.write("zoo", "0002_species", "0001_initial")
    disk.write("zoo", "0003_c", "0002_animals", "0002_species")
    record(database, "zoo.0001_initial", "zoo.0002_animals", "zoo.0002_species")
    assert only(database).message.endswith(
        "Probably it was not copied with this release, or is on another branch. Nearest: zoo.0001_initial, "
        "zoo.0002_species, zoo.0003_c."
    )


@on_sqlite
def test_one_that_was_never_here_is_told_with_the_nearest(database: Database, disk: Disk):
    disk.write("zoo", "0001_initial")
    disk.write("zoo", "0003_c", "0002_animals")
    assert only(database).message == (
        "Migration zoo.0002_animals is not on disk, and these depend on it: zoo.0003_c. It is not recorded "
        "as applied here. Probably it was never committed, or never copied here. Nearest: "
        "zoo.0001_initial, zoo.0003_c."
    )


@on_sqlite
def test_a_compiled_copy_shows_that_the_file_was_here(database: Database, disk: Disk):
    disk.write("zoo", "0003_c", "0002_animals")
    (disk.folder("zoo") / "__pycache__").mkdir()
    (disk.folder("zoo") / "__pycache__" / "0002_animals.cpython-311.pyc").touch()
    assert only(database).message.endswith(
        "Python's compiled copy is still in __pycache__: the file was on this machine."
    )


@on_sqlite
def test_an_app_that_is_not_installed_is_named_with_those_near_it(database: Database, disk: Disk):
    disk.write("zoo", "0001_initial", ("nomgi", "__first__"))
    finding = only(database)
    assert finding.message == (
        "Migrations depend on nomgi.__first__, and no installed app has the label 'nomgi': zoo.0001_initial."
    )
    assert finding.hint == (
        "Put the app back into INSTALLED_APPS, or take the dependency out of the files. What is installed: "
        "`manage.py diffsettings | grep INSTALLED_APPS`\n"
        "Near it: nomig."
    )


@on_sqlite
def test_an_app_without_migrations_asks_whether_git_leaves_them_out(database: Database, disk: Disk):
    disk.write("zoo", "0001_initial", ("nomig", "__first__"))
    finding = only(database)
    assert finding.message == (
        "Migrations depend on nomig.__first__, and app 'nomig' has no migrations on this machine: "
        "zoo.0001_initial."
    )
    assert finding.hint == (
        "If the repository has its files, copy them; `git check-ignore -v written/nomig/0001_initial.py` "
        "shows whether git leaves them out. If it has none, on the development machine: `manage.py "
        "makemigrations nomig`"
    )


@on_sqlite
def test_one_of_an_installed_package_asks_for_its_version(database: Database, disk: Disk):
    disk.write("zoo", "0001_initial", ("contenttypes", "0099_later"))
    assert only(database).hint == (
        "It comes with a package: `python -m pip show Django` shows which version is installed; install "
        "the one of the release."
    )


@on_sqlite
def test_the_search_finds_where_the_file_went(database: Database, disk: Disk):
    git(disk.path, "init", "-q")
    disk.write("zoo", "0001_initial")
    disk.write("zoo", "0002_animals", "0001_initial")
    git(disk.path, "add", ".")
    git(disk.path, "commit", "-qm", "Animals")
    git(disk.path, "mv", "written/zoo/0002_animals.py", "written/zoo/0002_species.py")
    git(disk.path, "commit", "-qm", "Species")
    disk.forget()
    disk.write("zoo", "0003_c", "0002_animals")
    command = only(database).hint.splitlines()[-1].split("`")[1]
    said = subprocess.run(command, shell=True, cwd=disk.path, capture_output=True, text=True, check=True)  # noqa: S602
    assert "R100\twritten/zoo/0002_animals.py\twritten/zoo/0002_species.py" in said.stdout


def git(folder: Path, *arguments: str) -> None:
    who = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True)


@on_sqlite
def test_a_name_much_like_it_is_the_nearest(database: Database, disk: Disk):
    disk.write("zoo", "0001_initial")
    disk.write("zoo", "0003_sous_direction", "0001_initial")
    disk.write("zoo", "0005_e", "0009_sous_directon", "0003_sous_direction")
    assert only(database).message.endswith("Nearest: zoo.0003_sous_direction.")
