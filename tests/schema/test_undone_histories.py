"""Undo of migrations from files: squashed ones, with and without those they replace, and routers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from canonical import canonical
from django.core.management import call_command
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.test import override_settings

from django_runbook.databases import Database
from django_runbook.ledger import Ledger
from django_runbook.schema.executor import apply
from django_runbook.schema.states import applied_migrations, plan_order
from django_runbook.schema.taking_back import take_back
from django_runbook.schema.undo import make_undo_plan

RUN = "20260102-030405-zoo"
SITUATIONS = {
    "one by one": {},
    "squashed": {"MIGRATION_MODULES": {"zoo": "zoo.layouts.squashed"}},
    "squashed, with those it replaces": {"MIGRATION_MODULES": {"zoo": "zoo.layouts.squashed_beside"}},
    "a model that a router keeps away": {"DATABASE_ROUTERS": ["zoo.routers.NoTickets"]},
}


@pytest.fixture(params=SITUATIONS.values(), ids=SITUATIONS)
def _situation(request: pytest.FixtureRequest) -> Iterator[None]:
    with override_settings(**request.param):
        yield


@pytest.mark.usefixtures("_situation")
def test_a_history_is_undone_to_the_schema_and_the_record_before_it(database: Database) -> None:
    call_command("migrate", "auth", database=database.alias, verbosity=0)
    Ledger(database.connection).ensure()
    before, definitions = applied_migrations(database.connection), database.all_definitions()
    schema = without_rows(database)
    apply_zoo(database)
    assert MigrationRecorder(database.connection).applied_migrations().keys() > before
    assert without_rows(database) != schema
    plan = make_undo_plan(database, RUN, before, definitions)
    assert (plan.lost, plan.irreversible) == ((), ())
    take_back(database, RUN, before, definitions)
    assert without_rows(database) == schema
    assert applied_migrations(database.connection) == before


def apply_zoo(database: Database) -> None:
    loader = MigrationLoader(database.connection)
    keys = [key for key in plan_order(loader.graph) if key[0] == "zoo"]
    apply(database, keys, run_id=RUN, progress=lambda **facts: None, safe_point=lambda: None)


def without_rows(database: Database) -> list[str]:
    """Django leaves content types and permissions when it goes backwards, so rows are not compared here."""
    rows = ("django_content_type: (", "auth_permission: (")
    return [line for line in canonical(database) if not line.startswith(rows)]
