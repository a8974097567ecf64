"""What a run has done to the schema, migration by migration and piece by piece, to be taken back."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from django.apps import apps as installed_apps
from django.contrib.contenttypes.management import inject_rename_contenttypes_operations
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.migration import Migration
from django.db.migrations.operations import RunSQL
from django.db.migrations.recorder import MigrationRecorder

from django_runbook.databases import Database
from django_runbook.ledger import Ledger, LedgerOperation, LedgerStatement, StatementStatus
from django_runbook.schema.collect import Unit, units
from django_runbook.schema.crashes import applies_itself
from django_runbook.schema.history import Key
from django_runbook.schema.holding import is_held_whole
from django_runbook.schema.states import state_at, with_squashed
from django_runbook.schema.stepwise import RECORDED, TAKEN_BACK, digest

Prepare = Callable[[Any, list[tuple[Migration, bool]]], None]
"""Called with the present state and the plan, backwards, before operations are looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reversal:
    """One migration that this run has applied, or begun to."""

    migration: Migration
    units: tuple[Unit, ...] = ()
    """What it did, forwards; empty if only a record is left, as of a squashed one that others stood for."""
    names: tuple[Key, ...] = ()
    """Its rows in django_migrations that were not there before the run."""

    @property
    def key(self) -> Key:
        return self.migration.app_label, self.migration.name


def load_reversals(
    database: Database, run_id: str, before: frozenset[Key], prepare: Prepare
) -> list[Reversal]:
    loader = MigrationLoader(database.connection, ignore_no_migrations=True)
    keys = _keys(database, run_id, before, loader)
    migrations = [loader.graph.nodes[key] for key in keys]
    prepare(state_at(loader, loader.applied_migrations), [(migration, True) for migration in migrations])
    state, done = state_at(loader, before), with_squashed(loader, before)
    found = []
    for key, migration in zip(reversed(keys), reversed(migrations), strict=True):
        names = {key, *migration.replaces} & set(loader.applied_migrations)
        mine = () if key in done else tuple(_kept(units(migration, state)))
        found.append(Reversal(migration=migration, units=mine, names=tuple(sorted(names - before))))
    return found[::-1]


def _kept(moving: Iterator[Unit]) -> Iterator[Unit]:
    """Units whose last state does not move along with those that follow."""
    for unit in moving:
        yield replace(unit, after=unit.after.clone())


def _keys(database: Database, run_id: str, before: frozenset[Key], loader: MigrationLoader) -> list[Key]:
    """Migrations begun and not recorded, then those recorded since `before`: the last one first."""
    recorder = MigrationRecorder(database.connection)
    recorded = [(row.app, row.name) for row in recorder.migration_qs.order_by("-id")]
    begun = Ledger(database.connection).begun_migrations(run_id)
    keys = [key for key in begun if key not in recorded and key not in before]
    keys += [key for key in recorded if key not in before]
    return [key for key in keys if key in loader.graph.nodes]


def rename_content_types(state: Any, plan: list[tuple[Migration, bool]]) -> None:
    """As the receiver of pre_migrate does, which is not to be called before it is certain."""
    if installed_apps.is_installed("django.contrib.contenttypes"):
        inject_rename_contenttypes_operations(plan=plan, apps=state.apps)


def is_whole(database: Database, run_id: str, reversal: Reversal) -> bool:
    """Was it applied, and does it go back, in one transaction?"""
    migration = reversal.migration
    if applies_itself(migration):
        return True
    if not (database.rolls_back_ddl and migration.atomic):
        return False
    ledger = Ledger(database.connection)
    known = ledger.operations(run_id, *reversal.key) if ledger.exists else {}
    return not (RECORDED in known or (known and not reversal.names))


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One operation of which something took effect."""

    row: LedgerOperation
    unit: Unit | None
    """None for what was left for the end of the migration."""
    statements: tuple[LedgerStatement, ...]
    """Those that took effect; the last one first."""
    whole: bool
    """Did all of it take effect?"""


class Pieces:
    """What the ledger says of a migration that was applied in pieces."""

    def __init__(self, database: Database, run_id: str, reversal: Reversal) -> None:
        self.database = database
        self.ledger = Ledger(database.connection)
        rows = self.ledger.operations(run_id, *reversal.key) if self.ledger.exists else {}
        self.rows = sorted(rows.values(), key=lambda row: -row.pk)
        self._units = {unit.number: unit for unit in reversal.units}

    def begun(self) -> Iterator[Piece]:
        """Each operation of which something took effect; the last one first."""
        for row in self.rows:
            if row.number == RECORDED or row.number <= TAKEN_BACK:
                continue
            planned = self.ledger.statements(row)
            if row.number < 0 and not planned:  # nothing was held, and that is what it says
                continue
            effective = tuple(it for it in reversed(planned) if row.done or self._took_effect(it))
            if row.done or effective or not planned:
                yield Piece(
                    row=row,
                    unit=self._units.get(row.number),
                    statements=effective,
                    whole=row.done or (bool(planned) and len(effective) == len(planned)),
                )

    def was_held(self, piece: Piece) -> bool:
        """Was all that the operation builds left for the end, and has gone back with that?"""
        if piece.unit is None or piece.statements or not is_held_whole(piece.unit, piece.row.app_label):
            return False
        before = next((it for it in self.rows if it.number == piece.row.number - 1), None)
        deferred = json.loads(before.deferred) if before else []
        return bool(Counter(json.loads(piece.row.deferred)) - Counter(deferred))

    def _took_effect(self, statement: LedgerStatement) -> bool:
        if statement.status != StatementStatus.STARTED:
            return statement.status == StatementStatus.DONE
        return digest(self.database.definitions(statement.sql)) != statement.fingerprint

    def goes_back_by_definition(self, piece: Piece) -> bool:
        """Does the ledger hold what its statements are to be brought back to, and is nothing else touched?"""
        if piece.unit is not None and not is_built_in(piece.unit):
            return False
        return bool(piece.statements) and all(
            self.database.way_back(it.sql, json.loads(it.before)) is not None or self._says_nothing(it)
            for it in piece.statements
        )

    def _says_nothing(self, statement: LedgerStatement) -> bool:
        """Built-in operations set rows only where `loses` tells of it, and the session for itself."""
        return self.database.sets_session(statement.sql) or not self.database.needs_autocommit(statement.sql)


def is_built_in(unit: Unit) -> bool:
    kind = type(unit.operation)
    return kind.__module__.startswith("django.") and not issubclass(kind, RunSQL)
