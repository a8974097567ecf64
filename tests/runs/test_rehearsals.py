"""Rehearsals: the same plan on a copy, its certificate, and what a run makes of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from drill import (
    SERVICES,
    Drill,
    Running,
    connected,
    content,
    entries,
    journals,
    nothing_touched,
    runbook,
    status,
    write_runbook,
)
from example_project import Project

from django_runbook.journal import Event, RunStatus

StartDrill = Callable[[Project], Drill]
STEPS = (
    "Backup()",
    'Migrate("core", "0033")',
    'Migrate("core", "0034")',
    "Backfill(MoveServicesToSousDirections)",
    "Verify()",
    'Export("core.Service")',
    'Command(["touch", "acted"])',
)


def rehearsed(project: Project, *words: str, exit: int = 0) -> dict[str, Any]:
    ended = runbook(project, "rehearse", "sous_directions", *words, "--format", "json", exit=exit)
    return dict(json.loads(ended.stdout))


@contextmanager
def database_untouched(project: Project) -> Iterator[None]:
    before = content(project)
    yield
    assert content(project) == before
    assert journals(project) == []


def scratch_databases(project: Project) -> list[str]:
    with connected(project) as connection, connection.cursor() as cursor:
        name = str(connection.settings_dict["NAME"])
        if connection.vendor == "sqlite":
            return [path.name for path in Path(name).parent.glob(".runbook-*.sqlite3")]
        listing = "SHOW DATABASES" if connection.vendor == "mysql" else "SELECT datname FROM pg_database"
        cursor.execute(listing)
        return [found for (found,) in cursor.fetchall() if found.startswith(f"{name}_runbook_")]


def test_a_rehearsal_measures_every_step_on_a_copy_and_touches_nothing(at_0032: Project) -> None:
    write_runbook(at_0032, "sous_directions", *STEPS)
    with database_untouched(at_0032):
        shown = rehearsed(at_0032)
    steps = {step["key"]: step for step in shown["steps"]}
    assert list(steps) == [
        "1-backup",
        "2-migrate-core-0033",
        "3-migrate-core-0034",
        "4-backfill-moveservicestosousdirections",
        "5-verify",
        "6-export-core-service",
    ]
    assert all(step["seconds"] > 0 for step in steps.values())
    assert steps["4-backfill-moveservicestosousdirections"]["rows"] == SERVICES
    assert steps["2-migrate-core-0033"]["peak_bytes"] >= shown["bytes_before"] > 0
    assert shown["left_out"] == ["Backup()", "Command touch acted"]
    assert shown["error"] == ""
    assert not (at_0032.folder / "acted").exists()
    assert scratch_databases(at_0032) == []
    folder = at_0032.folder / "var/runbook/rehearsals" / shown["id"]
    assert sorted(path.name for path in folder.iterdir()) == ["certificate.json", "journal.jsonl"]
    assert list((at_0032.folder / "var/runbook/scratch").iterdir()) == []


def test_a_run_foretells_its_durations_by_the_rehearsal_and_goes_on_as_rehearsed(on_sqlite: Project) -> None:
    write_runbook(on_sqlite, "sous_directions", *STEPS)
    shown = rehearsed(on_sqlite)
    told = runbook(on_sqlite, "plan", "sous_directions").stdout
    assert f"By rehearsal {shown['id']} of " in told
    ended = runbook(on_sqlite, "run", "sous_directions", "--require-rehearsal", "--noinput")
    assert '… Migrate("core", "0033") (about 0.' in ended.stdout
    assert " s until the end)" in ended.stdout
    opened = entries(on_sqlite)[0].facts
    assert opened["rehearsal"] == shown["id"]
    assert opened["predicted"] == {step["key"]: step["seconds"] for step in shown["steps"]}
    assert status(on_sqlite) is RunStatus.FINISHED


def test_a_run_that_requires_a_rehearsal_is_refused_without_one_of_this_plan_and_schema(
    on_sqlite: Project,
) -> None:
    def refused() -> str:
        with nothing_touched(on_sqlite):
            return runbook(on_sqlite, "run", "sous_directions", "--require-rehearsal", exit=2).stderr

    write_runbook(on_sqlite, "sous_directions", *STEPS[:3])
    assert "is not to run without a rehearsal, and none was held on this database." in refused()
    rehearsed(on_sqlite)
    write_runbook(on_sqlite, "sous_directions", *STEPS[:2])
    assert "the plan has changed since the last one." in refused()
    write_runbook(on_sqlite, "sous_directions", *STEPS[:3])
    with connected(on_sqlite) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE of_others (id INTEGER PRIMARY KEY)")
    words = refused()
    assert "the schema has changed since the last one." in words
    assert "`manage.py runbook rehearse core.sous_directions`" in words


def test_a_rehearsal_that_fails_says_why_and_is_none(on_sqlite: Project) -> None:
    write_runbook(on_sqlite, "sous_directions", *STEPS[:3], 'Verify(NoRows("core.Service"))')
    with database_untouched(on_sqlite):
        ended = runbook(on_sqlite, "rehearse", "sous_directions", exit=1)
    assert "The rehearsal failed: Step 'Verify(NoRows(\"core.Service\"))' failed: " in ended.stderr
    assert "The database itself was not touched." in ended.stderr
    assert scratch_databases(on_sqlite) == []
    words = runbook(on_sqlite, "run", "sous_directions", "--require-rehearsal", exit=2).stderr
    assert "and the last one failed: Step 'Verify(" in words


def test_code_that_goes_past_its_arguments_reaches_the_copy_only(at_0032: Project) -> None:
    code = '''
from django.db import connection


class Wild(Step):
    """Uses the project's default connection, as careless code does."""

    repeatable = True
    changes_data = True
    reversible = True

    def declaration(self):
        return "Wild()"

    def reason(self, place):
        return "a test wants it"

    def run(self, context):
        with connection.cursor() as cursor:
            cursor.execute("UPDATE core_service SET effectif = effectif + 1000")
            return {"rows": cursor.rowcount}
'''
    write_runbook(at_0032, "sous_directions", "Backup()", "Wild()", code=code)
    with database_untouched(at_0032):
        assert [step["rows"] for step in rehearsed(at_0032)["steps"]] == [None, SERVICES]


def test_tables_that_are_rebuilt_and_locks_that_last_are_named(at_0032: Project) -> None:
    slow = {
        "sqlite": "SELECT 1",
        "mariadb": "ALTER TABLE core_service FORCE",
        "postgresql": "ALTER TABLE core_service ALTER COLUMN sigle TYPE varchar(7); SELECT pg_sleep(0.3)",
    }[at_0032.kind]
    migration = at_0032.folder / "core/migrations/0034_agent_sous_direction.py"
    head = "operations = [\n"
    migration.write_text(migration.read_text().replace(head, f'{head}        migrations.RunSQL("{slow}"),\n'))
    write_runbook(at_0032, "sous_directions", *STEPS[:3])
    steps = {step["key"]: step for step in rehearsed(at_0032)["steps"]}
    key = "2-migrate-core-0033" if at_0032.kind == "sqlite" else "3-migrate-core-0034"
    assert "core_service" in steps[key]["rebuilt"]
    if at_0032.kind == "postgresql":
        assert "AccessExclusiveLock core_service" in steps[key]["locks"]


@pytest.mark.parametrize("where", ["migrate", "backfill"])
def test_a_killed_rehearsal_leaves_no_scratch_database(
    at_0032: Project, start_drill: StartDrill, where: str
) -> None:
    drill = start_drill(at_0032)
    with database_untouched(at_0032):
        running = Running(at_0032, "runbook", "rehearse", "drill", **drill.env, PAUSE_AT=where)
        drill.started.append(running)
        running.wait_for((drill.pauses / where).exists, f"pause at {where}")
        assert len(scratch_databases(at_0032)) >= 1
        running.send(signal.SIGKILL)
        assert running.end().returncode == -signal.SIGKILL
        deadline = time.monotonic() + 20
        while scratch_databases(at_0032):
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_what_a_killed_rehearsal_and_its_watchdog_left_is_dropped_by_the_next_one(
    on_sqlite: Project, start_drill: StartDrill
) -> None:
    drill = start_drill(on_sqlite)
    running = Running(on_sqlite, "runbook", "rehearse", "drill", **drill.env, PAUSE_AT="backfill")
    drill.started.append(running)
    running.wait_for((drill.pauses / "backfill").exists, "pause")
    for child in children_of(running.process.pid):
        os.kill(child, signal.SIGKILL)
    running.send(signal.SIGKILL)
    running.end()
    left = scratch_databases(on_sqlite)
    assert left
    runbook(on_sqlite, "backup")
    assert scratch_databases(on_sqlite) == []


def children_of(pid: int) -> list[int]:
    found = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False)
    return [int(child) for child in found.stdout.split()]


def test_ctrl_c_in_a_rehearsal_drops_the_copy(on_sqlite: Project, start_drill: StartDrill) -> None:
    drill = start_drill(on_sqlite)
    running = Running(on_sqlite, "runbook", "rehearse", "drill", **drill.env, PAUSE_AT="backfill")
    drill.started.append(running)
    running.wait_for((drill.pauses / "backfill").exists, "pause")
    running.send(signal.SIGINT)
    (drill.pauses / "release").touch()
    ended = running.end()
    assert ended.returncode == 130
    assert "Go on with `manage.py runbook rehearse`." in ended.stderr
    assert scratch_databases(on_sqlite) == []


def test_a_step_that_takes_much_longer_than_its_rehearsal_is_told(on_sqlite: Project) -> None:
    code = """
import os
import time


class Waits(Step):
    repeatable = True

    def declaration(self):
        return "Waits()"

    def reason(self, place):
        return "a test wants it"

    def run(self, context):
        time.sleep(float(os.environ.get("WAITS", 0)))
"""
    write_runbook(on_sqlite, "sous_directions", "Backup()", "Waits()", code=code)
    rehearsed(on_sqlite)
    told = runbook(on_sqlite, "run", "sous_directions", WAITS="2.5").stdout
    assert "It takes longer than 3 times the 0.0" in told
    assert [entry.event for entry in entries(on_sqlite)][-1] is Event.FINISHED
