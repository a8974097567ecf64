"""A run is taken back to the very state before it, where nothing is lost by that; otherwise nothing is."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from drill import (
    connected,
    content,
    entries,
    manage,
    nothing_touched,
    runbook,
    state,
    status,
    without_content_types,
    write_runbook,
)
from example_project import Project

from django_runbook.journal import Event, RunStatus

FAILING = ("Backup()", 'Migrate("core", "0033")', 'Migrate("core", "0034")', 'Command(["false"])')
NAMES = "core.0034_agent_sous_direction, core.0033_sous_direction"
KILLER = '''
"""Dies by SIGKILL right after a statement that changes the schema: the one that KILL_AFTER counts."""

import os
import re
import signal

from django.db.backends.signals import connection_created

CHANGES = re.compile(r"\\s*(/\\*.*?\\*/)?\\s*(ALTER|CREATE|DROP|RENAME)\\b")
left = int(os.environ.get("KILL_AFTER", 0))


def count(execute, sql, params, many, context):
    global left
    result = execute(sql, params, many, context)
    if left and CHANGES.match(str(sql)) and "django_runbook_" not in str(sql):
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
    return result


def watch(connection, **kwargs):
    connection.execute_wrappers.append(count)


connection_created.connect(watch)
'''


def failed_run(project: Project, *steps: str) -> None:
    write_runbook(project, "sous_directions", *(steps or FAILING))
    runbook(project, "run", "sous_directions", exit=1)
    assert status(project) is RunStatus.FAILED


def test_a_failed_run_is_undone_to_the_very_state_before_it(at_0032: Project) -> None:
    before = without_content_types(content(at_0032))
    failed_run(at_0032)
    assert without_content_types(content(at_0032)) != before
    told = runbook(at_0032, "undo").stdout
    assert f"Taken back, in this order: {NAMES}" in " ".join(told.split())
    assert "Not taken back, because it is outside of the database: Command false" in told
    assert without_content_types(content(at_0032)) == before
    assert status(at_0032) is RunStatus.UNDONE
    assert [it.event for it in entries(at_0032)[-2:]] == [Event.UNDOING, Event.UNDONE]
    assert "There is no unfinished run" in runbook(at_0032, "undo", exit=2).stderr
    write_runbook(at_0032, "sous_directions", *FAILING[:-1], 'Command(["true"])')
    runbook(at_0032, "run", "sous_directions")
    assert status(at_0032) is RunStatus.FINISHED


def test_a_finished_run_is_undone_by_its_name_and_is_pending_again(at_0032: Project) -> None:
    before = without_content_types(content(at_0032))
    write_runbook(at_0032, "sous_directions", *FAILING[:-1])
    runbook(at_0032, "run", "sous_directions")
    with nothing_touched(at_0032):
        assert "There is no unfinished run" in runbook(at_0032, "undo", exit=2).stderr
    runbook(at_0032, "undo", state(at_0032).run_id)
    assert without_content_types(content(at_0032)) == before
    assert '"stand": "pending"' in runbook(at_0032, "list", "--format", "json").stdout


def test_rows_that_others_wrote_since_are_named_and_stay(at_0032: Project) -> None:
    failed_run(at_0032)
    with connected(at_0032) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT id FROM core_direction ORDER BY id LIMIT 1")
        direction = cursor.fetchone()[0]
        cursor.execute(
            "INSERT INTO core_sousdirection (nom, direction_id) VALUES ('Archives', %s)", [direction]
        )
    with nothing_touched(at_0032):
        words = runbook(at_0032, "undo", exit=2).stderr
    assert f"Run {state(at_0032).run_id} cannot be undone without a loss:" in words
    assert "- this would be lost: the rows of table core_sousdirection" in words
    assert f"`manage.py runbook restore {state(at_0032).backup}`" in words
    assert status(at_0032) is RunStatus.FAILED


@pytest.mark.parametrize("number", [1, 3])
def test_an_undo_killed_after_a_statement_is_gone_on_with(
    at_0032: Project, tmp_path: Path, number: int
) -> None:
    before = without_content_types(content(at_0032))
    failed_run(at_0032)
    (tmp_path / "sitecustomize.py").write_text(KILLER)
    path = {"PYTHONPATH": str(tmp_path)}
    runbook(at_0032, "undo", exit=-signal.SIGKILL, **path, KILL_AFTER=str(number))
    assert status(at_0032) is RunStatus.UNDOING
    assert "an undo was cut off" in runbook(at_0032, "status").stdout
    for command in ("resume", "run"):
        with nothing_touched(at_0032):
            runbook(at_0032, command, exit=2)
    assert "is being undone: an undo began and was cut off." in runbook(at_0032, "resume", exit=2).stderr
    runbook(at_0032, "undo")
    assert status(at_0032) is RunStatus.UNDONE
    assert without_content_types(content(at_0032)) == before


def test_a_run_killed_in_a_migration_is_undone(at_0032: Project, tmp_path: Path) -> None:
    before = without_content_types(content(at_0032))
    write_runbook(at_0032, "sous_directions", *FAILING[:3])
    (tmp_path / "sitecustomize.py").write_text(KILLER)
    path = {"PYTHONPATH": str(tmp_path)}
    runbook(at_0032, "run", "sous_directions", exit=-signal.SIGKILL, **path, KILL_AFTER="3")
    runbook(at_0032, "undo")
    assert status(at_0032) is RunStatus.UNDONE
    assert without_content_types(content(at_0032)) == before


def test_a_column_that_somebody_else_added_since_is_not_taken_along(at_0032: Project) -> None:
    failed_run(at_0032)
    with connected(at_0032) as connection, connection.cursor() as cursor:
        cursor.execute("ALTER TABLE core_service ADD COLUMN shoes integer NULL")
    with nothing_touched(at_0032):
        words = runbook(at_0032, "undo", exit=2).stderr
    assert "- somebody else has changed table core_service since: " in words
    assert "shoes" in words


def test_a_schema_that_is_not_what_it_was_is_not_called_undone(at_0032: Project) -> None:
    failed_run(at_0032)
    with connected(at_0032) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE INDEX shoes ON core_direction (nom)")
    words = runbook(at_0032, "undo", exit=1).stderr
    assert "The schema is not what it was before run" in words
    assert "table core_direction" in words
    assert status(at_0032) is RunStatus.UNDOING
    with connected(at_0032) as connection, connection.cursor() as cursor:
        on = " ON core_direction" if at_0032.kind == "mariadb" else ""
        cursor.execute(f"DROP INDEX shoes{on}")
    runbook(at_0032, "undo")
    assert status(at_0032) is RunStatus.UNDONE


def test_what_was_odd_before_and_what_others_made_does_not_stand_against_an_undo(at_0032: Project) -> None:
    with connected(at_0032) as connection, connection.cursor() as cursor:
        cursor.execute("ALTER TABLE core_direction ADD COLUMN legacy integer NULL")
    before = without_content_types(content(at_0032))
    failed_run(at_0032)
    with connected(at_0032) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE of_others (id integer NOT NULL)")
    runbook(at_0032, "undo")
    assert status(at_0032) is RunStatus.UNDONE
    after = without_content_types(content(at_0032))
    assert after.pop("of_others")
    assert after == before


def test_a_run_that_another_followed_is_not_undone_before_that(on_sqlite: Project) -> None:
    write_runbook(on_sqlite, "first", "Backup()", 'Migrate("core", "0033")', folder="core/runbooks")
    runbook(on_sqlite, "run", "first")
    first = state(on_sqlite).run_id
    write_runbook(on_sqlite, "second", "Backup()", 'Migrate("core", "0034")', folder="core/runbooks")
    runbook(on_sqlite, "run", "second")
    with nothing_touched(on_sqlite):
        words = runbook(on_sqlite, "undo", first, exit=2).stderr
    assert f"came after run {first}." in words


def test_a_resume_after_what_it_applied_was_unapplied_by_hand_is_refused(at_0032: Project) -> None:
    failed_run(at_0032)
    before = content(at_0032)
    manage(at_0032, "migrate", "core", "0033")
    with nothing_touched(at_0032):
        words = runbook(at_0032, "resume", exit=2).stderr
    assert (
        "has applied core.0034_agent_sous_direction, and the database says that it is not applied." in words
    )
    manage(at_0032, "migrate", "core", "0034")
    write_runbook(at_0032, "sous_directions", *FAILING[:-1], 'Command(["true"])')
    runbook(at_0032, "resume")
    assert status(at_0032) is RunStatus.FINISHED
    assert content(at_0032).keys() == before.keys()


def test_a_migration_that_others_applied_since_is_theirs_to_take_back(on_sqlite: Project) -> None:
    failed_run(on_sqlite)
    code = (
        "from django.db import migrations\n\n\nclass Migration(migrations.Migration):\n"
        '    dependencies = [("core", "0034_agent_sous_direction")]\n'
    )
    (on_sqlite.folder / "core/migrations/0035_of_others.py").write_text(code)
    manage(on_sqlite, "migrate", "core", "0035")
    with nothing_touched(on_sqlite):
        words = runbook(on_sqlite, "undo", exit=2).stderr
    assert f"Others have applied migrations since run {state(on_sqlite).run_id} was opened: " in words
    assert "core.0035_of_others." in words
    manage(on_sqlite, "migrate", "core", "0034")
    runbook(on_sqlite, "undo")
    assert status(on_sqlite) is RunStatus.UNDONE
