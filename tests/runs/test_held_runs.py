"""A run that builds its indexes after the backfill, stopped before it has built them."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from drill import (
    content,
    manage,
    nothing_touched,
    runbook,
    select,
    state,
    status,
    without_content_types,
    write_runbook,
)
from example_project import Project
from test_undone_runs import KILLER

from django_runbook.journal import RunStatus

PLAIN = ("Backup()", 'Migrate("core", "0033")', 'Migrate("core", "0034")')
HELD = (
    "Backup()",
    'Migrate("core", "0033", defer_indexes=True)',
    'Verify(NoRows("core.SousDirection"))',
    'Export("core.Service", "core.SousDirection")',
    'Migrate("core", "0034")',
)


@pytest.mark.parametrize("at_0032", ["mariadb", "postgresql"], indirect=True)
def test_a_run_killed_before_and_after_it_holds_ends_as_the_plain_order_does(
    at_0032: Project, tmp_path: Path
) -> None:
    write_runbook(at_0032, "plain", *PLAIN)
    runbook(at_0032, "run", "plain")
    outcome = timeless(at_0032)
    runbook(at_0032, "undo", state(at_0032).run_id)
    write_runbook(at_0032, "sous_directions", *HELD)
    (tmp_path / "sitecustomize.py").write_text(KILLER)
    path = {"PYTHONPATH": str(tmp_path)}
    runbook(at_0032, "run", "sous_directions", exit=-signal.SIGKILL, **path, KILL_AFTER="3")
    runbook(at_0032, "resume", exit=-signal.SIGKILL, **path, KILL_AFTER="8")
    with nothing_touched(at_0032):
        assert "manage.py runbook resume" in runbook(at_0032, "status").stdout
    runbook(at_0032, "resume")
    assert status(at_0032) is RunStatus.FINISHED
    assert timeless(at_0032) == outcome


def timeless(project: Project) -> Any:
    """The content, but for the moments at which migrations were applied."""
    tables = without_content_types(content(project))
    tables["django_migrations"]["rows"] = select(
        project, "SELECT app, name FROM django_migrations ORDER BY id"
    )
    return tables


@pytest.mark.parametrize("at_0032", ["mariadb", "postgresql"], indirect=True)
def test_a_run_that_failed_while_indexes_wait_is_undone(at_0032: Project) -> None:
    before = without_content_types(content(at_0032))
    write_runbook(at_0032, "sous_directions", *HELD[:-1], 'Command(["false"])', HELD[-1])
    assert "Step 'Command false' failed" in runbook(at_0032, "run", "sous_directions", exit=1).stderr
    assert "[ ] 0033_sous_direction" in manage(at_0032, "showmigrations", "core").stdout
    with nothing_touched(at_0032):
        assert "manage.py runbook undo" in runbook(at_0032, "status").stdout
    runbook(at_0032, "undo")
    assert status(at_0032) is RunStatus.UNDONE
    assert without_content_types(content(at_0032)) == before


def test_the_check_looks_at_each_operation_of_a_held_migration_once(on_sqlite: Project) -> None:
    """A second time, a field that is renamed would not be there under its old name."""
    (on_sqlite.folder / "core/migrations/0035_renamed.py").write_text(RENAMED)
    hold = 'Migrate("core", "0035", defer_indexes=True)'
    write_runbook(on_sqlite, "sous_directions", "Backup()", hold, 'Migrate("core", "0035")')
    told = runbook(on_sqlite, "check", "sous_directions", "--format", "json", exit=2).stdout
    renamed = [it["id"] for it in json.loads(told) if it["message"].startswith("core.0035_renamed: Rename")]
    assert renamed == ["runbook.P503"]


RENAMED = """
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("core", "0034_agent_sous_direction")]
    operations = [
        migrations.RenameField("service", "sigle", "acronyme"),
        migrations.AddField("service", "code", models.CharField(max_length=9, null=True, db_index=True)),
    ]
"""
