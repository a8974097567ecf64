"""The release as one command, from the plan to the restarted service."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from drill import (
    SERVICES,
    all_moved,
    at_start,
    content,
    entries,
    events,
    journals,
    manage,
    nothing_touched,
    runbook,
    select,
    state,
    status,
    write_runbook,
)
from example_project import ExampleProjects, Project

from django_runbook.journal import Event, RunStatus, StepStatus

FINISHED = ["core.sous_directions", "completed"]


def test_the_release_is_one_command_and_its_exports_load_elsewhere(
    at_0032: Project, example_projects: ExampleProjects
) -> None:
    with at_0032.serve() as site:
        assert site.get("/sante/").status == 503
        ended = runbook(at_0032, "run", "sous_directions", HEALTH_URL=f"{site.url}/sante/")
        assert site.get("/sante/").status == 200
        assert site.get("/api/services/").json["count"] == SERVICES
    assert "Finished: every step has succeeded." in ended.stdout
    assert all_moved(at_0032)
    assert status(at_0032) is RunStatus.FINISHED
    assert [step.status for step in state(at_0032).steps.values()] == [StepStatus.SUCCEEDED] * 8
    assert_loads_elsewhere(at_0032, exported(at_0032), example_projects)
    assert_reported(at_0032)


def assert_reported(project: Project) -> None:
    run = state(project).run_id
    assert "finished" in runbook(project, "status").stdout
    runbook(project, "report", "--format", "json", "-o", "report.json")
    report = json.loads((project.folder / "report.json").read_text())
    assert (report["run_id"], report["status"]) == (run, "finished")
    assert [step["status"] for step in report["steps"]] == ["succeeded"] * 8
    listed = json.loads(runbook(project, "list", "--format", "json").stdout)
    assert [[it["label"], it["stand"]] for it in listed] == [FINISHED]
    assert listed[0]["run"] == run


def exported(project: Project) -> Path:
    """The fixture that the run wrote."""
    (entry,) = (it for it in entries(project) if it.event is Event.SUCCEEDED and "objects" in it.facts)
    assert entry.facts["objects"]["core.Service"] == SERVICES
    return Path(entry.facts["file"])


def assert_loads_elsewhere(project: Project, fixture: Path, projects: ExampleProjects) -> None:
    """`loaddata` puts the fixture into a second database that has only been migrated."""
    place = projects.new_place(project.kind)
    place.copy_from(project.template(SERVICES))
    try:
        url = {"DATABASE_URL": place.url}
        manage(project, "migrate", "-v", "0", **url)
        manage(project, "loaddata", str(fixture), **url)
        there, here = (
            manage(project, "dumpdata", "core.Service", "core.SousDirection", **env).stdout
            for env in (url, {})
        )
        assert json.loads(there) == json.loads(here)
    finally:
        place.drop()


def test_a_finished_runbook_has_nothing_left_to_do(on_sqlite: Project) -> None:
    without_restart(on_sqlite)
    runbook(on_sqlite, "run", "sous_directions")
    with nothing_touched(on_sqlite):
        for words in (["run", "sous_directions"], ["run"], ["run", "core.sous_directions"]):
            ended = runbook(on_sqlite, *words)
            assert ended.stdout.endswith("on this database; nothing to do.\n")
    assert len(journals(on_sqlite)) == 1


def test_a_run_without_a_name_does_all_that_is_pending(on_sqlite: Project) -> None:
    without_restart(on_sqlite)
    runbook(on_sqlite, "run")
    assert all_moved(on_sqlite)
    assert state(on_sqlite).runbook == "pending"
    assert state(on_sqlite).covers == ("core.sous_directions",)
    with nothing_touched(on_sqlite):
        assert "nothing to do" in runbook(on_sqlite, "run").stdout
        assert "nothing to do" in runbook(on_sqlite, "run", "sous_directions").stdout


def test_a_project_without_any_runbook_is_migrated_between_a_backup_and_a_verification(
    at_0032: Project,
) -> None:
    for file in (at_0032.folder / "core/runbooks").iterdir():
        file.unlink()
    (at_0032.folder / "core/runbooks").rmdir()
    runbook(at_0032, "run")
    assert [step.title for step in state(at_0032).steps.values()] == ["Backup()", "Migrate.all()", "Verify()"]
    assert "No planned migration operations" in manage(at_0032, "migrate", "--plan").stdout
    assert len(select(at_0032, "SELECT id FROM core_service")) == SERVICES
    with nothing_touched(at_0032):
        assert "nothing to do" in runbook(at_0032, "run").stdout


def test_an_empty_database_is_migrated_whole(make_project: Callable[[str], Project]) -> None:
    project = make_project("sqlite")
    at_start(project)
    project.place.drop()
    without_restart(project)
    runbook(project, "run")
    assert "No planned migration operations" in manage(project, "migrate", "--plan").stdout


def test_a_database_made_by_plain_migrate_has_nothing_to_do(on_sqlite: Project) -> None:
    manage(on_sqlite, "migrate")
    with nothing_touched(on_sqlite):
        assert "nothing to do" in runbook(on_sqlite, "run").stdout
        listed = json.loads(runbook(on_sqlite, "list", "--format", "json").stdout)
    assert [it["stand"] for it in listed] == ["nothing to do"]


def test_an_export_succeeds_where_dumpdata_fails(at_0032: Project) -> None:
    failed = manage(at_0032, "dumpdata", "core.Service", exit=1)
    assert "sous_direction_id" in failed.stderr
    with nothing_touched(at_0032):
        runbook(at_0032, "export", "core.Service", "-o", "services.json")
    rows = json.loads((at_0032.folder / "services.json").read_text())
    assert len(rows) == SERVICES
    assert "sous_direction" not in rows[0]["fields"]


def test_a_plan_a_check_and_a_list_touch_nothing(on_sqlite: Project) -> None:
    without_restart(on_sqlite)
    with nothing_touched(on_sqlite):
        plan = json.loads(runbook(on_sqlite, "plan", "sous_directions", "--format", "json").stdout)
        assert plan["steps"][1]["reason"] == "applies core.0033_sous_direction"
        assert "nothing stands in the way" in runbook(on_sqlite, "check", "sous_directions").stdout
        assert "pending" in runbook(on_sqlite, "list").stdout
        assert "manage.py runbook run" in runbook(on_sqlite, "status", exit=2).stderr
    assert not on_sqlite.runs.exists()


def test_a_run_leaves_the_other_tables_as_they_were(on_sqlite: Project) -> None:
    without_restart(on_sqlite)
    before = content(on_sqlite)
    runbook(on_sqlite, "run")
    after = content(on_sqlite)
    changed = {table for table in before if before[table] != after[table]}
    assert changed == {
        "auth_permission",
        "core_agent",
        "core_service",
        "django_content_type",
        "django_migrations",
    }
    assert set(after) - set(before) == {"core_sousdirection"}


def test_the_run_folder_is_for_its_owner_only(on_sqlite: Project) -> None:
    without_restart(on_sqlite)
    runbook(on_sqlite, "run")
    modes = {path: path.stat().st_mode & 0o777 for path in [on_sqlite.runs, *on_sqlite.runs.rglob("*")]}
    assert {mode for path, mode in modes.items() if path.is_dir()} == {0o700}
    assert {path: mode for path, mode in modes.items() if path.is_file() and mode != 0o600} == {}


def test_a_journal_says_intent_before_effect(on_sqlite: Project) -> None:
    without_restart(on_sqlite)
    runbook(on_sqlite, "run", "sous_directions")
    told = [it for it in events(on_sqlite) if it[0] is not Event.PROGRESS]
    assert [event for event, _step in told[:2]] == [Event.OPENED, Event.MEASURED]
    assert told[-1] == (Event.FINISHED, "")
    steps = told[2:-1]
    assert [event for event, _step in steps] == [Event.STARTED, Event.SUCCEEDED] * 6
    assert [step for _event, step in steps[::2]] == [step for _event, step in steps[1::2]]


def without_restart(project: Project) -> None:
    """The project's runbook on a machine where nothing is to be restarted."""
    write_runbook(
        project,
        "sous_directions",
        "Backup()",
        'Migrate("core", "0033")',
        'Migrate("core", "0034")',
        "Backfill(MoveServicesToSousDirections)",
        'Verify(NoRows("core.Service", direction__isnull=False, sous_direction__isnull=True))',
        'Export("core.Service", "core.SousDirection")',
    )
