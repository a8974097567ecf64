"""Models without their migration are found, whatever language the operator reads."""

from __future__ import annotations

import pytest
from django.db.migrations.loader import MigrationLoader
from django.utils import translation
from library import runbook
from looking import found_by

from django_runbook.databases import Database
from django_runbook.plan import make_plan
from django_runbook.schema.history import History
from django_runbook.steps import Place, Verify


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.parametrize("language", ["en", "fr", None])
def test_names_in_the_operators_language_are_no_change(database: Database, language: str | None) -> None:
    """Of contenttypes and auth, whose names Django translates."""
    history = History(MigrationLoader(None))
    everything = frozenset(history.loader.graph.nodes)
    plan = make_plan(runbook(Verify()), Place(history=history, alias="default", applied=everything))
    with translation.override(language):
        assert [it.message for it in found_by("runbook.P106", database, plan)] == []
