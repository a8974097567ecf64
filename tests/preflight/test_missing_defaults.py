"""Columns that come without a value for the rows that are there, with Django as the witness."""

from __future__ import annotations

import pytest
from coming_failures import Library, table
from django.db import migrations, models
from library import add

from django_runbook.databases import Database
from django_runbook.preflight import Finding, Severity

AUTHORS = table("Author", name=models.CharField(max_length=20, null=True))
IDS = ("P404",)
HINT = (
    "Give the field a default (with preserve_default=False, if only for these rows), or add it with "
    "null=True, fill it, and then alter it."
)


def library_of(database: Database, rows: int) -> Library:
    library = Library(database, [AUTHORS])
    for _number in range(rows):
        library.model("Author").create()
    return library


def test_a_column_without_a_default_fails_or_gets_an_implicit_value(database: Database):
    library = library_of(database, 1)
    found = library.comes([add("age", models.IntegerField())]).found()
    words = (
        "library.0002_coming (Add field age to author) adds library_author.age, which is NOT NULL and has no "
        "default"
    )
    implicit = database.connection.vendor == "mysql"
    assert found == [
        Finding(
            id="runbook.P404",
            severity=Severity.WARNING if implicit else Severity.ERROR,
            message=f"{words}: the server will silently put 0 into all rows that are there."
            if implicit
            else f"{words}, to a table with rows.",
            hint=HINT,
            subject="library_author",
        )
    ]
    assert library.fails() == (not implicit)
    if implicit:
        assert database.ask("SELECT age FROM library_author") == [(0,)]


FIELDS = (
    models.CharField(max_length=9),
    models.DateField(),
    models.DateTimeField(),
    models.TimeField(),
    models.UUIDField(),
    models.JSONField(),
    models.BooleanField(),
    models.DecimalField(max_digits=5, decimal_places=2),
    models.GenericIPAddressField(),
    models.DurationField(),
    models.FloatField(),
    models.BinaryField(),
    models.ForeignKey("library.author", models.CASCADE, related_name="+"),
    models.IntegerField(default=None),
)


def test_it_fails_exactly_where_the_check_says_so(database: Database):
    assert_foretold(database)


@pytest.mark.parametrize("database", ["mariadb"], indirect=True)
@pytest.mark.parametrize("mode", ["STRICT_TRANS_TABLES,NO_ZERO_DATE", ""])
def test_it_depends_on_the_sql_mode_what_fails(database: Database, mode: str):
    database.ask_nothing("SET SESSION sql_mode = %s", [mode])
    assert_foretold(database)


def assert_foretold(database: Database) -> None:
    """Each field comes to a table of its own, which a failure leaves alone."""
    library = Library(database, [AUTHORS, *(table(f"Shelf{n}") for n in range(len(FIELDS)))])
    for number, field in enumerate(FIELDS):
        library.model(f"Shelf{number}").create()
        operation = migrations.AddField(f"shelf{number}", "new", field)
        [finding] = library.comes([operation]).found(ids=IDS)
        assert (finding.severity is Severity.ERROR) == library.fails(), field


@pytest.mark.parametrize("rows", [1, 2])
def test_an_implicit_value_is_not_unique(database: Database, rows: int):
    library = library_of(database, rows)
    [finding] = library.comes([add("new", models.IntegerField(unique=True))]).found(ids=IDS)
    assert (finding.severity is Severity.ERROR) == library.fails()


@pytest.mark.parametrize(
    "field",
    [
        models.IntegerField(null=True),
        models.IntegerField(default=1),
        models.IntegerField(db_default=1),
        models.CharField(max_length=9, blank=True),
        models.DateTimeField(auto_now_add=True),
        models.ManyToManyField("library.author", related_name="+"),
        models.GeneratedField(
            expression=models.F("name"), output_field=models.CharField(max_length=20), db_persist=True
        ),
    ],
    ids=lambda it: type(it).__name__,
)
def test_what_brings_a_value_is_no_finding(database: Database, field: models.Field):
    library = library_of(database, 2)
    assert library.comes([add("new", field)]).found() == []
    assert not library.fails()


def test_an_empty_or_a_new_table_needs_no_default(database: Database):
    library = library_of(database, 0)
    new = [table("Book"), migrations.AddField("book", "age", models.IntegerField())]
    assert library.comes([add("age", models.IntegerField()), *new]).found() == []
    assert not library.fails()
