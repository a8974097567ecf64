"""Apply migrations forwards as `migrate` does: Django's executor, its record and its signals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from django.apps import apps as real_apps
from django.core.management.sql import emit_post_migrate_signal, emit_pre_migrate_signal
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.migration import Migration
from django.db.migrations.state import ModelState, ProjectState
from django.utils.translation import gettext as _

from django_runbook.databases import Database
from django_runbook.exceptions import RunbookError
from django_runbook.schema.history import Key


def apply(
    database: Database,
    keys: Sequence[Key],
    *,
    progress: Callable[..., None],
    safe_point: Callable[[], None],
) -> None:
    """Apply `keys` in their order; what is recorded already is passed over.

    `safe_point` is called before each migration, never inside one. Raise RunbookError, naming the
    migration and the server's words, when one fails.
    """
    executor: Any = MigrationExecutor(database.connection)
    missing = [key for key in keys if key not in executor.loader.applied_migrations]
    plan = [(executor.loader.graph.nodes[key], False) for key in missing]
    current: list[Migration] = []

    def report(action: str, migration: Migration | None = None, fake: bool = False) -> None:
        if action == "apply_start" and migration is not None:
            safe_point()
            current[:] = [migration]
            progress(migration=str(migration), number=missing.index(_key(migration)) + 1, of=len(missing))

    executor.progress_callback = report
    state = executor._create_project_state(with_applied_migrations=True)
    _emit(emit_pre_migrate_signal, database, state, plan)
    try:
        state = executor.migrate(missing, plan=plan, state=state)
    except RunbookError:
        raise
    except Exception as error:
        raise _failed(database, current, error) from error
    _with_real_models(state)
    _emit(emit_post_migrate_signal, database, state, plan)


def _key(migration: Migration) -> Key:
    return migration.app_label, migration.name


def _emit(signal: Callable[..., None], database: Database, state: ProjectState, plan: Any) -> None:
    signal(verbosity=0, interactive=False, db=database.alias, apps=state.apps, plan=plan)


def _with_real_models(state: ProjectState) -> None:
    """Render apps without migrations anew from their real models, as `migrate` does after migrating."""
    state.clear_delayed_apps_cache()
    rendered = state.apps
    with rendered.bulk_update():
        keys = [(model.app_label, model.name_lower) for model in rendered.real_models]
        for key in keys:
            rendered.unregister_model(*key)
    rendered.render_multiple([ModelState.from_model(real_apps.get_model(*key)) for key in keys])


def _failed(database: Database, current: list[Migration], error: Exception) -> RunbookError:
    if not current:
        return RunbookError(_("Migrating could not begin: %(error)s") % {"error": error})
    words = {"migration": current[0], "kind": type(error).__name__, "error": error}
    if database.rolls_back_ddl and getattr(current[0], "atomic", True):
        return RunbookError(
            _("Migration %(migration)s failed, and was rolled back whole: %(kind)s: %(error)s") % words
        )
    return RunbookError(
        _(
            "Migration %(migration)s failed: %(kind)s: %(error)s\nWhat it did before the error stays: "
            "this server does not roll back a migration."
        )
        % words
    )
