"""What the check finds and a run goes on with: levels, suppressions, journal and report."""

from __future__ import annotations

import json
from pathlib import Path

from drill import journals, nothing_touched, runbook, write_runbook
from example_project import Project

from django_runbook.journal import read_journal

SOUND = ("Backup()", "Migrate.all()")
REASON = "Le modèle Batiment est à l'essai."
BUILDING = """

class Batiment(models.Model):
    nom = models.CharField(max_length=50)
"""


def unmigrated(project: Project) -> None:
    """Give the project a model that no migration makes: runbook.P106, an error."""
    models = project.folder / "core/models.py"
    models.write_text(models.read_text() + BUILDING)


def suppressing(project: Project, key: str, reason: str = REASON) -> Path:
    path = write_runbook(project, "sous_directions", *SOUND)
    path.write_text(f"{path.read_text()}    suppressed = {{{key!r}: {reason!r}}}\n")
    return path


def findings(project: Project, *words: str, exit: int = 0) -> dict[str, dict[str, str]]:
    ended = runbook(project, "check", "sous_directions", "--format", "json", *words, exit=exit)
    return {it["id"]: it for it in json.loads(ended.stdout)}


def test_an_error_refuses_check_and_run_with_the_way_to_mend_it(on_sqlite: Project) -> None:
    write_runbook(on_sqlite, "sous_directions", *SOUND)
    unmigrated(on_sqlite)
    with nothing_touched(on_sqlite):
        checked = runbook(on_sqlite, "check", exit=2)
        refused = runbook(on_sqlite, "run", exit=2)
    fact = "The models of 'core' have changes without a migration: Create model Batiment."
    hint = "Run `manage.py makemigrations core`, look at what it writes, and commit it."
    for text in (" ".join(checked.stdout.split()), " ".join(refused.stderr.split())):
        assert f"runbook.P106 {fact} {hint}" in text.replace("P106:", "P106")
    assert checked.stderr.strip() == "CommandError: The check before step one failed; nothing was touched."
    assert not journals(on_sqlite)


def test_a_suppressed_error_lets_the_run_go_on_and_is_journaled_with_its_reason(on_sqlite: Project) -> None:
    suppressing(on_sqlite, "runbook.P106")
    unmigrated(on_sqlite)
    assert findings(on_sqlite)["runbook.P106"]["suppressed"] == REASON
    runbook(on_sqlite, "run", "sous_directions")
    [path] = journals(on_sqlite)
    [known] = [it for it in read_journal(path)[0].facts["findings"] if it["id"] == "runbook.P106"]
    assert known == {
        "id": "runbook.P106",
        "severity": "error",
        "subject": "",
        "message": "The models of 'core' have changes without a migration: Create model Batiment.",
        "suppressed": REASON,
    }
    assert f"Because: {REASON}" in " ".join(runbook(on_sqlite, "report").stdout.split())


def test_a_suppression_of_something_else_suppresses_nothing(on_sqlite: Project) -> None:
    suppressing(on_sqlite, "runbook.P106:agents")
    unmigrated(on_sqlite)
    assert findings(on_sqlite, exit=2)["runbook.P106"]["suppressed"] == ""


def test_a_suppression_of_an_unknown_check_is_refused(on_sqlite: Project) -> None:
    suppressing(on_sqlite, "runbook.P1066")
    with nothing_touched(on_sqlite):
        ended = runbook(on_sqlite, "run", "sous_directions", exit=2)
    assert "`suppressed` names 'runbook.P1066', and there is no such check." in ended.stderr


def test_the_fail_level_decides_what_refuses_a_run(on_sqlite: Project) -> None:
    write_runbook(on_sqlite, "sous_directions", *SOUND)
    with nothing_touched(on_sqlite):
        unchecked = runbook(on_sqlite, "check", "--time-limit", "0", exit=0)
        assert "not checked" in unchecked.stdout
        runbook(on_sqlite, "check", "--time-limit", "0", "--fail-level", "not-checked", exit=2)
        runbook(on_sqlite, "run", "--time-limit", "0", "--fail-level", "not-checked", exit=2)
    assert not journals(on_sqlite)
