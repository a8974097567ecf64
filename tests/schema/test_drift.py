"""The live schema against the migrations, and the migrations against the models."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.apps import apps as installed_apps
from django.apps.registry import Apps
from django.conf import settings
from django.db.migrations.loader import MigrationLoader
from django.test import override_settings
from zoo.filling import migrate

from django_runbook.databases import Database
from django_runbook.schema import (
    Difference,
    Kind,
    MissingMigrations,
    applied_migrations,
    compare_schema,
    missing_migrations,
    state_at,
)
from django_runbook.schema.differences import SENTENCES


@pytest.mark.parametrize("migration", ["0002", "0003", "0004"])
def test_an_undamaged_database_has_no_difference(database: Database, migration: str) -> None:
    migrate(database, "0004")
    migrate(database, migration)
    assert differences(database) == []


def test_every_damage_is_found_and_nothing_else(
    database: Database, damage: tuple[Callable[[Any, Apps], None], str, list[Difference]]
) -> None:
    hurt, _name, expected = damage
    migrate(database)
    with database.connection.schema_editor() as editor:
        hurt(editor, state(database).apps)
    assert differences(database) == expected


def test_what_pending_migrations_would_change_is_no_difference(database: Database) -> None:
    migrate(database, "0002")
    loader = MigrationLoader(database.connection)
    future = compare_schema(database.connection, state_at(loader, frozenset(loader.graph.nodes)))
    assert differences(database) == []
    assert Difference(kind=Kind.MISSING_TABLE, table="zoo_ticket") in future
    assert Difference(kind=Kind.MISSING_COLUMN, table="zoo_animal", column="website") in future
    assert Difference(kind=Kind.EXTRA_COLUMN, table="zoo_animal", column="legs") in future


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_tables_that_no_model_asks_for_are_no_difference(database: Database) -> None:
    migrate(database)
    with database.connection.cursor() as cursor:
        cursor.execute("CREATE TABLE legacy (id integer)")
        cursor.execute("CREATE TABLE django_runbook_extra (id integer)")
    assert differences(database) == []


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_what_the_routers_keep_off_a_database_is_no_difference(database: Database) -> None:
    migrate(database)
    with database.connection.cursor() as cursor:
        cursor.execute("DROP TABLE zoo_ticket")
    with override_settings(DATABASE_ROUTERS=["zoo.routers.NoTickets"]):
        assert differences(database) == []


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        (Kind.MISSING_TABLE, "Table t is missing."),
        (Kind.MISSING_COLUMN, "Table t has no column c."),
        (Kind.EXTRA_COLUMN, "Table t has a column c that no migration knows."),
        (Kind.NOT_NULL, "Column t.c refuses NULL, but its model allows it."),
        (Kind.NULLABLE, "Column t.c accepts NULL, but its model does not."),
        (Kind.MISSING_FOREIGN_KEY, "Column t.c has no foreign key to o.id: rows can point at nothing."),
        (Kind.MISSING_UNIQUE, "Table t has no unique constraint on c: the same values can be there twice."),
        (Kind.MISSING_INDEX, "Table t has no index on c: look-ups by it are slow."),
    ],
)
def test_a_difference_says_what_it_is(kind: Kind, sentence: str) -> None:
    assert str(Difference(kind=kind, table="t", column="c", expected="o.id")) == sentence


def test_every_kind_of_difference_has_a_sentence() -> None:
    assert set(SENTENCES) == set(Kind)


def test_models_and_migrations_of_the_test_apps_agree() -> None:
    assert missing_migrations(MigrationLoader(None), installed_apps) == []


def test_changes_that_no_migration_makes_are_found() -> None:
    with migrations_on_disk(zoo="zoo.layouts.behind"):
        [found] = missing_migrations(MigrationLoader(None), installed_apps)
    assert (found.app_label, found.third_party) == ("zoo", False)
    assert set(found.operations) == {
        "Create model Ticket",
        "Change Meta options on animal",
        "Remove field legs from animal",
        "Add field website to animal",
        "Delete model Sign",
    }


def test_an_app_in_site_packages_is_third_party() -> None:
    with migrations_on_disk(auth="zoo.layouts.auth_behind"):
        [found] = missing_migrations(MigrationLoader(None), installed_apps)
    assert (found.app_label, found.third_party) == ("auth", True)


def test_missing_migrations_say_what_is_missing() -> None:
    found = MissingMigrations(app_label="zoo", operations=("Add a", "Remove b"), third_party=False)
    assert str(found) == "The models of 'zoo' have changes that no migration makes: Add a, Remove b."


def altered(model: str, field: str, **changes: Any) -> Callable[[Any, Apps], None]:
    """Make the column what it would be if the field had other options."""

    def hurt(editor: Any, apps: Apps) -> None:
        owner = apps.get_model("zoo", model)
        old = owner._meta.get_field(field)
        _name, _path, args, kwargs = old.deconstruct()
        new = type(old)(*args, **{**kwargs, **changes})
        new.set_attributes_from_name(field)
        new.model = owner
        if new.remote_field:
            new.remote_field.model = old.remote_field.model
        editor.alter_field(owner, old, new)

    return hurt


def dropped_table(editor: Any, apps: Apps) -> None:
    editor.execute("DROP TABLE zoo_ticket")


def dropped_link_table(editor: Any, apps: Apps) -> None:
    editor.execute("DROP TABLE zoo_animal_fans")


def dropped_column(editor: Any, apps: Apps) -> None:
    editor.execute("ALTER TABLE zoo_animal DROP COLUMN website")


def extra_column(editor: Any, apps: Apps) -> None:
    editor.execute("ALTER TABLE zoo_animal ADD COLUMN tail integer NULL")


def dropped_unique_together(editor: Any, apps: Apps) -> None:
    editor.alter_unique_together(apps.get_model("zoo", "Duty"), {("keeper", "enclosure")}, set())


def dropped_unique_constraint(editor: Any, apps: Apps) -> None:
    animal = apps.get_model("zoo", "Animal")
    constraint = animal._meta.constraints.pop()
    editor.remove_constraint(animal, constraint)


def dropped_index(editor: Any, apps: Apps) -> None:
    animal = apps.get_model("zoo", "Animal")
    [index] = animal._meta.indexes
    editor.remove_index(animal, index)


DAMAGES = [
    (dropped_table, "table", [Difference(kind=Kind.MISSING_TABLE, table="zoo_ticket")]),
    (dropped_link_table, "link table", [Difference(kind=Kind.MISSING_TABLE, table="zoo_animal_fans")]),
    (
        dropped_column,
        "column",
        [Difference(kind=Kind.MISSING_COLUMN, table="zoo_animal", column="website")],
    ),
    (
        extra_column,
        "extra column",
        [Difference(kind=Kind.EXTRA_COLUMN, table="zoo_animal", column="tail")],
    ),
    (
        altered("Animal", "website", null=True),
        "nullable",
        [Difference(kind=Kind.NULLABLE, table="zoo_animal", column="website")],
    ),
    (
        altered("Animal", "weight", null=False, default=0),
        "not null",
        [Difference(kind=Kind.NOT_NULL, table="zoo_animal", column="weight")],
    ),
    (
        altered("Animal", "enclosure", db_constraint=False),
        "foreign key",
        [
            Difference(
                kind=Kind.MISSING_FOREIGN_KEY,
                table="zoo_animal",
                column="enclosure_id",
                expected="zoo_enclosure.code",
            )
        ],
    ),
    (
        altered("Keeper", "name", unique=False),
        "unique field",
        [Difference(kind=Kind.MISSING_UNIQUE, table="zoo_keeper", column="name")],
    ),
    (
        dropped_unique_together,
        "unique together",
        [Difference(kind=Kind.MISSING_UNIQUE, table="zoo_duty", column="keeper_id, enclosure_id")],
    ),
    (
        dropped_unique_constraint,
        "unique constraint",
        [Difference(kind=Kind.MISSING_UNIQUE, table="zoo_animal", column="name, enclosure_id")],
    ),
    (
        dropped_index,
        "index",
        [Difference(kind=Kind.MISSING_INDEX, table="zoo_animal", column="species, name")],
    ),
]


@pytest.fixture(params=DAMAGES, ids=[name for _hurt, name, _expected in DAMAGES])
def damage(request: pytest.FixtureRequest) -> Any:
    """One way to hurt the schema, its name, and what is to be found."""
    return request.param


def state(database: Database) -> Any:
    loader = MigrationLoader(database.connection)
    return state_at(loader, applied_migrations(database.connection))


def differences(database: Database) -> list[Difference]:
    return compare_schema(database.connection, state(database))


def migrations_on_disk(**modules: str) -> override_settings:
    known = getattr(settings, "MIGRATION_MODULES", {})
    return override_settings(MIGRATION_MODULES={**known, **modules})
