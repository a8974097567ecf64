"""Circles of migrations: the way round, the line of each file that makes it, and the one too much."""

from __future__ import annotations

import subprocess

import pytest
from graph_findings import django_says, found, in_short, record
from written_files import Disk

from django_runbook.databases import Database
from django_runbook.preflight import Finding, Severity

pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


def two_apps(disk: Disk) -> None:
    disk.write("zoo", "0001_initial")
    disk.write("nomig", "0001_initial", ("zoo", "0002_b"))
    disk.write("zoo", "0002_b", "0001_initial", ("nomig", "0001_initial"))
    disk.write("zoo", "0003_c", "0002_b")


def test_a_circle_through_two_apps_is_told_with_the_lines_that_make_it(database: Database, disk: Disk):
    two_apps(disk)
    assert found(database) == [
        Finding(
            id="runbook.P203",
            severity=Severity.ERROR,
            subject="nomig.0001_initial",
            message="Migrations depend on each other in a circle: nomig.0001_initial → zoo.0002_b → "
            "nomig.0001_initial.",
            hint="Take one of the dependencies out. Two models that point at each other need a third "
            "migration that adds one of the foreign keys behind both.\n"
            "What changed there last: `git log -p -2 -- written/nomig/0001_initial.py "
            "written/zoo/0002_b.py`",
            examples=(
                "nomig.0001_initial needs zoo.0002_b: dependencies in written/nomig/0001_initial.py",
                "zoo.0002_b needs nomig.0001_initial: dependencies in written/zoo/0002_b.py",
            ),
        )
    ]


def test_what_was_applied_without_the_other_did_not_need_it(database: Database, disk: Disk):
    two_apps(disk)
    record(database, "zoo.0001_initial", "nomig.0001_initial")
    [finding] = [it for it in found(database) if it.id == "runbook.P203"]
    assert finding.hint.splitlines()[0] == (
        "Probably too much: ('zoo', '0002_b') in the dependencies of written/nomig/0001_initial.py."
    )
    disk.write("nomig", "0001_initial")
    assert in_short(database) == []
    assert django_says(database) == ""


def test_a_later_number_of_the_same_app_is_what_is_too_much(database: Database, disk: Disk):
    disk.write("zoo", "0001_initial", "0003_c")
    disk.write("zoo", "0002_b", "0001_initial")
    disk.write("zoo", "0003_c", "0002_b")
    [finding] = found(database)
    assert finding.message.endswith("zoo.0001_initial → zoo.0003_c → zoo.0002_b → zoo.0001_initial.")
    assert finding.hint.startswith(
        "Probably too much: ('zoo', '0003_c') in the dependencies of written/zoo/0001"
    )


def test_a_circle_by_run_before_is_told_as_such(database: Database, disk: Disk):
    disk.write("nomig", "0001_initial")
    disk.write("zoo", "0001_initial", ("nomig", "0001_initial"), run_before=[("nomig", "0001_initial")])
    [finding] = found(database)
    assert finding.examples == (
        "nomig.0001_initial needs zoo.0001_initial: run_before in written/zoo/0001_initial.py",
        "zoo.0001_initial needs nomig.0001_initial: dependencies in written/zoo/0001_initial.py",
    )


def test_a_circle_that_a_squashed_migration_makes_is_told_as_such(database: Database, disk: Disk):
    disk.write("zoo", "0001_initial")
    disk.write("nomig", "0001_initial", ("zoo", "0001_initial"))
    disk.write("zoo", "0002_b", "0001_initial", ("nomig", "0001_initial"))
    assert found(database) == []
    disk.write("zoo", "0001_squashed_0002_b", ("nomig", "0001_initial"), replaces=["0001_initial", "0002_b"])
    [finding] = found(database)
    assert finding.examples[0] == (
        "nomig.0001_initial needs zoo.0001_squashed_0002_b, by way of what a squashed migration replaces"
    )
    assert django_says(database) == "CircularDependencyError"


def test_each_knot_is_one_finding(database: Database, disk: Disk):
    for app in ("zoo", "nomig"):
        disk.write(app, "0001_initial", "0002_b")
        disk.write(app, "0002_b", "0001_initial")
    assert in_short(database) == [
        ("P203", "error", "nomig.0001_initial"),
        ("P203", "error", "zoo.0001_initial"),
    ]


def test_the_command_of_the_hint_shows_what_changed(database: Database, disk: Disk):
    two_apps(disk)
    for command in ("git init -q", "git add .", "git -c user.name=A -c user.email=a@b.c commit -qm Circle"):
        subprocess.run(command.split(), cwd=disk.path, check=True)
    command = found(database)[0].hint.split("`")[1]
    said = subprocess.run(command.split(), cwd=disk.path, check=True, capture_output=True, text=True)
    assert "Circle" in said.stdout
