"""Steps that fail: exit code 1, a known state, and the next command in the message."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from drill import (
    HealthPage,
    all_moved,
    content,
    entries,
    execute,
    journal,
    numbers,
    runbook,
    select,
    state,
    status,
    write_runbook,
)
from example_project import Project
from private_server import free_port

from django_runbook.journal import Event, RunStatus, StepStatus

RAISES = '''
class Raises(Step):
    """Fails as a step of a project's own may."""

    repeatable = True

    def declaration(self):
        return "Raises()"

    def reason(self, place):
        return "a test wants it"

    def run(self, context):
        raise ZeroDivisionError("no division of labour")
'''
FULL_DISK = '''
import shutil


class BackupOnAFullDisk(Backup):
    """The disk fills up after the check, as the dump begins."""

    def run(self, context):
        dumper = type(context.database.dumper)
        dump = dumper.dump

        def late(self, target, **terms):
            filler = context.backups.parent / "filler"
            with filler.open("wb") as file:
                file.write(bytes(shutil.disk_usage(context.backups).free - 65536))
            for _ in range(200):
                target.write(os.urandom(4096))
            return dump(self, target, **terms)

        dumper.dump = late
        try:
            return super().run(context)
        finally:
            dumper.dump = dump
'''
FILLS_THE_DISK = (
    "import os, sys; folder = sys.argv[1]; "
    "left = os.statvfs(folder); size = left.f_bavail * left.f_frsize; "
    "open(f'{folder}/filler', 'wb').write(bytes(size)); print('x' * 8000)"
)


def failed(project: Project, *words: str, **env: str) -> str:
    """What a failed command says; the run can go on, and the message tells how."""
    ended = runbook(project, *words, exit=1, **env)
    assert "manage.py runbook resume" in ended.stderr
    return ended.stderr


def test_a_step_that_raises_fails_the_run_and_a_mended_one_completes_it(on_sqlite: Project) -> None:
    head = ("Backup()", "Migrate.all()", "Backfill(MoveServicesToSousDirections)")
    write_runbook(on_sqlite, "raising", *head, "Raises()", code=RAISES)
    words = failed(on_sqlite, "run", "raising")
    assert "Step 'Raises()' failed: ZeroDivisionError: no division of labour" in words
    assert "`manage.py runbook status` shows every way back" in words
    assert status(on_sqlite) is RunStatus.FAILED
    before = content(on_sqlite)
    failed(on_sqlite, "resume")
    assert content(on_sqlite) == before
    write_runbook(on_sqlite, "raising", *head, "Verify()")
    runbook(on_sqlite, "resume")
    assert status(on_sqlite) is RunStatus.FINISHED
    assert content(on_sqlite) == before
    assert all_moved(on_sqlite)


def test_a_row_that_fails_is_left_as_it_was_and_a_resume_does_it_alone(at_0032: Project) -> None:
    code = '''
from django.db.models import F


class AddOnce(Backfill):
    """Fails at one row until it is mended."""

    model = "core.Service"
    fills = ["effectif"]
    batch_size = 20

    def batch(self, rows):
        rows.update(effectif=F("effectif") + 1000)
        assert not rows.filter(sigle="POISON").exists(), "a poisonous row"
'''
    write_runbook(at_0032, "batches", "Backup()", "Migrate.all()", "Backfill(AddOnce)", code=code)
    poisoned = sorted(numbers(at_0032))[50]
    execute(at_0032, f"UPDATE core_service SET sigle = 'POISON' WHERE id = {poisoned}")
    before = numbers(at_0032)
    assert f"- {poisoned}: AssertionError: a poisonous row" in failed(at_0032, "run", "batches")
    assert {pk for pk, after in numbers(at_0032).items() if after != before[pk] + 1000} == {poisoned}
    execute(at_0032, "UPDATE core_service SET sigle = 'X' WHERE sigle = 'POISON'")
    runbook(at_0032, "resume")
    assert numbers(at_0032) == {pk: number + 1000 for pk, number in before.items()}


def test_a_failed_migration_says_whether_it_was_rolled_back(at_0032: Project) -> None:
    migration = at_0032.folder / "core/migrations/0034_agent_sous_direction.py"
    sound = migration.read_text()
    migration.write_text(
        sound.replace(
            "operations = [\n", 'operations = [\n        migrations.RunSQL("SELECT 1 FROM no_such_table"),\n'
        )
    )
    write_runbook(at_0032, "failing", "Backup()", 'Migrate("core", "0033")', 'Migrate("core", "0034")')
    words = failed(at_0032, "run", "failing")
    assert "no_such_table" in words
    assert ("was rolled back whole" in words) is (at_0032.kind != "mariadb")
    assert select(at_0032, "SELECT name FROM django_migrations WHERE name LIKE '0034_agent%'") == []
    migration.write_text(sound)
    runbook(at_0032, "resume")
    assert status(at_0032) is RunStatus.FINISHED


@pytest.mark.parametrize("at_0032", ["mariadb", "postgresql"], indirect=True)
def test_a_failing_command_fails_the_run_with_its_last_words_and_no_secret(at_0032: Project) -> None:
    command = "echo $DATABASE_URL; echo the last words >&2; exit 3"
    write_runbook(at_0032, "commands", "Backup()", f'Command(["sh", "-c", "{command}"])')
    words = failed(at_0032, "run", "commands")
    assert "sh ended with exit code 3" in words
    assert "the last words" in words
    write_runbook(at_0032, "commands", "Backup()", 'Command(["sh", "-c", "echo $DATABASE_URL"])')
    ended = runbook(at_0032, "resume", "-v", "2")
    told = [words, ended.stdout, ended.stderr, *map(read, at_0032.runs.rglob("*"))]
    password = at_0032.place.server.password
    assert not any(password in text or password[:12] in text for text in told)
    assert any("***" in text for text in told)


def read(path: Path) -> str:
    return path.read_text(errors="replace") if path.is_file() else ""


def test_a_verification_that_fails_names_the_rows_and_gates_what_follows(on_sqlite: Project) -> None:
    write_runbook(
        on_sqlite,
        "gated",
        "Backup()",
        "Migrate.all()",
        'Verify(NoRows("core.Service", direction__isnull=False, sous_direction__isnull=True))',
        'Command(["touch", "after"])',
    )
    words = failed(on_sqlite, "run", "gated")
    assert "the first have the keys" in words
    assert not (on_sqlite.folder / "after").exists()
    on_sqlite.move_services()
    runbook(on_sqlite, "resume")
    assert (on_sqlite.folder / "after").exists()


@pytest.mark.parametrize("ill", ["503", "hangs", "nothing listens"])
def test_a_service_that_does_not_become_healthy_fails_the_run_until_it_is(
    on_sqlite: Project, health_page: HealthPage, ill: str
) -> None:
    url = f"http://127.0.0.1:{free_port()}/sante/" if ill == "nothing listens" else health_page.url
    health_page.status = 503
    health_page.hangs = ill == "hangs"
    restart = 'Restart(["true"], health=HEALTH, deadline=timedelta(seconds=1))'
    code = f"HEALTH = {url!r}\n"
    write_runbook(on_sqlite, "restarting", "Backup()", "Migrate.all()", restart, code=code)
    words = failed(on_sqlite, "run", "restarting")
    assert "The service did not become healthy in time" in words
    assert {"503": "503 as the test wants", "hangs": "timed out", "nothing listens": "refused"}[ill] in words
    health_page.status, health_page.hangs = 200, False
    write_runbook(
        on_sqlite,
        "restarting",
        "Backup()",
        "Migrate.all()",
        restart,
        code=f"HEALTH = {health_page.url!r}\n",
    )
    runbook(on_sqlite, "resume")
    assert status(on_sqlite) is RunStatus.FINISHED


def test_a_service_that_does_not_run_fails_the_restart_and_a_resume_after_its_start_completes(
    on_sqlite: Project,
) -> None:
    words = failed(on_sqlite, "run", "sous_directions")
    assert "Start the service." in words
    assert all_moved(on_sqlite)
    with on_sqlite.serve() as site:
        runbook(on_sqlite, "resume", HEALTH_URL=f"{site.url}/sante/")
    assert status(on_sqlite) is RunStatus.FINISHED


def test_a_disk_that_fills_up_during_the_dump_fails_the_run_and_leaves_no_part_of_a_backup(
    at_0032: Project,
) -> None:
    write_runbook(at_0032, "full", "BackupOnAFullDisk()", "Migrate.all()", code=f"import os\n{FULL_DISK}")
    before = content(at_0032)
    with small_disk(at_0032.runs):
        words = failed(at_0032, "run", "full")
        assert "became full during the backup" in words
        assert content(at_0032) == before
        assert [it.name for it in (at_0032.runs / "backups").iterdir()] == []
        (at_0032.runs / "filler").unlink()
        write_runbook(at_0032, "full", "Backup()", "Migrate.all()")
        runbook(at_0032, "resume")
        assert status(at_0032) is RunStatus.FINISHED


def test_a_disk_too_full_for_the_journal_stops_the_run_and_room_lets_it_go_on(on_sqlite: Project) -> None:
    command = f'Command([sys.executable, "-c", FILLS, {str(on_sqlite.runs)!r}], repeatable=True)'
    code = f"import sys\n\nFILLS = {FILLS_THE_DISK!r}\n"
    write_runbook(on_sqlite, "full", "Backup()", command, "Migrate.all()", code=code)
    with small_disk(on_sqlite.runs):
        words = failed(on_sqlite, "run", "full")
        assert "cannot be written: No space left on device. A run without a journal must not go on." in words
        assert journal(on_sqlite).read_bytes().endswith(b"\n")
        assert entries(on_sqlite)[-1].event is Event.STARTED
        assert state(on_sqlite).current.status is StepStatus.IN_DOUBT
        (on_sqlite.runs / "filler").unlink()
        runbook(on_sqlite, "resume", "--assume-done")
        assert status(on_sqlite) is RunStatus.FINISHED


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """A disk with room for a backup and not for much more."""
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m,mode=0700", "tmpfs", folder]
    if os.geteuid() != 0 or subprocess.run(mount, check=False).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)
