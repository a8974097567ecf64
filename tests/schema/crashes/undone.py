"""Undo of a bench's migration, as a process of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from bench import APP, RUN, Bench, make_migration
from deaths import Watch, watched
from django.db.migrations.loader import MigrationLoader

from django_runbook.schema.taking_back import take_back
from django_runbook.schema.undo import UndoPlan, make_undo_plan

BEFORE = frozenset({(APP, "0001_setup")})


def plan_of_undo(bench: Bench, definitions: Mapping[str, str] | None = None) -> UndoPlan:
    with files_of(bench):
        return make_undo_plan(bench.database, RUN, BEFORE, definitions or {})


def undo(bench: Bench, definitions: dict[str, str], die_at: int | None = None) -> Watch:
    """Take the migration back as a process of its own, which knows only what is in the database."""
    with files_of(bench), watched(bench.connection, die_at) as watch:
        take_back(bench.database, RUN, BEFORE, definitions)
    return watch


@contextmanager
def files_of(bench: Bench) -> Iterator[None]:
    """The bench's two migrations, as if read from files."""

    def load_disk(self: Any) -> None:
        setup = make_migration("0001_setup", bench.case.setup())
        tested = bench.migration()
        tested.dependencies = [(APP, setup.name)]
        self.disk_migrations = {(APP, it.name): it for it in (setup, tested)}
        self.unmigrated_apps, self.migrated_apps = set(), {APP}

    with patch.object(MigrationLoader, "load_disk", load_disk):
        yield
