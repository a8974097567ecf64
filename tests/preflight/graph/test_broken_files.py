"""Files that cannot be imported: which one, where, why."""

from __future__ import annotations

import py_compile
import subprocess
import sys

import pytest
from django.test.utils import override_settings
from graph_findings import found
from written_files import Disk

from django_runbook.databases import Database
from django_runbook.preflight import Finding, Severity
from django_runbook.preflight.broken_files import CHECK

pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True)
SHELL = "manage.py shell -c \"from importlib import import_module; import_module('written.zoo.{name}')\""
UNTIL = " Until they can, Django applies no migration of any app."


def only(database: Database) -> Finding:
    [finding] = found(database)
    assert finding.id == CHECK.id
    return finding


def test_the_line_that_fails_is_that_of_the_file_itself(database: Database, disk: Disk):
    disk.write_text("zoo", "0001_initial", "from decimal import Decimal\n\nDecimal(['x'])\n")
    assert only(database) == Finding(
        id="runbook.P201",
        severity=Severity.ERROR,
        subject="zoo.0001_initial",
        message="The migrations of 'zoo.0001_initial' cannot be read: written/zoo/0001_initial.py, line 3: "
        "ValueError: argument must be a sequence of length 3." + UNTIL,
        hint=f"Mend the file. To see where it fails: `{SHELL.format(name='0001_initial')}`",
    )


def test_a_module_that_is_missing_is_named(database: Database, disk: Disk):
    disk.write_text("zoo", "0001_initial", "\nimport no_such_module")
    finding = only(database)
    assert finding.message == (
        "The migrations of 'zoo.0001_initial' cannot be read: written/zoo/0001_initial.py, line 2: "
        "ModuleNotFoundError: No module named 'no_such_module'." + UNTIL
    )
    assert finding.hint == (
        "Install the package that has the module 'no_such_module', or copy that file here. To see it fail: "
        f"`{SHELL.format(name='0001_initial')}`"
    )


def test_the_command_of_the_hint_shows_the_failure(database: Database, disk: Disk):
    disk.write_text("zoo", "0001_initial", "raise ValueError('of this file')")
    code = only(database).hint.split('"')[1]
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=disk.path)
    assert 'written/zoo/0001_initial.py", line 1' in said.stderr
    assert "ValueError: of this file" in said.stderr


def test_a_merge_that_was_not_finished_is_told_by_its_marks(database: Database, disk: Disk):
    path = disk.write_text("zoo", "0001_initial", "x = 1\n<<<<<<< HEAD\ny = 1\n=======\ny = 2\n>>>>>>> b\n")
    finding = only(database)
    assert "written/zoo/0001_initial.py, line 2: SyntaxError: invalid syntax." in finding.message
    assert finding.hint.startswith("A merge was not finished in it: ")
    command = finding.hint.split("`")[1]
    said = subprocess.run(command, shell=True, capture_output=True, text=True, cwd=disk.path)  # noqa: S602
    assert said.stdout == "2:<<<<<<< HEAD\n4:=======\n6:>>>>>>> b\n", path


def test_an_empty_file_is_a_copy_that_broke_off(database: Database, disk: Disk):
    disk.write_text("zoo", "0001_initial", "\n")
    finding = only(database)
    assert finding.message == (
        "The migrations of 'zoo.0001_initial' cannot be read: written/zoo/0001_initial.py: it has no class "
        "named Migration." + UNTIL
    )
    assert finding.hint == (
        "The file is empty, as after a copy that broke off. Copy it again; in a checkout: `git checkout -- "
        "written/zoo/0001_initial.py`"
    )


def test_a_file_that_is_no_migration_may_have_another_name(database: Database, disk: Disk):
    disk.write_text("zoo", "helpers", "x = 1")
    assert only(database).hint == (
        "If it is no migration, give it a name that Django passes over: `git mv written/zoo/helpers.py "
        "written/zoo/_helpers.py`, and change what imports it."
    )
    (disk.folder("zoo") / "helpers.py").rename(disk.folder("zoo") / "_helpers.py")
    disk.forget()
    assert found(database) == []


def test_dependencies_that_are_no_pairs_are_told(database: Database, disk: Disk):
    disk.write_text(
        "zoo",
        "0001_initial",
        "from django.db import migrations\n"
        "\n"
        "\n"
        "class Migration(migrations.Migration):\n"
        "    dependencies = ('auth', '0001_initial')\n",
    )
    finding = only(database)
    assert "written/zoo/0001_initial.py: dependencies is not a list of pairs of an app" in finding.message
    assert finding.hint == (
        "Each entry is written as in ('auth', '0001_initial'), and the list in square brackets."
    )


def test_a_compiled_file_of_an_older_python_is_to_be_deleted(database: Database, disk: Disk):
    (disk.folder("zoo") / "0001_initial.pyc").write_bytes(b"\x00" * 16)
    finding = only(database)
    assert "written/zoo/0001_initial.pyc: ImportError: bad magic number in" in finding.message
    assert finding.hint == (
        "It is a compiled file without its source, left behind by an older release: `rm "
        "written/zoo/0001_initial.pyc`"
    )


def test_what_is_compiled_in_pycache_is_no_migration(database: Database, disk: Disk):
    path = disk.write_text("zoo", "0001_initial", "x = 1")
    py_compile.compile(str(path))
    disk.remove("zoo", "0001_initial")
    assert found(database) == []


def test_a_file_that_ends_the_process_does_not_end_the_check(database: Database, disk: Disk):
    disk.write_text("zoo", "0001_initial", "raise SystemExit(3)")
    assert "SystemExit: 3" in only(database).message


def test_no_password_is_told(database: Database, disk: Disk, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(database.connection.settings_dict, "PASSWORD", "hunter2hunter2")
    disk.write_text("zoo", "0001_initial", "raise ValueError('postgres://u:hunter2hunter2@h')")
    assert "hunter2" not in only(database).message


def test_a_file_of_a_package_is_to_be_installed_again(database: Database, disk: Disk):
    folder = disk.path / "site-packages" / "others"
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    (folder / "0001_initial.py").write_text("from django.db import no_such_name")
    (disk.path / "site-packages" / "__init__.py").touch()
    package = "site-packages.others"
    with override_settings(MIGRATION_MODULES={"contenttypes": package, "zoo": None, "nomig": None}):
        [finding] = [it for it in found(database) if it.subject == "contenttypes.0001_initial"]
    assert finding.hint == (
        "It comes with a package. What does not fit together: `python -m pip check`. To have its files "
        "again: `python -m pip install --force-reinstall --no-deps Django`"
    )
