"""Programs that cannot be started, and folders that others may read or that do not last, are named."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.test import override_settings
from library import runbook, start
from looking import found_by

from django_runbook.databases import Database
from django_runbook.plan import make_plan
from django_runbook.preflight import Finding, Severity
from django_runbook.steps import Command, Step, Verify

pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True)

MEMORY = Path("/dev/shm")


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[Path]:
    """RUNBOOK["DIR"], not made yet."""
    path = tmp_path / "site" / "runs"
    with override_settings(RUNBOOK={"DIR": path}):
        yield path


def found(database: Database, *steps: Step) -> list[Finding]:
    return found_by("runbook.P119", database, make_plan(runbook(*(steps or (Verify(),))), start()))


def test_a_program_that_is_not_there_is_an_error_unless_an_earlier_one_may_bring_it(
    database: Database, runs: Path
) -> None:
    missing = Command(["no-such-program", "-x"])
    assert found(database, missing) == [
        Finding(
            id="runbook.P119",
            severity=Severity.ERROR,
            message="Step 'Command no-such-program -x' runs the program no-such-program, which is not on "
            "PATH or may not be started.",
            hint="Install it, or write its whole path into the step.",
            subject="Command no-such-program -x",
        )
    ]
    assert [it.severity for it in found(database, Command(["true"]), missing)] == [Severity.WARNING]
    assert found(database, Command(["true"]), Command(["/bin/sh", "-c", "true"])) == []


@pytest.mark.parametrize("setting", ["MEDIA_ROOT", "STATIC_ROOT"])
def test_a_run_directory_that_a_web_server_serves_is_an_error(
    database: Database, runs: Path, setting: str
) -> None:
    with override_settings(**{setting: str(runs.parent)}):
        assert found(database) == [
            Finding(
                id="runbook.P119",
                severity=Severity.ERROR,
                message=f"The run directory {runs} lies within {setting}, whose files a web server gives to "
                "everybody: backups and exports could be downloaded.",
                hint='Set RUNBOOK["DIR"] to a folder that no web server serves.',
                subject=str(runs),
            )
        ]
    for elsewhere in (str(runs.parent / "run"), str(runs.parent / "media"), "", None):
        with override_settings(**{setting: elsewhere}):
            assert found(database) == []


def test_folders_that_others_may_look_into_are_named_and_the_hint_closes_them(
    database: Database, runs: Path
) -> None:
    backups = runs / "backups"
    backups.mkdir(parents=True)
    for folder, mode in ((runs, 0o775), (backups, 0o750)):
        folder.chmod(mode)
    assert [(it.severity, it.message, it.hint) for it in found(database)] == [
        (
            Severity.WARNING,
            f"Other users of this machine may look into folder {folder}, or change it (mode {mode}).",
            f"chmod 700 '{folder}'",
        )
        for folder, mode in ((runs, "0775"), (backups, "0750"))
    ]
    backups.chmod(0o700)
    runs.chmod(0o755)
    assert found(database) == []


@pytest.mark.skipif(not MEMORY.is_dir(), reason="no file system in memory")
def test_a_run_directory_in_memory_is_named(database: Database) -> None:
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        path = Path(folder) / "runs"
        with override_settings(RUNBOOK={"DIR": path}):
            assert found(database) == [
                Finding(
                    id="runbook.P119",
                    severity=Severity.WARNING,
                    message=f"The run directory {path} lies in memory (tmpfs): after a restart of this "
                    "machine the journal and the backup are gone, and no run can be resumed.",
                    hint='Set RUNBOOK["DIR"] to a folder on a disk.',
                    subject=str(path),
                )
            ]
