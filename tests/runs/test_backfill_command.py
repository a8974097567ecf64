"""The operator's word on a backfill that is under way, from another terminal."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from drill import all_moved, execute, runbook, status, write_runbook
from example_project import Project

from django_runbook.journal import RunStatus

MOVE = ("Backup()", 'Migrate("core", "0033")', "Backfill(MoveServicesToSousDirections, batch_size=5)")


def backfills(project: Project) -> list[dict[str, Any]]:
    return json.loads(runbook(project, "backfill", "--format", "json").stdout)


def until(condition: Callable[[], bool]) -> None:
    """Raise AssertionError if it does not come true in thirty seconds."""
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def begun(project: Project) -> bool:
    ended = project.manage("runbook", "backfill", "--format", "json", check=False)
    return ended.returncode == 0 and any(it["seen"] > 5 for it in json.loads(ended.stdout))


def test_a_backfill_is_paused_goes_on_and_is_hurried_from_another_terminal(at_0032: Project) -> None:
    write_runbook(at_0032, "sous_directions", *MOVE, "Migrate.all()")
    run = at_0032.start("manage.py", "runbook", "run", "sous_directions", "--noinput", "--max-rate", "20")
    until(lambda: begun(at_0032))
    runbook(at_0032, "backfill", "--pause")
    until(lambda: backfills(at_0032)[0]["halted"] != "")
    [paused] = backfills(at_0032)
    time.sleep(1)
    assert backfills(at_0032)[0]["seen"] == paused["seen"] < 100
    assert (
        "halted: paused; `manage.py runbook backfill --go-on` ends that"
        in runbook(at_0032, "backfill").stdout
    )
    runbook(at_0032, "backfill", "--go-on", "--max-rate", "100000")
    output, errors = run.communicate()
    assert run.returncode == 0, output + errors
    assert all_moved(at_0032)
    [done] = backfills(at_0032)
    assert (done["done"], done["rows"], done["halted"]) == (True, 100, "")
    assert "No backfill of run" in runbook(at_0032, "backfill", "--pause", exit=2).stderr


def test_a_cancelled_backfill_ends_the_run_and_a_resume_goes_on(on_sqlite: Project) -> None:
    write_runbook(on_sqlite, "sous_directions", *MOVE, "Migrate.all()")
    run = on_sqlite.start("manage.py", "runbook", "run", "sous_directions", "--noinput", "--max-rate", "20")
    until(lambda: begun(on_sqlite))
    runbook(on_sqlite, "backfill", "--cancel")
    _output, errors = run.communicate()
    assert run.returncode == 1
    assert "The backfill was cancelled from another terminal" in errors
    assert not all_moved(on_sqlite)
    runbook(on_sqlite, "resume")
    assert status(on_sqlite) is RunStatus.FINISHED
    assert all_moved(on_sqlite)


CODE = """
class AddOnce(Backfill):
    model = "core.Service"
    fills = ["effectif"]

    def batch(self, rows):
        assert not rows.filter(sigle="POISON").exists(), "a poisonous row"
"""


def test_rows_that_were_set_aside_are_done_when_they_are_mended(on_sqlite: Project) -> None:
    write_runbook(
        on_sqlite, "poison", "Backup()", "Migrate.all()", "Backfill(AddOnce, tolerate=1)", code=CODE
    )
    execute(on_sqlite, "UPDATE core_service SET sigle = 'POISON' WHERE id = 7")
    runbook(on_sqlite, "run", "poison")
    assert 'set aside: ["7"]: AssertionError: a poisonous row' in runbook(on_sqlite, "backfill").stdout
    execute(on_sqlite, "UPDATE core_service SET sigle = 'X' WHERE id = 7")
    assert "set aside" not in runbook(on_sqlite, "backfill", "--retry-quarantined").stdout


def test_a_run_without_a_backfill_says_so(on_sqlite: Project) -> None:
    write_runbook(on_sqlite, "none", "Backup()", "Migrate.all()", "Command(['false'])")
    runbook(on_sqlite, "run", "none", exit=1)
    assert "This run has begun no backfill." in runbook(on_sqlite, "backfill").stdout
