"""The statements that a difference comes with make it go away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.apps.registry import Apps
from test_drift import DAMAGES, altered, differences, state
from zoo.filling import fill, migrate

from django_runbook.databases import Database
from django_runbook.schema import Difference, Kind
from django_runbook.schema.mending import Mending

Hurt = Callable[[Any, Apps], None]
HURTS: dict[str, Hurt] = {name: hurt for hurt, name, _expected in DAMAGES}


def mend(database: Database, found: list[Difference]) -> list[str]:
    """Table by table, as an operator who pastes it would."""
    pasted = []
    for table in sorted({it.table for it in found}):
        mending = Mending(database.connection, state(database))
        pasted += mending.statements([it for it in found if it.table == table])
    for statement in pasted:
        database.ask_nothing(statement)
    return pasted


@pytest.mark.parametrize("name", [name for name in HURTS if name != "extra column"])
def test_what_is_pasted_mends(database: Database, name: str) -> None:
    migrate(database)
    fill(database)
    rows = database.row_counts()
    with database.connection.schema_editor() as editor:
        HURTS[name](editor, state(database).apps)
    found = differences(database)
    assert mend(database, found)
    assert differences(database) == []
    if "table" not in name:
        assert database.row_counts() == rows


OTHERS = {
    "type": altered("Animal", "website", max_length=50),
    "several": lambda editor, apps: [
        HURTS["not null"](editor, apps),
        HURTS["index"](editor, apps),
    ],
}


@pytest.mark.parametrize("database", ["mariadb", "postgresql"], indirect=True)
@pytest.mark.parametrize("name", OTHERS)
def test_what_is_pasted_mends_details(database: Database, name: str) -> None:
    migrate(database)
    fill(database)
    with database.connection.schema_editor() as editor:
        OTHERS[name](editor, state(database).apps)
    found = differences(database)
    assert found
    mend(database, found)
    assert differences(database) == []


EXTRAS = {
    "mariadb": (
        "ALTER TABLE zoo_ticket ADD COLUMN kind int NOT NULL",
        "ALTER TABLE zoo_ticket ADD CONSTRAINT once UNIQUE (id, number)",
        "ALTER TABLE zoo_ticket ADD CONSTRAINT far FOREIGN KEY (id) REFERENCES zoo_animal (id)",
        "ALTER TABLE zoo_animal_friends MODIFY id bigint NOT NULL",
    ),
    "postgresql": (
        "ALTER TABLE zoo_ticket ADD COLUMN kind int NOT NULL",
        "ALTER TABLE zoo_ticket ADD CONSTRAINT once UNIQUE (id, number)",
        "ALTER TABLE zoo_ticket ADD CONSTRAINT far FOREIGN KEY (id) REFERENCES zoo_animal (id)",
        "ALTER TABLE zoo_animal_friends ALTER id DROP IDENTITY",
    ),
}


@pytest.mark.parametrize("database", EXTRAS, indirect=True)
def test_what_is_too_much_is_taken_away_but_no_data(database: Database) -> None:
    migrate(database)
    for statement in EXTRAS[database.alias]:
        database.ask_nothing(statement)
    found = differences(database)
    assert [(it.kind, it.column, it.found) for it in found] == [
        (Kind.NO_NUMBERS, "id", ""),
        (Kind.EXTRA_FOREIGN_KEY, "id", "far"),
        (Kind.EXTRA_UNIQUE, "id, number", "once"),
        (Kind.REQUIRED_COLUMN, "kind", ""),
    ]
    mend(database, found)
    assert differences(database) == [Difference(kind=Kind.EXTRA_COLUMN, table="zoo_ticket", column="kind")]


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_no_table_is_made_anew_without_a_column_that_is_too_much(database: Database) -> None:
    migrate(database)
    database.ask_nothing("ALTER TABLE zoo_animal ADD COLUMN tail integer NULL")
    found = [
        *differences(database),
        Difference(kind=Kind.NULLABLE, table="zoo_animal", column="website"),
    ]
    assert Mending(database.connection, state(database)).statements(found) == []
