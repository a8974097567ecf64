"""The same number twice: no harm, but the names no longer tell the order."""

from __future__ import annotations

import pytest
from django.core.management import CommandError, call_command
from graph_findings import found, record
from written_files import Disk

from django_runbook.databases import Database
from django_runbook.preflight import Finding, Severity

pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


def test_the_order_is_told_as_it_will_be(database: Database, disk: Disk):
    disk.write("zoo", "0001_initial")
    disk.write("zoo", "0002_b", "0001_initial")
    disk.write("zoo", "0002_a", "0002_b")
    record(database, "zoo.0001_initial", "zoo.0002_b")
    assert found(database) == [
        Finding(
            id="runbook.P205",
            severity=Severity.WARNING,
            subject="zoo.0002_a",
            message="More than one migration of 'zoo' has the number 0002. They are applied in this order, "
            "whatever their names say: zoo.0002_b, zoo.0002_a.",
            hint="Write names in full, as in `manage.py migrate zoo 0002_a`. A number can be changed as "
            "long as the migration is applied nowhere.",
        )
    ]
    with pytest.raises(CommandError, match="More than one migration matches '0002'"):
        call_command("migrate", "zoo", "0002")
    record(database, "zoo.0002_a")
    assert found(database) == []


def test_a_squashed_one_beside_what_it_replaces_is_no_duplicate(database: Database, disk: Disk):
    disk.write("zoo", "0001_initial")
    disk.write("zoo", "0002_b", "0001_initial")
    disk.write("zoo", "0001_squashed_0002_b", replaces=["0001_initial", "0002_b"])
    record(database, "zoo.0001_initial")
    assert found(database) == []


def test_another_app_may_have_the_same_number(database: Database, disk: Disk):
    disk.write("zoo", "0001_initial")
    disk.write("nomig", "0001_initial")
    assert found(database) == []
