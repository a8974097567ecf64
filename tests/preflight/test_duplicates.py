"""Equal rows under a coming unique key, with Django's own migration as the witness."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from coming_failures import Library, table
from django.db import migrations, models
from django.db.migrations.operations.base import Operation
from django.db.models import Q
from django.db.models.functions import Lower
from library import add, alter

from django_runbook.databases import Database
from django_runbook.preflight import Finding, Severity

NAME = models.CharField(max_length=20, null=True)
UNIQUE_NAME = alter("name", models.CharField(max_length=20, null=True, unique=True))
AUTHORS = table("Author", name=NAME, age=models.IntegerField(null=True))
AUTHOR = {"to": "library.author", "on_delete": models.CASCADE, "null": True}
ERROR = [Severity.ERROR]


def unique(*fields: Any, **options: Any) -> Operation:
    return migrations.AddConstraint("author", models.UniqueConstraint(*fields, name="one", **options))


def library_of(database: Database, *rows: tuple[str | None, int | None]) -> Library:
    library = Library(database, [AUTHORS])
    for name, age in rows:
        library.model("Author").create(name=name, age=age)
    return library


def severities(library: Library) -> list[Severity]:
    return [it.severity for it in library.found()]


def test_a_finding_names_the_rows_and_the_query_that_lists_them(database: Database):
    library = library_of(
        database, *[("Anna", 1)] * 5, ("Bert", 1), ("Carl", 2), ("Carl", 3), (None, 1), (None, 1)
    )
    [finding] = library.comes([UNIQUE_NAME]).found()
    query = finding.hint.splitlines()[-1]
    assert finding == Finding(
        id="runbook.P401",
        severity=Severity.ERROR,
        message="library.0002_coming (Alter field name on author) makes name unique in table library_author, "
        "but 2 value(s) are there more than once, in 7 rows.",
        hint=f"Merge, change or delete rows until none are equal. This lists them all:\n{query}",
        subject="library_author",
        examples=(
            "name = 'Anna': 5 rows, with the keys 1, 2, 3, …",
            "name = 'Carl': 2 rows, with the keys 7, 8",
        ),
    )
    assert database.ask(query.rstrip(";")) == [("Anna", 5), ("Carl", 2)]
    assert library.fails()


EVERYWHERE = {"sqlite", "mysql", "postgresql"}


@pytest.mark.parametrize(
    ("operation", "where"),
    [
        (UNIQUE_NAME, EVERYWHERE),
        (migrations.AlterUniqueTogether("author", {("name", "age")}), EVERYWHERE),
        (unique(fields=["name", "age"]), EVERYWHERE),
        (unique(fields=["name"], deferrable=models.Deferrable.DEFERRED), {"postgresql"}),
        (unique(fields=["name"], include=["age"]), {"postgresql"}),
        (unique(fields=["name"], condition=Q(age__gt=30)), {"sqlite", "postgresql"}),
        (unique(Lower("name").desc(), "age"), {"sqlite", "postgresql"}),
        (unique(fields=["name"], nulls_distinct=False), {"postgresql"}),
    ],
)
def test_it_fails_exactly_where_the_check_says_so(database: Database, operation: Operation, where: set[str]):
    library = library_of(database, ("5", 31), ("6", 31), ("5", 31)).comes([operation])
    found = severities(library)
    assert found == (ERROR if database.connection.vendor in where else [])
    assert bool(found) == library.fails()
    if found:
        library.model("Author").filter(pk=3).update(name="7")
        assert severities(library) == []
        assert not library.fails()


@pytest.mark.parametrize("distinct", [True, False, None])
def test_nulls_are_equal_only_where_the_constraint_says_so(database: Database, distinct: bool | None):
    library = library_of(database, (None, 1), (None, 2), ("Anna", 3))
    found = severities(library.comes([unique(fields=["name"], nulls_distinct=distinct)]))
    assert (found == ERROR) == library.fails()
    assert found == (ERROR if distinct is False and database.connection.vendor == "postgresql" else [])


def test_values_are_compared_as_the_column_compares_them(database: Database):
    library = library_of(database, ("ana", 1), ("Ána", 1), ("ANA", 1))
    found = library.comes([UNIQUE_NAME]).found()
    assert bool(found) == library.fails() == (database.connection.vendor == "mysql")


def test_a_new_collation_is_the_one_that_compares(database: Database):
    collation = {"mysql": "utf8mb4_bin", "sqlite": "nocase", "postgresql": "C"}[database.connection.vendor]
    library = library_of(database, ("ana", 1), ("ANA", 1))
    now = alter("name", models.CharField(max_length=20, null=True, unique=True, db_collation=collation))
    found = severities(library.comes([now]))
    assert (found == ERROR) == library.fails() == (collation == "nocase")


@pytest.mark.parametrize("rows", [1, 2])
@pytest.mark.parametrize(
    "field",
    [
        models.UUIDField(default=uuid.uuid4, unique=True),
        models.CharField(max_length=9, default="x", unique=True, null=True),
        models.CharField(max_length=9, db_default="x", unique=True),
        models.SlugField(blank=True, unique=True),
        models.IntegerField(null=True, unique=True),
    ],
)
def test_a_new_unique_column_gets_one_value_for_all(database: Database, field: models.Field, rows: int):
    library = library_of(database, *[("Anna", 1)] * rows)
    found = library.comes([add("code", field)]).found()
    assert bool(found) == library.fails() == (rows == 2 and not isinstance(field, models.IntegerField))
    if found:
        assert found == [
            Finding(
                id="runbook.P401",
                severity=Severity.ERROR,
                message="library.0002_coming (Add field code to author) demands different values of code in "
                "table library_author, but gives all of its rows the same: a default is asked for once, not "
                "once for each row.",
                hint="Make three migrations of it: add the field with null=True and without a default and "
                "uniqueness; fill it, row by row; then alter it to what it is to be.",
                subject="library_author",
            )
        ]


@pytest.mark.parametrize("twice", [True, False])
def test_a_constraint_over_a_new_column_compares_the_others(database: Database, twice: bool):
    library = library_of(database, ("Anna", 1), ("Anna" if twice else "Bert", 1))
    found = library.comes(
        [add("shelf", models.IntegerField(default=1))], [unique(fields=["name", "shelf"])]
    ).found()
    assert bool(found) == library.fails() == twice


def test_nulls_that_become_the_default_are_equal(database: Database):
    library = library_of(database, ("Anna", 1), (None, 1), (None, 1))
    now = alter("name", models.CharField(max_length=20, default="none", unique=True))
    [finding] = library.comes([now]).found()
    assert finding.examples == ("name = 'none': 2 rows, with the keys 2, 3",)
    assert library.fails()


def test_what_an_earlier_step_may_mend_is_a_warning(database: Database):
    library = library_of(database, ("Anna", 1), ("Anna", 1))
    fill = migrations.RunPython(migrations.RunPython.noop)
    [finding] = library.comes([fill], [UNIQUE_NAME]).found()
    assert finding.severity is Severity.WARNING
    assert finding.message.endswith(
        "It fails unless library.0002_coming: Raw Python operation mends it first."
    )


def test_a_new_column_that_a_step_fills_before_it_is_unique_is_no_finding(database: Database):
    library = library_of(database, ("Anna", 1), ("Anna", 1))
    field = {"max_length": 40, "null": True, "default": "x"}
    library.comes(
        [add("code", models.CharField(**field))], [alter("code", models.CharField(**field, unique=True))]
    )
    assert [it.id for it in library.found()] == ["runbook.P401"]
    fill = migrations.RunPython(migrations.RunPython.noop)
    operations = [it for _name, it in library.coming]
    assert library.comes(operations[0], [fill], operations[1]).found() == []


@pytest.mark.parametrize("database", ["sqlite", "postgresql"], indirect=True)
def test_expressions_are_named_as_the_migration_has_them(database: Database):
    library = library_of(database, ("ANNA", 1), ("anna", 1))
    [finding] = library.comes([unique(Lower("name").desc(), "age")]).found()
    assert "makes Lower(F(name)), F(age) unique in table library_author" in finding.message
    assert finding.examples == ("Lower(F(name)) = 'anna', F(age) = 1: 2 rows, with the keys 1, 2",)
    assert database.ask(finding.hint.splitlines()[-1].rstrip(";")) == [("anna", 1, 2)]


def test_a_key_that_becomes_a_one_to_one_is_compared(database: Database):
    library = Library(database, [AUTHORS], [table("Book", author=models.ForeignKey(**AUTHOR))])
    for name in ("Anna", "Bert"):
        library.model("Author").create(name=name)
    for author in (1, 1, None, None):
        library.model("Book").create(author_id=author)
    one = migrations.AlterField("book", "author", models.OneToOneField(**AUTHOR))
    [finding] = library.comes([one]).found()
    assert finding.examples == ("author = 1: 2 rows, with the keys 1, 2",)
    library.model("Book").filter(pk=1).update(author_id=2)
    one = migrations.AlterField(
        "book", "author", models.OneToOneField(**{**AUTHOR, "null": False}, default=1)
    )
    [finding] = library.comes([one]).found()
    assert finding.examples == ("author = 1: 3 rows, with the keys 2, 3, 4",)
    assert library.fails()


def test_a_default_of_another_type_is_left_alone(database: Database):
    library = library_of(database, ("Anna", None), ("Bert", None))
    now = alter("age", models.CharField(max_length=9, default="none", unique=True))
    assert library.comes([now]).found() == []
    assert library.fails()
