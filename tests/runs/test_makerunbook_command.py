"""makerunbook: what it writes can be planned and run, and what is there stays."""

from __future__ import annotations

import json

from drill import all_moved, manage, nothing_touched, runbook, status
from example_project import Project

from django_runbook.journal import RunStatus


def test_a_written_runbook_can_be_planned_and_run(on_sqlite: Project) -> None:
    (on_sqlite.folder / "core/runbooks/sous_directions.py").unlink()
    with nothing_touched(on_sqlite):
        said = manage(on_sqlite, "makerunbook").stdout
    assert "Wrote " in said
    assert "`manage.py runbook plan sous_direction`" in said
    with nothing_touched(on_sqlite):
        plan = json.loads(runbook(on_sqlite, "plan", "sous_direction", "--format", "json").stdout)
    assert [step["title"].partition("(")[0] for step in plan["steps"]] == [
        "Backup",
        "Migrate",
        "Backfill",
        "Verify",
        "Migrate",
        "Migrate",
        "Export",
        "Restart gunicorn",
    ]
    with on_sqlite.serve() as site:
        runbook(on_sqlite, "run", "sous_direction", HEALTH_URL=f"{site.url}/sante/")
    assert status(on_sqlite) is RunStatus.FINISHED
    assert all_moved(on_sqlite)


def test_a_file_that_is_there_is_never_overwritten(on_sqlite: Project) -> None:
    path = on_sqlite.folder / "core/runbooks/sous_directions.py"
    before = path.read_bytes()
    ended = manage(on_sqlite, "makerunbook", "core", "-n", "sous_directions", exit=2)
    assert "is there already, and is never overwritten." in ended.stderr
    assert "-n NAME" in ended.stderr
    assert path.read_bytes() == before


def test_a_dry_run_prints_the_file_and_writes_none(on_sqlite: Project) -> None:
    folder = on_sqlite.folder / "core/runbooks"
    before = sorted(folder.iterdir())
    printed = manage(on_sqlite, "makerunbook", "--dry-run").stdout
    assert sorted(folder.iterdir()) == before
    manage(on_sqlite, "makerunbook")
    assert (folder / "sous_direction.py").read_text().strip() == printed.strip()


def test_where_nothing_is_pending_nothing_is_written(on_sqlite: Project) -> None:
    manage(on_sqlite, "migrate")
    folder = on_sqlite.folder / "core/runbooks"
    before = sorted(folder.iterdir())
    assert "there is nothing to write" in manage(on_sqlite, "makerunbook").stdout
    assert sorted(folder.iterdir()) == before


def test_a_name_that_is_no_module_and_an_app_that_is_none_are_refused(on_sqlite: Project) -> None:
    for words in (["-n", "sous-directions"], ["-n", "../core"], ["coeur"]):
        assert manage(on_sqlite, "makerunbook", *words, exit=2).stderr
