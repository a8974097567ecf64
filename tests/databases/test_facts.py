from __future__ import annotations

import pytest
from django.db import transaction
from situations import run, run_script

from django_runbook.databases import Database, Orphan, get_database
from django_runbook.exceptions import Refused

TABLES = """
CREATE TABLE place (country INTEGER, town INTEGER, PRIMARY KEY (country, town));
CREATE TABLE person (
    id INTEGER PRIMARY KEY, country INTEGER, town INTEGER,
    CONSTRAINT person_place FOREIGN KEY (country, town) REFERENCES place (country, town)
);
INSERT INTO place VALUES (1, 1);
INSERT INTO person VALUES (1, 1, 1), (2, NULL, 1);
"""


def test_a_sound_database_has_no_orphans(database: Database) -> None:
    run_script(database, TABLES)
    assert database.orphans() == []


@pytest.mark.parametrize("database", ["sqlite", "mariadb"], indirect=True)
def test_rows_that_came_in_while_keys_were_not_checked_are_found(database: Database) -> None:
    run_script(database, TABLES)
    with database.connection.constraint_checks_disabled():
        run(database, "INSERT INTO person VALUES (3, 1, 2), (4, 2, 1), (5, 2, NULL)")
    assert database.orphans() == [
        Orphan(table="person", column="country, town", referenced_table="place", rows=2)
    ]


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_a_key_that_was_never_validated_is_found(database: Database) -> None:
    run_script(database, TABLES)
    run(
        database,
        "ALTER TABLE person DROP CONSTRAINT person_place",
        "INSERT INTO person VALUES (3, 1, 2)",
        "ALTER TABLE person ADD CONSTRAINT person_place"
        " FOREIGN KEY (country, town) REFERENCES place NOT VALID",
    )
    assert database.orphans() == [
        Orphan(table="person", column="country, town", referenced_table="place", rows=0)
    ]


def test_the_size_grows_with_the_rows(database: Database) -> None:
    run_script(database, "CREATE TABLE t (x VARCHAR(200));\n")
    before = database.size()
    with transaction.atomic(using=database.alias), database.connection.cursor() as cursor:
        cursor.executemany("INSERT INTO t VALUES (%s)", [("x" * 200,)] * 20_000)
    if database.connection.vendor == "mysql":
        run(database, "ANALYZE TABLE t")
    assert 2_000_000 < database.size() - before < 20_000_000


def test_the_server_tells_its_product_and_version(database: Database) -> None:
    products = {"sqlite": "SQLite", "mysql": "MariaDB", "postgresql": "PostgreSQL"}
    server = database.server()
    assert server.product == products[database.connection.vendor]
    assert server.version >= (3,)
    assert str(server).startswith(f"{server.product} {server.version[0]}.")


def test_an_unknown_alias_is_refused_with_the_known_ones() -> None:
    with pytest.raises(Refused) as caught:
        get_database("defualt")
    assert str(caught.value) == (
        "There is no database 'defualt' in DATABASES.\nThese are defined: default, mariadb, postgresql."
    )
