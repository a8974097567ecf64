"""Project states that match a database: the models as they were when its last migration ran."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import cache

from django.apps import apps as installed_apps
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.graph import MigrationGraph
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.db.migrations.state import ProjectState
from django.db.models import Model


def applied_migrations(connection: BaseDatabaseWrapper) -> frozenset[tuple[str, str]]:
    """Read what django_migrations records. Empty where the table is missing; never creates it."""
    return frozenset(MigrationRecorder(connection).applied_migrations())


def state_at(loader: MigrationLoader, applied: Collection[tuple[str, str]]) -> ProjectState:
    """Build the state of exactly the applied migrations, plus the apps without migrations.

    A squashed migration in the loader's graph counts as applied when it, or all that it replaces, is.
    One pass over the graph, in the order that Django would follow on an empty database.
    """
    done = with_squashed(loader, applied)
    state = ProjectState(real_apps=loader.unmigrated_apps)
    for key in plan_order(loader.graph):
        if key in done:
            loader.graph.nodes[key].mutate_state(state, preserve=False)
    return state


def creating_migration(
    loader: MigrationLoader, applied: Collection[tuple[str, str]], app_label: str, model_name: str = ""
) -> tuple[str, str] | None:
    """Find the pending migration after which the model first exists; without a name, any model of the app.

    None if the model is there already, or if no migration on disk brings it.
    """
    done = with_squashed(loader, applied)
    state = state_at(loader, applied)
    wanted = (app_label, model_name.lower())

    def is_there() -> bool:
        return wanted in state.models or (not model_name and any(app == app_label for app, _ in state.models))

    if is_there():
        return None
    for key in plan_order(loader.graph):
        if key not in done:
            loader.graph.nodes[key].mutate_state(state, preserve=False)
            if is_there():
                return key
    return None


def unknown_migrations(
    loader: MigrationLoader, applied: Collection[tuple[str, str]]
) -> list[tuple[str, str]]:
    """Applied migrations that are not on disk, sorted; those that a squashed one replaces are known."""
    known = set(loader.disk_migrations)
    for migration in loader.disk_migrations.values():
        known.update((app_label, name) for app_label, name in migration.replaces)
    return sorted(set(applied) - known)


def matching_models(state: ProjectState, *, include_auto_created: bool = False) -> list[type[Model]]:
    """List the models to read a database in `state` with, swapped ones left out.

    Historical models; for apps without migrations the real ones, because a state renders those without
    their foreign keys and many-to-many fields.
    """
    historical = [
        model
        for model in state.apps.get_models(include_auto_created=include_auto_created)
        if model._meta.app_label not in state.real_apps
    ]
    real = [
        model
        for app_label in sorted(state.real_apps)
        for model in installed_apps.get_app_config(app_label).get_models(include_auto_created)
    ]
    return historical + real


def plan_order(graph: MigrationGraph) -> Iterator[tuple[str, str]]:
    """Walk every migration once, parents first, in the order of Django's plan for an empty database."""
    seen: set[tuple[str, str]] = set()
    stack = [(graph.node_map[leaf], False) for leaf in reversed(graph.leaf_nodes())]
    while stack:
        node, parents_are_out = stack.pop()
        if node.key in seen:
            continue
        if parents_are_out:
            seen.add(node.key)
            yield node.key
        else:
            stack.append((node, True))
            stack += [(parent, False) for parent in sorted(node.parents)]


def with_squashed(
    loader: MigrationLoader, applied: Collection[tuple[str, str]]
) -> frozenset[tuple[str, str]]:
    """Add to `applied` each migration on disk all of whose `replaces`, themselves squashed or not, are."""

    @cache
    def is_applied(key: tuple[str, str]) -> bool:
        migration = loader.disk_migrations.get(key)
        replaced = [(app_label, name) for app_label, name in migration.replaces] if migration else []
        return key in applied or (bool(replaced) and all(is_applied(other) for other in replaced))

    applied = frozenset(applied)
    return applied | {key for key in loader.disk_migrations if is_applied(key)}
