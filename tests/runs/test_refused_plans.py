"""Wrong lists of steps: refused with the reason and, where there is one, the right order to paste."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from drill import journals, ledger_tables, list_to_paste, nothing_touched, paste, runbook, write_runbook
from example_project import Ended, Project

MOVED = "direction__isnull=False, sous_direction__isnull=True"
RIGHT = """\
steps = [
    Backup(),
    Migrate("core", "0033"),
    Migrate("core", "0034"),
    Backfill(MoveServicesToSousDirections),
    Restart("gunicorn"),
]"""


@dataclass(frozen=True)
class Wrong:
    """A list, and what is said of it."""

    steps: tuple[str, ...]
    reason: str
    order: str = ""
    """The list to paste; empty if there is none."""


MENDABLE = {
    "a change before the backup": Wrong(
        ('Migrate("core", "0034")', "Backup()"),
        'Step 1, Migrate("core", "0034"): It changes the database before any Backup(), so there would be no '
        "way back.",
        'steps = [\n    Backup(),\n    Migrate("core", "0034"),\n]',
    ),
    "no backup at all": Wrong(
        ("Migrate.all()",),
        "Step 1, Migrate.all(): It changes the database before any Backup(), so there would be no way back.",
        "steps = [\n    Backup(),\n    Migrate.all(),\n]",
    ),
    "a backfill before its column": Wrong(
        (
            "Backup()",
            "Backfill(MoveServicesToSousDirections)",
            'Migrate("core", "0033")',
            'Migrate("core", "0034")',
            'Restart("gunicorn")',
        ),
        "Step 2, Backfill(MoveServicesToSousDirections): core.Service.sous_direction does not exist here "
        "yet: core.0033_sous_direction creates it.",
        RIGHT.replace(
            '    Migrate("core", "0034"),\n    Backfill(MoveServicesToSousDirections),\n',
            '    Backfill(MoveServicesToSousDirections),\n    Migrate("core", "0034"),\n',
        ),
    ),
    "a restart before the migration": Wrong(
        (
            "Backup()",
            'Migrate("core", "0033")',
            'Restart("gunicorn")',
            'Migrate("core", "0034")',
            "Backfill(MoveServicesToSousDirections)",
        ),
        "Step 3, Restart gunicorn: The new code needs core.0034_agent_sous_direction, which is not applied "
        "here.",
    ),
    "a verification of a table to come": Wrong(
        ("Backup()", 'Verify(RowCount("core.SousDirection", at_least=1))', "Migrate.all()"),
        "core.SousDirection does not exist here yet: core.0033_sous_direction creates it.",
        'steps = [\n    Backup(),\n    Migrate.all(),\n    Verify(RowCount("core.SousDirection", '
        "at_least=1)),\n]",
    ),
}
WITHOUT_ORDER = {
    "an unknown field": Wrong(
        ("Backup()", "Migrate.all()", 'Verify(NoRows("core.Service", sous_directoin__isnull=True))'),
        "core.Service.sous_directoin does not exist, in no migration on this machine.",
    ),
    "a migration backwards": Wrong(
        ("Backup()", "Migrate.all()", 'Migrate("core", "0032")'),
        "core is at 0034_agent_sous_direction here, which comes after 0032_alter_service_sigle: a runbook "
        "never migrates backwards",
    ),
    "an unknown migration": Wrong(
        ("Backup()", 'Migrate("core", "0099")'), "No migration of 'core' begins with '0099'."
    ),
    "an ambiguous migration": Wrong(
        ("Backup()", 'Migrate("core", "003")'), "More than one migration of 'core' begins with '003'."
    ),
    "zero": Wrong(
        ("Backup()", 'Migrate("core", "zero")'),
        "A runbook never migrates backwards; 'zero' would drop the tables of 'core'.",
    ),
}


def test_plan_and_run_refuse_with_the_same_words(on_sqlite: Project) -> None:
    write_runbook(on_sqlite, "wrong", *MENDABLE["a backfill before its column"].steps)
    planned, ran = (runbook(on_sqlite, word, "wrong", exit=2) for word in ("plan", "run"))
    assert ran.stderr == planned.stderr


@pytest.mark.parametrize("wrong", MENDABLE.values(), ids=MENDABLE)
def test_a_wrong_order_is_refused_and_the_pasted_right_one_is_not(on_sqlite: Project, wrong: Wrong) -> None:
    path = write_runbook(on_sqlite, "wrong", *wrong.steps)
    ended = refused(on_sqlite, path, wrong)
    order = list_to_paste(ended)
    if wrong.order:
        assert order == wrong.order
    paste(path, order)
    assert "Why here" in runbook(on_sqlite, "plan", "wrong").stdout


@pytest.mark.parametrize("wrong", WITHOUT_ORDER.values(), ids=WITHOUT_ORDER)
def test_a_list_that_no_order_mends_is_refused_with_the_reason(on_sqlite: Project, wrong: Wrong) -> None:
    path = write_runbook(on_sqlite, "wrong", *wrong.steps)
    ended = refused(on_sqlite, path, wrong)
    assert "manage.py runbook plan" in ended.stderr


def refused(project: Project, path: Path, wrong: Wrong) -> Ended:
    """`run` says why, and touches nothing."""
    with nothing_touched(project):
        ran = runbook(project, "run", path.stem, exit=2)
    assert f"The plan of 'core.{path.stem}' is refused; nothing was touched." in ran.stderr
    assert wrong.reason in ran.stderr
    assert not journals(project)
    assert not ledger_tables(project)
    return ran
