"""Project states that match a database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.conf import settings
from django.db import models
from django.db.migrations import AddField, CreateModel, Migration
from django.db.migrations.graph import MigrationGraph
from django.db.migrations.loader import MigrationLoader
from django.test import override_settings
from zoo.filling import migrate

from django_runbook.databases import Database
from django_runbook.schema import (
    applied_migrations,
    creating_migration,
    matching_models,
    plan_order,
    state_at,
    unknown_migrations,
)


def test_an_empty_database_has_nothing_applied_and_stays_empty(database: Database) -> None:
    assert applied_migrations(database.connection) == frozenset()
    assert database.connection.introspection.table_names() == []


def test_the_state_of_all_migrations_is_the_one_that_django_builds(database: Database) -> None:
    migrate(database)
    loader = MigrationLoader(database.connection)
    assert state_at(loader, applied_migrations(database.connection)) == loader.project_state()


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_the_state_half_way_has_the_fields_of_that_moment(database: Database) -> None:
    migrate(database, "0002")
    state = state_at(MigrationLoader(database.connection), applied_migrations(database.connection))
    fields = state.models["zoo", "animal"].fields
    assert {"size", "legs"} <= set(fields)
    assert not {"length", "doubled", "website"} & set(fields)
    assert ("zoo", "ticket") not in state.models


def test_the_order_of_the_plan_is_that_of_django() -> None:
    graph = MigrationLoader(None).graph
    expected = dict.fromkeys(key for leaf in graph.leaf_nodes() for key in graph.forwards_plan(leaf))
    assert list(plan_order(graph)) == list(expected)
    assert len(expected) == len(graph.nodes)


def test_the_plan_visits_each_of_a_thousand_migrations_once() -> None:
    graph = MigrationGraph()
    keys = [(f"app{number % 50}", f"{number:04}") for number in range(1000)]
    for number, key in enumerate(keys):
        graph.add_node(key, Migration(key[1], key[0]))
        for parent in {number - 1, number - 50} & set(range(number)):
            graph.add_dependency(None, key, keys[parent])
    order = list(plan_order(graph))
    place = {key: number for number, key in enumerate(order)}
    assert sorted(order) == sorted(keys)
    assert all(place[parent.key] < place[key] for key in keys for parent in graph.node_map[key].parents)


def test_hundreds_of_migrations_render_no_model() -> None:
    loader = MigrationLoader(None)
    loader.graph = MigrationGraph()
    for number in range(400):
        migration = Migration(f"{number:04}", "deep")
        migration.operations = [
            CreateModel("Thing", [("id", models.AutoField(primary_key=True))])
            if not number
            else AddField("thing", f"field{number}", models.IntegerField(null=True))
        ]
        loader.graph.add_node(("deep", migration.name), migration)
        if number:
            loader.graph.add_dependency(None, ("deep", migration.name), ("deep", f"{number - 1:04}"))
    state = state_at(loader, [("deep", f"{number:04}") for number in range(300)])
    assert len(state.models["deep", "thing"].fields) == 300
    assert "apps" not in vars(state)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_squashed_migration_counts_when_all_that_it_replaces_is_applied(database: Database) -> None:
    migrate(database)
    applied = applied_migrations(database.connection)
    expected = state_at(MigrationLoader(database.connection), applied)
    with migrations_on_disk(zoo="zoo.layouts.squashed"):
        loader = MigrationLoader(database.connection)
        assert ("zoo", "0001_initial") not in loader.graph.nodes
        assert state_at(loader, applied).models == expected.models
        assert unknown_migrations(loader, applied) == []


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_squashed_migration_does_not_count_when_half_of_it_is_applied(database: Database) -> None:
    migrate(database, "0002")
    applied = applied_migrations(database.connection)
    expected = state_at(MigrationLoader(database.connection), applied)
    with migrations_on_disk(zoo="zoo.layouts.squashed_beside"):
        loader = MigrationLoader(database.connection)
        assert state_at(loader, applied).models == expected.models


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_what_is_applied_and_not_on_disk_is_unknown(database: Database) -> None:
    migrate(database)
    with migrations_on_disk(zoo="zoo.layouts.behind"):
        loader = MigrationLoader(database.connection)
        assert unknown_migrations(loader, applied_migrations(database.connection)) == [
            ("zoo", "0004_website")
        ]


def test_the_migration_that_creates_a_model_is_found() -> None:
    loader = MigrationLoader(None)
    applied = [("zoo", "0001_initial")]
    assert creating_migration(loader, applied, "zoo", "Bird") == ("zoo", "0002_animals")
    assert creating_migration(loader, applied, "zoo", "Ticket") == ("zoo", "0004_website")
    assert creating_migration(loader, applied, "zoo", "Keeper") is None
    assert creating_migration(loader, applied, "zoo", "Nothing") is None
    assert creating_migration(loader, [], "zoo") == ("zoo", "0001_initial")


def test_matching_models_are_historical_where_there_are_migrations_and_real_elsewhere() -> None:
    from nomig.models import Poster
    from zoo.models import Animal

    loader = MigrationLoader(None)
    found = matching_models(state_at(loader, [("zoo", "0001_initial"), ("zoo", "0002_animals")]))
    assert Poster in found
    assert Animal not in found
    assert "zoo.Animal" in {model._meta.label for model in found}


@contextmanager
def migrations_on_disk(**modules: str) -> Iterator[Any]:
    """Have the migrations of some apps in other modules."""
    known = getattr(settings, "MIGRATION_MODULES", {})
    with override_settings(MIGRATION_MODULES={**known, **modules}):
        yield
