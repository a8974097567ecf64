"""Compare what should be with what is: the live schema with a state, and the migrations with the models."""

from __future__ import annotations

import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from django.apps.registry import Apps
from django.db import models, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.autodetector import MigrationAutodetector
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.state import ProjectState
from django.utils import translation
from django.utils.translation import gettext as _

from django_runbook.schema.comparing_columns import compare_columns, with_column
from django_runbook.schema.comparing_constraints import compare_constraints
from django_runbook.schema.differences import Difference, Kind
from django_runbook.schema.live import Live
from django_runbook.schema.states import matching_models, state_at

EXTRA_COLUMNS = (Kind.EXTRA_COLUMN, Kind.REQUIRED_COLUMN)


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingMigrations:
    """Changes to an app's models that no migration on disk makes."""

    app_label: str
    operations: tuple[str, ...]
    """What makemigrations would write, in words."""
    third_party: bool
    """Does the app lie in site-packages, where the project must not write migrations?"""

    def __str__(self) -> str:
        return _("The models of '%(app)s' have changes that no migration makes: %(changes)s.") % {
            "app": self.app_label,
            "changes": ", ".join(self.operations),
        }


def compare_schema(connection: BaseDatabaseWrapper, state: ProjectState) -> list[Difference]:
    """Find where the live tables are not what `state` says, by table and column.

    Looks at every table of a managed model and of its many-to-many fields that the routers allow on this
    database: columns, NULL, types, collations that a field asks for, foreign keys, unique and check
    constraints, indexes. Not at defaults, at what a check or a condition says, at expressions; not at
    tables and indexes that no model asks for.
    """
    models = list(compared_models(connection, state))
    live = Live(connection)
    live.learn_types(field.db_type(connection) for model in models for field in with_column(model))
    found: list[Difference] = []
    for model in models:
        table = model._meta.db_table
        if table not in live:
            found.append(Difference(kind=Kind.MISSING_TABLE, table=table))
            continue
        if live.is_virtual(table):
            continue
        found += compare_columns(model, live)
        if not live.is_view(table):
            found += compare_constraints(model, state, live)
    return sorted(found, key=lambda item: (item.table, item.column, item.kind))


def unknown_columns(connection: BaseDatabaseWrapper) -> list[Difference]:
    """Columns that are there and in no model of the migrations applied here."""
    loader = MigrationLoader(connection)
    state = state_at(loader, loader.applied_migrations)
    return [it for it in compare_schema(connection, state) if it.kind in EXTRA_COLUMNS]


def missing_migrations(loader: MigrationLoader, apps: Apps) -> list[MissingMigrations]:
    """Find the changes between all migrations on disk, applied or not, and the models of `apps`, by app."""
    on_disk = state_at(loader, frozenset(loader.graph.nodes))
    with translation.override(None):  # as makemigrations does: the files hold the untranslated words
        changes = MigrationAutodetector(on_disk, ProjectState.from_apps(apps)).changes(graph=loader.graph)
    return [
        MissingMigrations(
            app_label=app_label,
            operations=tuple(
                operation.describe() for migration in migrations for operation in migration.operations
            ),
            third_party=is_third_party(Path(apps.get_app_config(app_label).path)),
        )
        for app_label, migrations in sorted(changes.items())
    ]


def compared_models(connection: BaseDatabaseWrapper, state: ProjectState) -> Iterator[type[models.Model]]:
    """Models whose table a migration makes here. A name with quotes reaches into a schema not looked at."""
    for model in matching_models(state, include_auto_created=True):
        options = model._meta
        if (
            options.can_migrate(connection)
            and options.app_label not in state.real_apps
            and router.allow_migrate_model(connection.alias, model)
            and not options.db_table.startswith("django_runbook_")
            and '"' not in options.db_table
        ):
            yield model


def is_third_party(path: Path) -> bool:
    installed = [Path(sysconfig.get_path(name)) for name in ("purelib", "platlib")]
    return any(path.is_relative_to(folder) for folder in installed) or bool(
        {"site-packages", "dist-packages"} & set(path.parts)
    )
