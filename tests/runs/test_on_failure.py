"""What a runbook wants to happen when one of its steps fails."""

from __future__ import annotations

import json

from drill import all_moved, content, entries, runbook, state, status, without_content_types, write_runbook
from example_project import Project

from django_runbook.journal import Event, RunStatus

MIGRATIONS = ("Backup()", 'Migrate("core", "0033")', 'Migrate("core", "0034")')
MOVED = (*MIGRATIONS, "Backfill(MoveServicesToSousDirections)")
FAILS = 'Command(["false"])'


def failed(project: Project, *steps: str, on_failure: str) -> str:
    """What is said when the last of these steps fails."""
    write_runbook(project, "sous_directions", *steps, FAILS, on_failure=on_failure)
    return runbook(project, "run", "sous_directions", exit=1).stderr


def test_a_failed_run_is_undone_if_its_runbook_says_so_and_nothing_is_lost(at_0032: Project) -> None:
    before = without_content_types(content(at_0032))
    words = failed(at_0032, *MIGRATIONS, on_failure="undo")
    assert "Step 'Command false' failed: false ended with exit code 1." in words
    assert 'The run was undone, as its runbook says: on_failure = "undo".' in words
    assert "Mend the cause, then begin anew with `manage.py runbook run`." in words
    assert status(at_0032) is RunStatus.UNDONE
    assert without_content_types(content(at_0032)) == before


def test_an_undo_that_would_lose_rows_is_not_done_for_a_failure(on_sqlite: Project) -> None:
    words = failed(on_sqlite, *MOVED, on_failure="undo")
    assert 'on_failure = "undo" could not be carried out: Run' in words
    assert "'Backfill(MoveServicesToSousDirections)' moved 100 rows" in words
    assert "manage.py runbook resume" in words
    assert status(on_sqlite) is RunStatus.FAILED
    assert all_moved(on_sqlite)
    write_runbook(on_sqlite, "sous_directions", *MOVED, 'Command(["true"])', on_failure="undo")
    runbook(on_sqlite, "resume")
    assert status(on_sqlite) is RunStatus.FINISHED


def test_a_failed_run_is_restored_if_its_runbook_says_so(at_0032: Project) -> None:
    before = content(at_0032)
    words = failed(at_0032, *MOVED, on_failure="restore")
    assert 'The run\'s backup was restored, as its runbook says: on_failure = "restore".' in words
    assert status(at_0032) is RunStatus.RESTORED
    assert content(at_0032) == before


def test_a_run_that_has_changed_nothing_is_closed_and_not_restored(on_sqlite: Project) -> None:
    failed(on_sqlite, "Backup()", on_failure="restore")
    events = [entry.event for entry in entries(on_sqlite)]
    assert Event.RESTORING not in events
    assert status(on_sqlite) is RunStatus.UNDONE


def test_a_failure_shows_the_ways_out_of_the_run(on_sqlite: Project) -> None:
    write_runbook(on_sqlite, "sous_directions", *MOVED, FAILS)
    shown = runbook(on_sqlite, "run", "sous_directions", "--format", "json", exit=1).stdout
    ways = {way["way"]: way for way in json.loads(shown)["ways_back"]}
    assert all(way["open"] for way in ways.values())
    assert ways["undo"]["takes"] > 0
    assert ways["undo"]["loses"] == (
        "looks first, and refuses if Backfill(MoveServicesToSousDirections) changed rows: "
        "only a restore takes these back"
    )
    run = state(on_sqlite)
    assert run.backup_at
    assert ways["restore"] == {
        "way": "restore",
        "command": f"manage.py runbook restore {run.backup}",
        "open": True,
        "loses": f"loses every write since the backup ({run.backup_at:%Y-%m-%d %H:%M:%S} UTC), "
        "by this run and by others",
        "takes": round(run.steps["1-backup"].facts["restore_seconds"], 6),
        "measured": "as long as its restore into a scratch database took",
    }
    text = runbook(on_sqlite, "status").stdout
    assert "  restore  loses every write since the backup" in text
    assert "as long as its restore into a scratch database took" in text


def test_a_backup_that_is_gone_is_no_way_back(on_sqlite: Project) -> None:
    failed(on_sqlite, "Backup()", on_failure="stop")
    for file in (on_sqlite.folder / "var/runbook/backups").iterdir():
        file.unlink()
    assert "restore  not open: the run's backup is not there any more" in runbook(on_sqlite, "status").stdout


def test_an_unknown_wish_is_refused_with_those_there_are(on_sqlite: Project) -> None:
    write_runbook(on_sqlite, "sous_directions", "Backup()", on_failure="rollback")
    words = runbook(on_sqlite, "plan", "sous_directions", exit=2).stderr
    assert "Runbook Written in core/runbooks/sous_directions.py has on_failure = 'rollback'." in words
    assert 'It can be "stop", "undo", "restore".' in words


def test_the_plan_says_what_happens_when_a_step_fails(on_sqlite: Project) -> None:
    write_runbook(on_sqlite, "sous_directions", "Backup()", on_failure="undo")
    told = runbook(on_sqlite, "plan", "sous_directions").stdout
    assert "If a step fails, the run is undone where that loses nothing, else it stops." in told
