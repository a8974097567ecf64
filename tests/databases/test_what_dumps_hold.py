"""What is counted and summed of a database is all that its dump holds, whatever the session's settings."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from situations import fill, run

from django_runbook.databases import Database
from django_runbook.databases.scratch import scratch_of

Make = Callable[[str], Database]

ALIKE = {
    "mariadb": [
        ("varchar(9) NULL", "NULL", "''"),
        ("varchar(9) NOT NULL", "'a'", "'A'"),
        ("varchar(9) CHARACTER SET utf8mb4 NOT NULL", "'😀'", "'?'"),
        ("varbinary(9) NOT NULL", "X'6100'", "X'61'"),
        ("double NOT NULL", "0.1", "0.10000000000000002"),
        ("decimal(9, 3) NOT NULL", "1.001", "1.002"),
        ("datetime(6) NOT NULL", "'2026-01-31 12:00:00.000001'", "'2026-01-31 12:00:00'"),
        ("timestamp NOT NULL", "'2026-01-31 12:00:00'", "'2026-01-31 13:00:00'"),
        ("json NOT NULL", "'{\"a\": 1}'", '\'{"a": "1"}\''),
        ("bit(9) NOT NULL", "b'1'", "b'11'"),
    ],
    "postgresql": [
        ("text", "NULL", "''"),
        ("text", "'😀'", "'?'"),
        ("bytea", "'\\x6100'", "'\\x61'"),
        ("double precision", "0.1", "0.10000000000000002"),
        ("timestamptz", "'2026-01-31 12:00:00.000001+00'", "'2026-01-31 12:00:00+00'"),
        ("text[]", "'{NULL}'", "'{\"NULL\"}'"),
        ("json", "'{\"a\": 1}'", "'{\"a\":1}'"),
        ("interval", "'1 month'", "'30 days'"),
    ],
    "sqlite": [("text", "NULL", "''"), ("", "1", "'1'"), ("", "x'61'", "'a'"), ("", "1", "1.0")],
}
"""Of each server: a type, and two values that are not the same."""
OTHER_SESSION = {
    "mariadb": ["SET time_zone = '+05:00'", "SET NAMES latin1"],
    "postgresql": ["SET TimeZone = 'Asia/Tokyo'", "SET extra_float_digits = 0", "SET DateStyle = 'German'"],
    "sqlite": [],
}


@pytest.mark.parametrize(
    ("kind", "type_", "one", "other"), [(kind, *it) for kind, cases in ALIKE.items() for it in cases]
)
def test_two_values_that_are_not_the_same_are_not_summed_as_one(
    make_database: Make, kind: str, type_: str, one: str, other: str
) -> None:
    database = make_database(kind)
    sums = []
    for value in (one, other):
        run(database, "DROP TABLE IF EXISTS summed", f"CREATE TABLE summed (it {type_}, other integer)")
        run(database, f"INSERT INTO summed VALUES ({value}, 1), ({value}, 2)")
        found = database.summed("summed")
        assert found.rows == 2
        sums.append(found.checksum)
    assert sums[0] != sums[1]
    run(database, *OTHER_SESSION[kind])
    assert database.summed("summed").checksum == sums[1]


def test_the_rows_of_every_schema_of_partitions_and_of_large_objects_are_counted_once(
    make_database: Make,
) -> None:
    database = make_database("postgresql")
    run(
        database,
        "CREATE SCHEMA other",
        "CREATE TABLE other.kept (id integer)",
        "INSERT INTO other.kept VALUES (1), (2)",
        "CREATE TABLE parted (id integer) PARTITION BY RANGE (id)",
        "CREATE TABLE low PARTITION OF parted FOR VALUES FROM (0) TO (10)",
        "INSERT INTO parted VALUES (1), (2), (3)",
        'CREATE TABLE "dotted.name" (id integer)',
        "SELECT lo_from_bytea(0, 'one')",
    )
    for checksums in (False, True):
        with database.snapshot():
            content = database.content(checksums=checksums)
        assert {name: it.rows for name, it in content.items()} == {
            "other.kept": 2,
            "parted": 3,
            "dotted.name": 0,
            "pg_largeobject": 1,
        }
        assert all(it.checksum for it in content.values()) or not checksums


@pytest.mark.parametrize("kind", ["mariadb", "postgresql"])
def test_a_scratch_database_has_the_character_set_and_collation_of_the_original(
    make_database: Make, kind: str
) -> None:
    database = make_database(kind)
    fill(database)
    query = {
        "mariadb": "SELECT DEFAULT_CHARACTER_SET_NAME, DEFAULT_COLLATION_NAME"
        " FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = DATABASE()",
        "postgresql": "SELECT encoding, datcollate, datctype, datlocprovider, daticulocale FROM pg_database"
        " WHERE datname = current_database()",
    }[kind]
    if kind == "mariadb":
        run(database, "ALTER DATABASE CHARACTER SET latin1 COLLATE latin1_general_cs")
    with scratch_of(database) as scratch:
        assert scratch.ask(query) == database.ask(query)
        assert scratch.dumped_tables() == []
        name = scratch.name
    assert name.startswith(database.name)
    assert len(database.scratch_name("0" * 12)) <= 63
