"""Foreign keys that do not fit what they point at, with Django as the witness."""

from __future__ import annotations

import pytest
from coming_failures import Library, table
from django.db import migrations, models

from django_runbook.databases import Database
from django_runbook.preflight import Finding, Severity

AUTHORS = table("Author", code=models.CharField(max_length=9, unique=True))
SHELVES = table(
    "Shelf", number=models.BigIntegerField(null=True), text=models.CharField(max_length=9, null=True)
)
IDS = ("P405",)
KEY = {"to": "library.author", "on_delete": models.CASCADE, "null": True, "related_name": "+"}
BY_CODE = {**KEY, "to_field": "code"}
OPERATIONS = [
    migrations.AddField("shelf", "author", models.ForeignKey(**KEY)),
    migrations.AddField("shelf", "authors", models.ManyToManyField("library.author", related_name="+")),
    migrations.AlterField("shelf", "number", models.ForeignKey(**KEY)),
    table("Book", author=models.ForeignKey(**KEY)),
    migrations.AddField("shelf", "author_by_code", models.ForeignKey(**BY_CODE)),
    migrations.AlterField("shelf", "text", models.ForeignKey(**BY_CODE)),
    table("Book", author=models.ForeignKey(**BY_CODE)),
    migrations.AddField("shelf", "loose", models.ForeignKey(**KEY, db_constraint=False)),
]
OLD = {
    "mysql": [
        "MODIFY id INT NOT NULL AUTO_INCREMENT",
        "MODIFY id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT",
        "MODIFY code VARCHAR(9) CHARACTER SET latin1 NOT NULL",
        "MODIFY code VARCHAR(20) NOT NULL",
        "CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
    ],
    "postgresql": [
        "ALTER id TYPE int",
        "ALTER code TYPE text",
        "ALTER id DROP IDENTITY; ALTER TABLE library_author ALTER id TYPE text",
    ],
    "sqlite": [],
}
"""What a table once was, or what somebody made of it, though its migrations say otherwise."""


@pytest.mark.parametrize("change", range(-1, 5))
def test_it_fails_exactly_where_the_check_says_so(database: Database, change: int):
    changes = ["", *OLD[database.connection.vendor]]
    if change + 1 >= len(changes):
        return
    for number, operation in enumerate(OPERATIONS):
        library = Library(database, [AUTHORS, SHELVES])
        if changes[change + 1]:
            database.ask_nothing(f"ALTER TABLE library_author {changes[change + 1]}")
        found = [it.severity for it in library.comes([operation]).found(ids=IDS)]
        assert bool(found) == library.fails(), (changes[change + 1], number, found)
        drop_all(database)


@pytest.mark.parametrize("database", ["mariadb"], indirect=True)
def test_a_finding_names_both_types(database: Database):
    library = Library(database, [AUTHORS, SHELVES])
    database.ask_nothing("ALTER TABLE library_author MODIFY id INT UNSIGNED NOT NULL AUTO_INCREMENT")
    assert library.comes([OPERATIONS[0]]).found(ids=IDS) == [
        Finding(
            id="runbook.P405",
            severity=Severity.ERROR,
            message="library.0002_coming (Add field author to shelf) makes library_shelf.author_id (bigint) "
            "a foreign key to library_author.id, which is int(10) unsigned on this database. The server "
            "refuses to connect the two.",
            hint="Give one of them the type and the collation of the other, with all columns that are "
            "connected to it already; or set db_constraint=False.",
            subject="library_author",
        )
    ]


@pytest.mark.parametrize("database", ["mariadb"], indirect=True)
def test_a_key_that_was_a_text_once_does_not_take_a_uuid(database: Database):
    """Django 5.0 began to use MariaDB's own type for new columns, and left the old ones alone."""
    key = migrations.CreateModel("Author", [("id", models.UUIDField(primary_key=True))])
    library = Library(database, [key, SHELVES])
    assert library.comes([OPERATIONS[0]]).found(ids=IDS) == []
    database.ask_nothing("ALTER TABLE library_author MODIFY id CHAR(32) NOT NULL")
    [finding] = library.found(ids=IDS)
    assert "library_shelf.author_id (uuid)" in finding.message
    assert library.fails()


@pytest.mark.parametrize("database", ["mariadb"], indirect=True)
def test_a_target_that_the_plan_alters_first_is_no_finding(database: Database):
    library = Library(database, [table("Author"), SHELVES])
    database.ask_nothing("ALTER TABLE library_author MODIFY id INT NOT NULL AUTO_INCREMENT")
    mend = migrations.RunSQL("ALTER TABLE library_author MODIFY id BIGINT NOT NULL AUTO_INCREMENT")
    assert library.comes([mend], [OPERATIONS[0]]).found(ids=IDS) == []
    assert not library.fails()


def drop_all(database: Database) -> None:
    names = database.connection.introspection.table_names()
    cascade = " CASCADE" if database.connection.vendor == "postgresql" else ""
    with database.connection.constraint_checks_disabled():
        for name in names:
            database.ask_nothing(f"DROP TABLE {database.quote(name)}{cascade}")
