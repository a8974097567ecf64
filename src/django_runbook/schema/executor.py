"""Apply migrations forwards as `migrate` does, with its record and its signals, but safe from crashes."""

from __future__ import annotations

import gc
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import django
from django.apps import apps as real_apps
from django.core.management.sql import emit_post_migrate_signal, emit_pre_migrate_signal
from django.db import DatabaseError
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.migration import Migration
from django.db.migrations.state import ModelState, ProjectState
from django.utils.translation import gettext as _

from django_runbook.conf import lock_timeout
from django_runbook.databases import Database
from django_runbook.exceptions import RunbookError
from django_runbook.ledger import LedgerOperation
from django_runbook.schema.collect import Unit, units
from django_runbook.schema.crashes import applies_itself
from django_runbook.schema.failures import rolled_back
from django_runbook.schema.history import Key
from django_runbook.schema.locks import with_lock_retries
from django_runbook.schema.losses import lost_by
from django_runbook.schema.states import applied_migrations, state_at
from django_runbook.schema.stepwise import StepwiseMigration, is_waiting


class CrashSafeExecutor(MigrationExecutor):
    """Django's executor; a migration that it is killed in can be gone on with, on every database."""

    def __init__(self, database: Database, run_id: str, progress_callback: Any = None) -> None:
        super().__init__(database.connection, progress_callback)
        self.database = database
        self.run_id = run_id
        """Whose ledger rows speak of the migrations applied here."""
        self.holds: Collection[Key] = ()
        """Migrations that are to stop before what builds indexes and constraints over added columns."""
        self.blocked: Callable[[str], None] = lambda holders: None
        """Told who seems to hold the locks that a statement waits for."""

    def apply_migration(
        self, state: ProjectState, migration: Migration, fake: bool = False, fake_initial: bool = False
    ) -> ProjectState:
        """Apply one migration and record it, both or neither, or so that a second call goes on."""
        hold = _key(migration) in self.holds
        in_pieces = hold or not (self.database.rolls_back_ddl and migration.atomic)
        in_pieces = in_pieces or is_waiting(self.database, self.run_id, migration)
        if fake or fake_initial or (in_pieces and applies_itself(migration)):
            return super().apply_migration(state, migration, fake=fake, fake_initial=fake_initial)
        self._report("apply_start", migration)
        if not in_pieces:
            state = self._apply_whole(state, migration)
        else:
            stepwise = StepwiseMigration(self.database, self.run_id, migration, self.blocked, hold=hold)
            state = stepwise.apply(state, lambda: self._record(migration))
        self._report("apply_success", migration)
        return state

    def _apply_whole(self, state: ProjectState, migration: Migration) -> ProjectState:
        """In one transaction, which is tried again from its beginning if it cannot get its locks."""
        untouched, place, session = [state], _Place(), self.connection.connection

        def attempt() -> ProjectState:
            before = untouched.pop() if untouched else self._state_now()
            return self._apply_in_transaction(before, migration, place)

        try:
            return with_lock_retries(self.database, attempt, self.blocked)
        except RunbookError:
            raise
        except Exception as error:
            if self.connection.connection is not session or not self.connection.is_usable():
                raise  # it may have been lost at the commit; and Django opens another one, unasked
            raise rolled_back(migration, place.describe(), place.statement, error) from error

    def _state_now(self) -> ProjectState:
        return state_at(self.loader, applied_migrations(self.connection))

    def _apply_in_transaction(self, state: ProjectState, migration: Migration, place: _Place) -> ProjectState:
        """With its record, which Django writes after the commit where SQL was deferred."""
        editor: Any
        with (
            self.connection.execute_wrapper(place.note),
            self.connection.schema_editor(atomic=True) as editor,
        ):
            if applies_itself(migration):
                state = migration.apply(state, editor)
            else:
                self._apply_units(state, migration, editor, place)
            place.describe = _at_the_end
            deferred, editor.deferred_sql = editor.deferred_sql, []
            for statement in deferred:
                editor.execute(statement, None)
            self._record(migration)
        return state

    def _apply_units(self, state: ProjectState, migration: Migration, editor: Any, place: _Place) -> None:
        """As Migration.apply does within a transaction; `state` is moved along."""
        for unit in units(migration, state):
            place.describe = unit.operation.describe
            self._note_loss(unit, migration)
            unit.perform(migration.app_label, editor)

    def _note_loss(self, unit: Unit, migration: Migration) -> None:
        """Write down what of the data is about to go, because afterwards nobody can tell."""
        if loses := lost_by(self.database, unit, migration.app_label):
            row = LedgerOperation(
                run_id=self.run_id,
                app_label=migration.app_label,
                migration=migration.name,
                number=unit.number,
                signature=unit.signature,
                loses=loses,
                done=True,
            )
            row.save(using=self.connection.alias, force_insert=True)

    def _record(self, migration: Migration) -> None:
        """By Django's own method, which takes the migration's names since Django 6.0."""
        record: Any = self.record_migration
        record(*(_key(migration) if django.VERSION >= (6,) else (migration,)))

    def _report(self, action: str, migration: Migration) -> None:
        if self.progress_callback:
            self.progress_callback(action, migration, False)


class _Place:
    """How far a migration has come, for what is said if it fails."""

    def __init__(self) -> None:
        self.describe: Callable[[], str] = lambda: "Migration.apply()"
        self.statement = ""

    def note(self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        try:
            return execute(sql, params, many, context)
        except DatabaseError:
            self.statement = str(sql)
            raise


def _at_the_end() -> str:
    return _("what was left for the end")


def apply(
    database: Database,
    keys: Sequence[Key],
    *,
    run_id: str,
    progress: Callable[..., None],
    safe_point: Callable[[], None],
    holds: Collection[Key] = (),
) -> None:
    """Apply `keys` in their order; what is recorded already is passed over.

    Those in `holds` are not recorded: what builds indexes and constraints over the columns that they add is
    written to the ledger, for a later call without `holds`.

    `safe_point` is called before each migration, never inside one. Raise RunbookError, naming the
    migration and the server's words, when one fails.
    """
    executor: Any = CrashSafeExecutor(database, run_id)
    executor.holds = holds
    missing = [key for key in keys if key not in executor.loader.applied_migrations]
    plan = [(executor.loader.graph.nodes[key], False) for key in missing]
    current: list[Migration] = []

    def report(action: str, migration: Migration | None = None, fake: bool = False) -> None:
        if action == "apply_start" and migration is not None:
            safe_point()
            current[:] = [migration]
            progress(migration=str(migration), number=missing.index(_key(migration)) + 1, of=len(missing))

    executor.progress_callback = report
    executor.blocked = lambda holders: progress(migration=str(current[0]), blocked_by=holders)
    with settled_heap():
        state = executor._create_project_state(with_applied_migrations=True)
        emit(emit_pre_migrate_signal, database, state, plan)
        with _named_failure(current), database.lock_timeout(lock_timeout()):
            state = executor.migrate(missing, plan=plan, state=state)
        with_real_models(state)
        emit(emit_post_migrate_signal, database, state, plan)


@contextmanager
def settled_heap() -> Iterator[None]:
    """Within the block, spare the garbage collector what lived before it: the project, with its modules.

    Every state leaves hundreds of classes to collect. Looking through all else each time too takes a seventh
    of the time of Wagtail's history; what is collected is the same, so no more memory is used.
    """
    if gc.get_freeze_count():  # by the project, which may want it so for ever
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _key(migration: Migration) -> Key:
    return migration.app_label, migration.name


def emit(signal: Callable[..., None], database: Database, state: ProjectState, plan: Any) -> None:
    signal(verbosity=0, interactive=False, db=database.alias, apps=state.apps, plan=plan)


def with_real_models(state: ProjectState) -> None:
    """Render apps without migrations anew from their real models, as `migrate` does after migrating."""
    state.clear_delayed_apps_cache()
    rendered = state.apps
    with rendered.bulk_update():
        keys = [(model.app_label, model.name_lower) for model in rendered.real_models]
        for key in keys:
            rendered.unregister_model(*key)
    rendered.render_multiple([ModelState.from_model(real_apps.get_model(*key)) for key in keys])


@contextmanager
def _named_failure(current: list[Migration]) -> Iterator[None]:
    try:
        yield
    except RunbookError:
        raise
    except Exception as error:
        raise _failed(current, error) from error


def _failed(current: list[Migration], error: Exception) -> RunbookError:
    if not current:
        return RunbookError(_("Migrating could not begin: %(error)s") % {"error": error})
    words = {"migration": current[0], "kind": type(error).__name__, "error": error}
    return RunbookError(
        _("Migration %(migration)s was cut off: %(kind)s: %(error)s") % words,
        _("Run `manage.py runbook resume`: it looks at what the last statement did, and goes on after it."),
    )
