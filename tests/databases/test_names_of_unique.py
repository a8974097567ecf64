"""The name that a server finds for an inline UNIQUE is the one that is given to it later."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from django_runbook.databases import Database

NAMES = [
    ("author", "tag"),
    ("a" * 50, "t" * 20),
    ("c" * 20, "t" * 50),
    ("b" * 50, "t" * 50),
    ("é" * 25, "ç" * 20),
]


@pytest.mark.parametrize("kind", ["mariadb", "postgresql"])
def test_it_is_found_as_the_server_finds_it(make_database: Callable[[str], Database], kind: str):
    database = make_database(kind)
    for table, column in NAMES:
        database.ask_nothing(f"CREATE TABLE {database.quote(table)} (id integer)")
        expected = database.name_of_unique(table, column)
        add_unique(database, table, column)
        assert built(database, table) == {expected}


@pytest.mark.parametrize("kind", ["mariadb", "postgresql"])
def test_one_that_is_taken_is_passed_over(make_database: Callable[[str], Database], kind: str):
    database = make_database(kind)
    database.ask_nothing("CREATE TABLE author (id integer)")
    for taken in {"mariadb": ["Tag", "tag_2"], "postgresql": ["author_tag_key"]}[kind]:
        database.ask_nothing(f"CREATE INDEX {database.quote(taken)} ON author (id)")
    before = built(database, "author")
    expected = database.name_of_unique("author", "tag")
    add_unique(database, "author", "tag")
    assert built(database, "author") - before == {expected}


def add_unique(database: Database, table: str, column: str) -> None:
    quote = database.quote
    database.ask_nothing(f"ALTER TABLE {quote(table)} ADD COLUMN {quote(column)} integer NULL UNIQUE")


def built(database: Database, table: str) -> set[str]:
    with database.connection.cursor() as cursor:
        return set(database.connection.introspection.get_constraints(cursor, table))
