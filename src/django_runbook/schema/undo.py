"""Take the migrations of a run back: to the schema and the record before it, or not at all.

A migration that is one transaction goes back in one, by Django's own backwards operations. One that was
applied in pieces goes back the same way, piece by piece and the last piece first: where the ledger holds
what the tables were before a statement, they are brought back to exactly that, however often it takes; the
other operations are applied backwards. A row that goes back is marked in the ledger, so that an undo that is
cut off can be gone on with.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.apps import apps as installed_apps
from django.contrib.contenttypes.management import inject_rename_contenttypes_operations
from django.core.management.sql import emit_post_migrate_signal, emit_pre_migrate_signal
from django.db import transaction
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.migration import Migration
from django.db.migrations.operations import RunSQL
from django.db.migrations.recorder import MigrationRecorder
from django.utils.translation import gettext as _

from django_runbook.conf import lock_timeout
from django_runbook.databases import Database
from django_runbook.exceptions import RunbookError
from django_runbook.ledger import Ledger, LedgerOperation, LedgerStatement, StatementStatus
from django_runbook.schema.collect import Unit, units
from django_runbook.schema.crashes import applies_itself
from django_runbook.schema.drift import unknown_columns
from django_runbook.schema.executor import emit, with_real_models
from django_runbook.schema.history import Key
from django_runbook.schema.locks import with_lock_retries
from django_runbook.schema.losses import Additions, lost_by_return, lost_without, with_additions
from django_runbook.schema.states import state_at, with_squashed
from django_runbook.schema.stepwise import RECORDED, TAKEN_BACK, StepwiseMigration, digest

ENOUGH = 5
"""Rounds after which a table that is not what it was will not become so."""
DESTRUCTIVE = re.compile(
    r"\b(?:DROP\s+TABLE|DROP\s+COLUMN|MODIFY|CHANGE|TRUNCATE)\b|^\s*(?:UPDATE|DELETE|REPLACE)\b",
    re.IGNORECASE,
)
"""Statements of built-in operations after which a value may be gone."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoPlan:
    """What goes back, and why it may not."""

    reversals: tuple[Reversal, ...]
    """The one that was applied last comes first."""
    lost: tuple[str, ...] = ()
    """What of the data would be gone, or is gone already and would not come back."""
    irreversible: tuple[str, ...] = ()
    """What cannot be taken back, in words."""

    @property
    def keys(self) -> list[Key]:
        return [reversal.key for reversal in self.reversals]

    @property
    def names(self) -> list[str]:
        return [str(reversal.migration) for reversal in self.reversals]


def make_undo_plan(
    database: Database, run_id: str, before: frozenset[Key], definitions: Mapping[str, str]
) -> UndoPlan:
    """What taking back all migrations since `before` means. Reads the database, changes nothing.

    `definitions` are those of all tables before the run. Raise LockHeld if a statement of the run is still
    executed by the session of a killed client.
    """
    database.wait_for_orphans(run_id)
    reversals = _load(database, run_id, before, _rename_content_types)
    examination = _Examination(database, run_id, reversals)
    for reversal in reversed(reversals):
        examination.add(reversal)
    return UndoPlan(
        reversals=tuple(reversals),
        lost=tuple(dict.fromkeys([*examination.lost, *examination.would_be_lost()])),
        irreversible=tuple(dict.fromkeys([*examination.irreversible, *examination.strange(definitions)])),
    )


def take_back(
    database: Database,
    run_id: str,
    before: frozenset[Key],
    definitions: Mapping[str, str],
    *,
    safe_point: Callable[[], None] = lambda: None,
    progress: Callable[..., None] = lambda **facts: None,
) -> None:
    """Take back all migrations since `before`; what an earlier call has taken back is passed over.

    `definitions` are those of all tables before the run.

    To be called after `make_undo_plan` had no objection. Raise RunbookError, naming the migration and the
    server's words, when something fails: then what was taken back stays so, and it can be called again.
    """
    executor = _Backwards(database, run_id, lambda holders: progress(blocked_by=holders))
    reversals = _load(
        database, run_id, before, lambda state, plan: emit(emit_pre_migrate_signal, database, state, plan)
    )
    with database.lock_timeout(lock_timeout()):
        for number, reversal in enumerate(reversals, 1):
            safe_point()
            progress(migration=str(reversal.migration), number=number, of=len(reversals))
            executor.take_back(reversal)
        database.restore_details(definitions)
    loader = MigrationLoader(database.connection)
    state = state_at(loader, loader.applied_migrations)
    with_real_models(state)
    emit(emit_post_migrate_signal, database, state, [(reversal.migration, True) for reversal in reversals])


def _load(database: Database, run_id: str, before: frozenset[Key], prepare: Prepare) -> list[Reversal]:
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


def _rename_content_types(state: Any, plan: list[tuple[Migration, bool]]) -> None:
    """As the receiver of pre_migrate does, which is not to be called before it is certain."""
    if installed_apps.is_installed("django.contrib.contenttypes"):
        inject_rename_contenttypes_operations(plan=plan, apps=state.apps)


def is_whole(database: Database, migration: Migration) -> bool:
    """Was it applied, and does it go back, in one transaction?"""
    return applies_itself(migration) or bool(database.rolls_back_ddl and migration.atomic)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Piece:
    """One operation of which something took effect."""

    row: LedgerOperation
    unit: Unit | None
    """None for what was left for the end of the migration."""
    statements: tuple[LedgerStatement, ...]
    """Those that took effect; the last one first."""
    whole: bool
    """Did all of it take effect?"""


class _Pieces:
    """What the ledger says of a migration that was applied in pieces."""

    def __init__(self, database: Database, run_id: str, reversal: Reversal) -> None:
        self.database = database
        self.ledger = Ledger(database.connection)
        rows = self.ledger.operations(run_id, *reversal.key) if self.ledger.exists else {}
        self.rows = sorted(rows.values(), key=lambda row: -row.pk)
        self._units = {unit.number: unit for unit in reversal.units}

    def begun(self) -> Iterator[_Piece]:
        """Each operation of which something took effect; the last one first."""
        for row in self.rows:
            if row.number == RECORDED or row.number <= TAKEN_BACK:
                continue
            planned = self.ledger.statements(row)
            effective = tuple(it for it in reversed(planned) if row.done or self._took_effect(it))
            if row.done or effective or not planned:
                yield _Piece(
                    row=row,
                    unit=self._units.get(row.number),
                    statements=effective,
                    whole=row.done or (bool(planned) and len(effective) == len(planned)),
                )

    def _took_effect(self, statement: LedgerStatement) -> bool:
        if statement.status != StatementStatus.STARTED:
            return statement.status == StatementStatus.DONE
        return digest(self.database.definitions(statement.sql)) != statement.fingerprint

    def goes_back_by_definition(self, piece: _Piece) -> bool:
        """Does the ledger hold what its statements are to be brought back to, and is nothing else touched?"""
        if piece.unit is not None and not _is_built_in(piece.unit):
            return False
        return bool(piece.statements) and all(
            self.database.way_back(it.sql, json.loads(it.before)) is not None or self._says_nothing(it)
            for it in piece.statements
        )

    def _says_nothing(self, statement: LedgerStatement) -> bool:
        """Built-in operations set rows only where `loses` tells of it, and the session for itself."""
        return self.database.sets_session(statement.sql) or not self.database.needs_autocommit(statement.sql)


def _is_built_in(unit: Unit) -> bool:
    kind = type(unit.operation)
    return kind.__module__.startswith("django.") and not issubclass(kind, RunSQL)


class _Examination:
    """Looks at migrations, the one that was applied first to begin with, for what stands against undo."""

    def __init__(self, database: Database, run_id: str, reversals: Sequence[Reversal]) -> None:
        self.database = database
        self.run_id = run_id
        self.reversals = reversals
        self.additions: Additions = ()
        self.lost: list[str] = []
        self.irreversible: list[str] = []
        self._done: list[tuple[str, Unit]] = []

    def add(self, reversal: Reversal) -> None:
        if not reversal.units:
            return
        pieces = _Pieces(self.database, self.run_id, reversal)
        if is_whole(self.database, reversal.migration):
            self.lost += [row.loses for row in pieces.rows if row.loses]
            done = list(reversal.units)
            self._refuse_irreversible(reversal, done)
        elif pieces.rows:
            done = list(self._examine(pieces, reversal))
        else:
            done = list(reversal.units)
            self._refuse_irreversible(reversal, done)
        for unit in done:
            self.additions = with_additions(self.additions, unit, reversal.migration.app_label)
            self._done.append((reversal.migration.app_label, unit))

    def would_be_lost(self) -> Iterator[str]:
        if self._done:
            state = self._done[-1][1].after
            yield from lost_without(self.database, self.additions, state)
            yield from lost_by_return(self.database, self._done, self.additions, state)

    def strange(self, definitions: Mapping[str, str]) -> Iterator[str]:
        """Columns that somebody else has added or altered since: to go back would take them along."""
        found = self._unknown(definitions) if self.database.rolls_back_ddl else self._unspoken_of()
        for table, column in found:
            yield _("somebody else has changed table %(table)s since: %(column)s") % {
                "table": table,
                "column": column,
            }

    def _unknown(self, definitions: Mapping[str, str]) -> Iterator[tuple[str, str]]:
        """Columns that no migration knows and that were not there before the run."""
        if all(reversal.names for reversal in self.reversals):
            for extra in unknown_columns(self.database.connection):
                if extra.column not in definitions.get(extra.table, ""):
                    yield extra.table, extra.column

    def _unspoken_of(self) -> Iterator[tuple[str, str]]:
        """Columns that are not as the run's last statement on their table has left them."""
        for sql, table, before in self._last_definitions():
            now = {table: self.database.definition(table)}
            for line in self.database.strange(sql, {table: before}, now):
                if line.startswith("`"):
                    yield table, line

    def _last_definitions(self) -> Iterator[tuple[str, str, str]]:
        """For each table the last statement of the run that touched it, and the definition before that."""
        seen: set[str] = set()
        for reversal in self.reversals:
            for piece in _Pieces(self.database, self.run_id, reversal).begun():
                for statement in piece.statements:
                    before = json.loads(statement.before)
                    for table in before.keys() - seen:
                        yield statement.sql, table, before[table]
                    seen |= before.keys()

    def _examine(self, pieces: _Pieces, reversal: Reversal) -> list[Unit]:
        done = []
        for piece in pieces.begun():
            row = piece.row
            if row.loses and (row.done or any(DESTRUCTIVE.search(it.sql) for it in piece.statements)):
                self.lost.append(row.loses)
            if piece.unit is not None:
                done.append(piece.unit)
            if not pieces.goes_back_by_definition(piece):
                self._refuse_piece(reversal, piece)
        return done[::-1]

    def _refuse_piece(self, reversal: Reversal, piece: _Piece) -> None:
        unit = piece.unit
        words = {
            "operation": unit.operation.describe() if unit else _("what was left for the end"),
            "migration": reversal.migration,
        }
        if unit is None or not piece.whole:
            text = _("operation '%(operation)s' of migration %(migration)s was cut off in its middle")
            self.irreversible.append(text % words)
        elif piece.row.signature != unit.signature:
            text = _("operation '%(operation)s' of migration %(migration)s was edited after it was applied")
            self.irreversible.append(text % words)
        else:
            self._refuse_irreversible(reversal, [unit])

    def _refuse_irreversible(self, reversal: Reversal, done: Sequence[Unit]) -> None:
        self.irreversible += [
            _("operation '%(operation)s' of migration %(migration)s has no way back")
            % {"operation": unit.operation.describe(), "migration": reversal.migration}
            for unit in done
            if not unit.operation.reversible
        ]


class _Backwards:
    """Takes migrations back, one after the other."""

    def __init__(self, database: Database, run_id: str, blocked: Callable[[str], None]) -> None:
        self.database = database
        self.connection = database.connection
        self.run_id = run_id
        self.blocked = blocked
        self.ledger = Ledger(database.connection)
        self.recorder = MigrationRecorder(database.connection)

    def take_back(self, reversal: Reversal) -> None:
        try:
            if reversal.units and is_whole(self.database, reversal.migration):
                self._retry(lambda: self._take_back_whole(reversal))
            else:
                self._take_back_in_pieces(reversal)
        except RunbookError:
            raise
        except Exception as error:
            raise _failed(reversal.migration, error) from error

    def _retry(self, attempt: Callable[[], None]) -> None:
        with_lock_retries(self.database, attempt, self.blocked)

    def _take_back_whole(self, reversal: Reversal) -> None:
        migration = reversal.migration
        editor: Any
        with self.connection.schema_editor(atomic=True) as editor:
            if applies_itself(migration):
                migration.unapply(reversal.units[0].before, editor)
            else:
                for unit in reversed(reversal.units):
                    backwards = replace(unit, before=unit.after, after=unit.before, backwards=True)
                    backwards.perform(migration.app_label, editor)
            deferred, editor.deferred_sql = editor.deferred_sql, []
            for statement in deferred:
                editor.execute(statement, None)
            self._unrecord(reversal)

    def _take_back_in_pieces(self, reversal: Reversal) -> None:
        pieces = _Pieces(self.database, self.run_id, reversal)
        if reversal.units and not pieces.rows:
            self._adopt(reversal)
            pieces = _Pieces(self.database, self.run_id, reversal)
        for piece in pieces.begun():
            if pieces.goes_back_by_definition(piece):
                self.ledger.reopen_operation(piece.row)
                for statement in piece.statements:
                    self._bring_back(statement)
            elif piece.unit is not None:
                self._apply_backwards(reversal, piece.row, piece.unit)
        with transaction.atomic(using=self.database.alias):
            self._unrecord(reversal)

    def _apply_backwards(self, reversal: Reversal, row: LedgerOperation, unit: Unit) -> None:
        """By Django's own method; with the last statement of it the operation counts as not done."""

        def note() -> None:
            self.ledger.forget_operations([row])

        stepwise = StepwiseMigration(self.database, self.run_id, reversal.migration, self.blocked)
        stepwise.take_back(unit, note)

    def _adopt(self, reversal: Reversal) -> None:
        """Of one that was applied by other means the ledger knows nothing: write down that all is done."""
        app_label, name = reversal.key
        rows = [
            LedgerOperation(
                run_id=self.run_id,
                app_label=app_label,
                migration=name,
                number=unit.number,
                signature=unit.signature,
                done=True,
            )
            for unit in reversal.units
        ]
        with transaction.atomic(using=self.database.alias):
            self.ledger.write_outcomes(rows)

    def _bring_back(self, statement: LedgerStatement) -> None:
        """Until the tables are what they were before it; a statement of which that is true needs nothing."""
        before = json.loads(statement.before)
        for _round in range(ENOUGH):
            back = self.database.way_back(statement.sql, before)
            if not back:
                break
            for sql in back:
                self._retry(lambda sql=sql: self._execute(sql))  # type: ignore[misc]
        else:
            raise RunbookError(
                _("The effect of a statement could not be taken back: %(sql)s") % {"sql": statement.sql}
            )
        self.ledger.advance(statement, status=StatementStatus.PLANNED)

    def _execute(self, sql: str) -> None:
        with self.connection.cursor() as cursor:
            cursor.execute(f"{self.database.mark(self.run_id)} {sql}")

    def _unrecord(self, reversal: Reversal) -> None:
        """With the ledger's rows; in a transaction."""
        for name in reversal.names:
            self.recorder.record_unapplied(*name)
        if self.ledger.exists:
            self.ledger.forget_operations(self.ledger.operations(self.run_id, *reversal.key).values())


def _failed(migration: Migration, error: Exception) -> RunbookError:
    return RunbookError(
        _("Migration %(migration)s could not be taken back: %(kind)s: %(error)s")
        % {"migration": migration, "kind": type(error).__name__, "error": error},
        _("Mend the cause and run `manage.py runbook undo` again; or restore the run's backup."),
    )
