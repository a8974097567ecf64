"""What programs read: JSON that parses, on stdout or in a file, whatever a project prints at import."""

from __future__ import annotations

import json
from pathlib import Path

from drill import nothing_touched, runbook, state, status, write_runbook
from example_project import Project

from django_runbook.journal import RunStatus

NOISE = "Chargement des paramètres…"


def test_json_on_stdout_is_pure_and_progress_goes_to_stderr(on_sqlite: Project) -> None:
    write_runbook(on_sqlite, "sous_directions", "Backup()", "Migrate.all()", 'Command(["echo", "spoken"])')
    listed = json.loads(runbook(on_sqlite, "list", "--format", "json").stdout)
    assert listed[0]["stand"] == "pending"
    assert json.loads(runbook(on_sqlite, "check", "--format", "json").stdout) == []
    ended = runbook(on_sqlite, "run", "--format", "json")
    assert json.loads(ended.stdout)["run_id"] == state(on_sqlite).run_id
    assert "Backup()" in ended.stderr
    for word in ("status", "report"):
        assert json.loads(runbook(on_sqlite, word, "--format", "json").stdout)["status"] == "finished"
    nothing = json.loads(runbook(on_sqlite, "run", "--format", "json").stdout)
    assert nothing == {"runbook": None, "steps": []}
    assert json.loads(runbook(on_sqlite, "backup", "--format", "json").stdout)["alias"] == "default"


def test_a_failed_run_leaves_stdout_to_programs(on_sqlite: Project) -> None:
    write_runbook(on_sqlite, "sous_directions", "Backup()", 'Command(["false"])')
    ended = runbook(on_sqlite, "run", "sous_directions", "--format", "json", exit=1)
    assert json.loads(ended.stdout)["status"] == "failed"
    assert "manage.py runbook resume" in ended.stderr


def test_json_in_a_file_parses_although_the_settings_print(on_sqlite: Project) -> None:
    settings = on_sqlite.folder / "ediligence/settings.py"
    settings.write_text(f"print({NOISE!r})\n{settings.read_text()}")
    write_runbook(on_sqlite, "sous_directions", "Backup()", "Migrate.all()")
    for words in (["list"], ["plan"], ["check"], ["run"], ["status"], ["report"]):
        target = on_sqlite.folder / f"{words[0]}.json"
        ended = runbook(on_sqlite, *words, "--format", "json", "-o", target.name)
        assert ended.stdout.startswith(NOISE)
        assert "{" not in ended.stdout.removeprefix(NOISE)
        json.loads(target.read_text())
        assert target.stat().st_mode & 0o777 == 0o600


def test_text_goes_to_a_file_whole_and_without_colours(on_sqlite: Project) -> None:
    with nothing_touched(on_sqlite):
        runbook(on_sqlite, "plan", "sous_directions", "--force-color", "-o", "plan.txt")
    text = (on_sqlite.folder / "plan.txt").read_text()
    assert "Backfill(MoveServicesToSousDirections)" in text
    assert "\x1b" not in text


def test_the_paths_in_a_report_lead_to_files(on_sqlite: Project) -> None:
    write_runbook(on_sqlite, "sous_directions", "Backup()", "Migrate.all()", 'Export("core.Service")')
    report = json.loads(runbook(on_sqlite, "run", "--format", "json").stdout)
    files = [step["facts"]["file"] for step in report["steps"] if "file" in step["facts"]]
    assert len(files) == 2
    assert all(Path(file).is_file() for file in [*files, report["journal"]])
    assert status(on_sqlite) is RunStatus.FINISHED
