"""The states in which real projects arrive: what is found, and what Django itself says of them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import timedelta

import pytest
from graph_findings import django_says, in_short, record
from written_files import Disk

from django_runbook.databases import Database
from django_runbook.exceptions import Interrupted, Refused, TimeLimitReached
from django_runbook.schema.graph import read_graph
from django_runbook.schema.history import History

Found = list[tuple[str, str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """Some files, a record, and what follows."""

    write: Callable[[Disk], object]
    applied: tuple[str, ...] = ()
    found: Found
    refused: str = ""
    """Django's own error, if it has one."""


def chain(disk: Disk, *names: str) -> None:
    for before, name in zip((None, *names), names, strict=False):
        disk.write("zoo", name, *([before] if before else []))


def and_then(disk: Disk, *more: Callable[[Disk], object]) -> None:
    for write in more:
        write(disk)


SQUASHED = ("0001_initial", "0002_b", "0003_c")
RECORDED = tuple(f"zoo.{name}" for name in SQUASHED)


def squashed(disk: Disk, *beside: str) -> None:
    """A squashed migration of three, with some of their files still there, and one that follows."""
    chain(disk, *beside)
    disk.write("zoo", "0001_squashed_0003_c", replaces=SQUASHED)
    disk.write("zoo", "0004_d", "0001_squashed_0003_c")


def without_package(disk: Disk) -> None:
    disk.write("zoo", "0001_initial")
    (disk.folder("zoo") / "__init__.py").unlink()
    disk.forget()


FILES_ALONE = {
    "a chain": Situation(write=lambda disk: chain(disk, "0001_initial", "0002_b"), found=[]),
    "a fork that is merged": Situation(
        write=lambda disk: and_then(
            disk,
            lambda disk: chain(disk, "0001_initial", "0002_b"),
            lambda disk: disk.write("zoo", "0003_c", "0001_initial"),
            lambda disk: disk.write("zoo", "0004_merge", "0002_b", "0003_c"),
        ),
        found=[],
    ),
    "a parent without a file": Situation(
        write=lambda disk: disk.write("zoo", "0002_b", "0001_initial"),
        found=[("P202", "error", "zoo.0001_initial")],
        refused="NodeNotFoundError",
    ),
    "a parent of an app that is not installed": Situation(
        write=lambda disk: disk.write("zoo", "0001_initial", ("aquarium", "0007_x")),
        found=[("P202", "error", "aquarium.0007_x")],
        refused="NodeNotFoundError",
    ),
    "the first one of an app that is not installed": Situation(
        write=lambda disk: disk.write("zoo", "0001_initial", ("aquarium", "__first__")),
        found=[("P202", "error", "aquarium.__first__")],
        refused="ValueError",
    ),
    "the first one of an app with an empty folder": Situation(
        write=lambda disk: disk.write("zoo", "0001_initial", ("nomig", "__first__")),
        found=[("P202", "error", "nomig.__first__")],
        refused="ValueError",
    ),
    "the latest one of another app": Situation(
        write=lambda disk: disk.write("zoo", "0001_initial", ("auth", "__latest__")), found=[]
    ),
    "a run_before of a lost one": Situation(
        write=lambda disk: disk.write("zoo", "0001_initial", run_before=[("auth", "0099_lost")]),
        found=[("P202", "error", "auth.0099_lost")],
        refused="NodeNotFoundError",
    ),
    "two last ones": Situation(
        write=lambda disk: and_then(
            disk,
            lambda disk: chain(disk, "0001_initial", "0002_b"),
            lambda disk: disk.write("zoo", "0002_c", "0001_initial"),
        ),
        found=[("P204", "error", "zoo")],
        refused="CommandError",
    ),
    "a circle in one app": Situation(
        write=lambda disk: and_then(
            disk,
            lambda disk: disk.write("zoo", "0001_initial", "0002_b"),
            lambda disk: disk.write("zoo", "0002_b", "0001_initial"),
        ),
        found=[("P203", "error", "zoo.0001_initial")],
        refused="CircularDependencyError",
    ),
    "one that needs itself": Situation(
        write=lambda disk: disk.write("zoo", "0001_initial", "0001_initial"),
        found=[("P203", "error", "zoo.0001_initial")],
        refused="CircularDependencyError",
    ),
    "the same number twice in a line": Situation(
        write=lambda disk: chain(disk, "0001_initial", "0002_b", "0002_a"),
        found=[("P205", "warning", "zoo.0002_a")],
    ),
    "no class in a file": Situation(
        write=lambda disk: disk.write_text("zoo", "helpers", "x = 1"),
        found=[("P201", "error", "zoo.helpers")],
        refused="BadMigrationError",
    ),
    "a name that Django passes over": Situation(
        write=lambda disk: disk.write_text("zoo", "_helpers", "x = 1"), found=[]
    ),
    "an error of grammar": Situation(
        write=lambda disk: disk.write_text("zoo", "0001_initial", "class Migration("),
        found=[("P201", "error", "zoo.0001_initial")],
        refused="SyntaxError",
    ),
    "a module that is not installed": Situation(
        write=lambda disk: disk.write_text("zoo", "0001_initial", "import no_such_module"),
        found=[("P201", "error", "zoo.0001_initial")],
        refused="ModuleNotFoundError",
    ),
    "dependencies that are no pairs": Situation(
        write=lambda disk: disk.write_text(
            "zoo",
            "0001_initial",
            "from django.db.migrations import Migration as M\n"
            "\n"
            "class Migration(M):\n"
            "    dependencies = ('auth', '0001_initial')",
        ),
        found=[("P201", "error", "zoo.0001_initial")],
        refused="NodeNotFoundError|ValueError",
    ),
    "a broken package": Situation(
        write=lambda disk: disk.write_text("zoo", "__init__", "1 / 0"),
        found=[("P201", "error", "zoo")],
        refused="ZeroDivisionError",
    ),
    "a broken file with children, and another broken one": Situation(
        write=lambda disk: and_then(
            disk,
            lambda disk: disk.write_text("zoo", "0001_initial", "raise RuntimeError"),
            lambda disk: disk.write("zoo", "0002_b", "0001_initial"),
            lambda disk: disk.write_text("nomig", "0001_initial", "1 / 0"),
        ),
        found=[("P201", "error", "zoo.0001_initial"), ("P201", "error", "nomig.0001_initial")],
        refused="RuntimeError|ZeroDivisionError",
    ),
    "a folder without a package": Situation(write=without_package, found=[("P209", "warning", "zoo")]),
    "a folder without a package that another app needs": Situation(
        write=lambda disk: and_then(
            disk, without_package, lambda disk: disk.write("nomig", "0001_initial", ("zoo", "0001_initial"))
        ),
        found=[("P209", "error", "zoo")],
        refused="NodeNotFoundError",
    ),
    "an empty folder": Situation(write=lambda disk: None, found=[]),
}

WITH_A_RECORD = {
    "all applied": Situation(
        write=lambda disk: chain(disk, "0001_initial", "0002_b", "0002_a"),
        applied=("zoo.0001_initial", "zoo.0002_b", "zoo.0002_a"),
        found=[],
    ),
    "a lost parent that is applied": Situation(
        write=lambda disk: disk.write("zoo", "0002_b", "0001_initial"),
        applied=("zoo.0001_initial",),
        found=[("P202", "error", "zoo.0001_initial")],
        refused="NodeNotFoundError",
    ),
    "ahead of the code": Situation(
        write=lambda disk: chain(disk, "0001_initial"),
        applied=("zoo.0001_initial", "zoo.0002_b", "zoo.0003_c"),
        found=[("P206", "error", "zoo.0003_c")],
    ),
    "deleted when squashed, without replaces": Situation(
        write=lambda disk: chain(disk, "0001_squashed_0003_c", "0004_d"),
        applied=(*RECORDED, "zoo.0001_squashed_0003_c"),
        found=[("P206", "warning", "zoo")],
    ),
    "deleted when squashed under a name of its own": Situation(
        write=lambda disk: chain(disk, "0001_all"),
        applied=(*RECORDED, "zoo.0001_all"),
        found=[("P206", "warning", "zoo")],
    ),
    "renamed": Situation(
        write=lambda disk: chain(disk, "0001_initial", "0002_new"),
        applied=("zoo.0001_initial", "zoo.0002_old"),
        found=[("P206", "error", "zoo.0002_old")],
    ),
    "renumbered": Situation(
        write=lambda disk: chain(disk, "0001_initial", "0002_other", "0003_b"),
        applied=("zoo.0001_initial", "zoo.0002_b"),
        found=[("P206", "error", "zoo.0002_b")],
    ),
    "of an app that is gone": Situation(
        write=lambda disk: None,
        applied=("aquarium.0001_initial", "aquarium.0002_b", "farm.0001_initial"),
        found=[("P206", "warning", "aquarium, farm")],
    ),
    "of an app whose folder is empty": Situation(
        write=lambda disk: None,
        applied=("zoo.0001_initial",),
        found=[("P206", "error", "zoo")],
    ),
    "of an app whose folder is no package": Situation(
        write=without_package, applied=("zoo.0001_initial",), found=[("P209", "error", "zoo")]
    ),
    "an unapplied parent": Situation(
        write=lambda disk: chain(disk, "0001_initial", "0002_b", "0003_c"),
        applied=("zoo.0001_initial", "zoo.0003_c"),
        found=[("P207", "error", "zoo.0002_b")],
        refused="InconsistentMigrationHistory",
    ),
    "an unapplied parent in another app": Situation(
        write=lambda disk: and_then(
            disk,
            lambda disk: chain(disk, "0001_initial"),
            lambda disk: disk.write("nomig", "0001_initial", ("zoo", "__first__")),
        ),
        applied=("nomig.0001_initial",),
        found=[("P207", "error", "zoo.0001_initial")],
        refused="InconsistentMigrationHistory",
    ),
    "squashed, none applied": Situation(write=squashed, found=[]),
    "squashed, all applied": Situation(write=squashed, applied=RECORDED, found=[]),
    "squashed, all applied, and what follows": Situation(
        write=squashed, applied=(*RECORDED, "zoo.0004_d"), found=[]
    ),
    "squashed, half applied, the files there": Situation(
        write=lambda disk: squashed(disk, *SQUASHED), applied=RECORDED[:2], found=[]
    ),
    "squashed, half applied, the pending file lost": Situation(
        write=lambda disk: squashed(disk, *SQUASHED[:2]),
        applied=RECORDED[:2],
        found=[("P208", "error", "zoo.0001_squashed_0003_c")],
    ),
    "squashed, half applied, the applied files lost": Situation(
        write=lambda disk: and_then(disk, squashed, lambda disk: disk.write("zoo", "0003_c", "0002_b")),
        applied=RECORDED[:2],
        found=[("P208", "error", "zoo.0001_squashed_0003_c")],
        refused="NodeNotFoundError",
    ),
    "squashed, half applied, all files lost": Situation(
        write=squashed,
        applied=RECORDED[:2],
        found=[("P208", "error", "zoo.0001_squashed_0003_c")],
    ),
    "squashed and recorded, the rows of the replaced ones deleted": Situation(
        write=squashed,
        applied=("zoo.0001_squashed_0003_c",),
        found=[("P208", "error", "zoo.0001_squashed_0003_c")],
    ),
}
"""What Django does not refuse, it does wrong: it runs again what is done, or never what is to do."""


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.parametrize("situation", FILES_ALONE.values(), ids=FILES_ALONE)
def test_the_files_alone(database: Database, disk: Disk, situation: Situation):
    agree(database, disk, situation)


@pytest.mark.parametrize("situation", WITH_A_RECORD.values(), ids=WITH_A_RECORD)
def test_the_files_beside_the_record(database: Database, disk: Disk, situation: Situation):
    agree(database, disk, situation)


def agree(database: Database, disk: Disk, situation: Situation) -> None:
    situation.write(disk)
    if situation.applied:
        record(database, *situation.applied)
    assert in_short(database) == situation.found
    assert django_says(database) in situation.refused.split("|")
    with pytest.raises(Refused) if situation.refused else nullcontext():
        History.load(database.connection)


def test_a_time_limit_that_is_over_is_told_as_such(database: Database, disk: Disk):
    """Not as a broken file, and not as nothing found."""
    chain(disk, "0001_initial")
    with pytest.raises(TimeLimitReached), database.reading(timedelta()):
        read_graph(database)
    with pytest.raises(TimeLimitReached), database.reading(timedelta()):
        History.load(database.connection)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_an_interrupt_during_an_import_goes_through(database: Database, disk: Disk):
    disk.write_text(
        "zoo", "0001_initial", "from django_runbook.exceptions import Interrupted\nraise Interrupted('now')"
    )
    with pytest.raises(Interrupted):
        read_graph(database)
