"""What the check has named before a run does not fail its verification; what came with the run does."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from zoo.filling import migrate

from django_runbook.databases import Database
from django_runbook.exceptions import VerificationFailed
from django_runbook.schema.history import History
from django_runbook.steps import Place, Verify
from django_runbook.steps.base import Context


def context(database: Database, baseline: Mapping[str, Any]) -> Context:
    history = History.load(database.connection)
    return Context(
        database=database,
        place=Place(history=history, alias=database.alias, applied=history.applied),
        run_id="run",
        step_key="1-verify",
        folder=Path(),
        backups=Path(),
        baseline=baseline,
        progress=lambda **facts: None,
        safe_point=lambda: None,
        now=lambda: datetime.now(tz=UTC),
    )


def test_only_drift_that_came_with_the_run_fails_its_verification(database: Database):
    migrate(database)
    database.ask_nothing("ALTER TABLE zoo_animal ADD COLUMN tail integer NULL")
    before = Verify().baseline(context(database, {}))
    Verify().run(context(database, before))
    database.ask_nothing("ALTER TABLE zoo_animal ADD COLUMN mane integer NULL")
    with pytest.raises(VerificationFailed, match="column mane") as failed:
        Verify().run(context(database, before))
    assert "tail" not in failed.value.message
    with pytest.raises(VerificationFailed, match="column tail"):
        Verify().run(context(database, {}))
