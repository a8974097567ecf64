"""A folder of migrations without __init__.py, which Django passes over in silence."""

from __future__ import annotations

import subprocess

import pytest
from django.conf import settings
from django.db.migrations.loader import MigrationLoader
from django.test.utils import override_settings
from graph_findings import found, in_short, record
from written_files import ROOT, Disk

from django_runbook.databases import Database
from django_runbook.preflight import Finding, Severity

pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


def test_its_files_are_named_and_touching_it_mends_it(database: Database, disk: Disk):
    disk.write("zoo", "0001_initial")
    (disk.folder("zoo") / "__init__.py").unlink()
    disk.forget()
    assert "zoo" in MigrationLoader(database.connection).unmigrated_apps
    record(database, "zoo.0001_initial")
    [finding] = found(database)
    assert finding == Finding(
        id="runbook.P209",
        severity=Severity.ERROR,
        subject="zoo",
        message="Django passes over the migrations of app 'zoo': the folder written/zoo has no "
        "__init__.py, or one that cannot be imported.",
        hint="touch written/zoo/__init__.py",
        examples=("0001_initial.py",),
    )
    subprocess.run(finding.hint.split(), cwd=disk.path, check=True)
    disk.forget()
    assert found(database) == []


def test_migrations_that_are_turned_off_are_meant_to_be(database: Database, disk: Disk):
    disk.write("zoo", "0001_initial")
    with override_settings(MIGRATION_MODULES={"zoo": None, "nomig": "written.nomig"}):
        assert found(database) == []
        record(database, "zoo.0001_initial")
        assert in_short(database) == [("P206", "warning", "zoo")]


def test_a_package_that_lacks_a_module_of_its_own_is_passed_over_too(database: Database, disk: Disk):
    folder = disk.path / ROOT / "shop" / "migrations"
    folder.mkdir(parents=True)
    for package in (folder.parent.parent, folder.parent):
        (package / "__init__.py").touch()
    (folder / "__init__.py").write_text("import written.shop.migrations.lost")
    (folder / "0001_initial.py").touch()
    with override_settings(INSTALLED_APPS=[*settings.INSTALLED_APPS, "written.shop"]):
        assert "shop" in MigrationLoader(database.connection).unmigrated_apps
        [finding] = found(database)
    assert (finding.subject, finding.severity) == ("shop", Severity.WARNING)
    assert finding.hint == (
        'To see why it cannot be imported: `manage.py shell -c "import written.shop.migrations"`'
    )
