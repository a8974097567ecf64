"""A migration history in memory, for tests of the planner: authors and books of a library."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from django.db import migrations, models
from django.db.migrations.graph import MigrationGraph
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation

from django_runbook.runbooks import NamedRunbook
from django_runbook.schema.history import History
from django_runbook.steps import Place, Step

APP = "library"


def author(**fields: models.Field) -> migrations.CreateModel:
    return migrations.CreateModel("Author", [("id", models.BigAutoField(primary_key=True)), *fields.items()])


def add(name: str, field: models.Field) -> migrations.AddField:
    return migrations.AddField("author", name, field)


def alter(name: str, field: models.Field) -> migrations.AlterField:
    return migrations.AlterField("author", name, field)


INITIAL = ("0001_initial", [author(name=models.CharField(max_length=80))])
EXPAND = ("0002_slug", [add("slug", models.CharField(max_length=80, null=True))])
CONTRACT = ("0003_slug_required", [alter("slug", models.CharField(max_length=80))])
UNIQUE = ("0003_slug_unique", [alter("slug", models.CharField(max_length=80, null=True, unique=True))])
DROP = ("0003_no_name", [migrations.RemoveField("author", "name")])


def history(*written: tuple[str, Sequence[Operation]], applied: Collection[str] = ()) -> History:
    """A linear history of one app: pairs of a name and its operations."""
    loader = MigrationLoader(None, load=False)
    loader.graph, loader.disk_migrations = MigrationGraph(), {}
    loader.migrated_apps, loader.unmigrated_apps = {APP}, set()
    previous: tuple[str, str] | None = None
    for name, operations in written:
        migration = type("Migration", (migrations.Migration,), {"operations": list(operations)})(name, APP)
        key = (APP, name)
        loader.graph.add_node(key, migration)
        loader.disk_migrations[key] = migration
        if previous:
            loader.graph.add_dependency(migration, key, previous)
        previous = key
    loader.applied_migrations = {(APP, name): None for name in applied}
    return History(loader)


def start(*written: tuple[str, Sequence[Operation]], applied: Collection[str] = ()) -> Place:
    """The place before the first step."""
    past = history(*written, applied=applied)
    return Place(history=past, alias="default", applied=past.applied)


def runbook(*steps: Step) -> NamedRunbook:
    return NamedRunbook(app_label=APP, name="release", steps=steps)
