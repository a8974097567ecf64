"""NULLs under a coming NOT NULL, with Django's own migration as the witness."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from coming_failures import Library, table
from django.db import migrations, models
from django.db.models import Q
from library import add, alter

from django_runbook.databases import Database
from django_runbook.preflight import Finding, Severity
from django_runbook.steps import Backfill, Migrate, NoRows, Verify

AUTHORS = table(
    "Author",
    name=models.CharField(max_length=20, null=True),
    age=models.IntegerField(null=True),
    born=models.DateTimeField(null=True),
)
REQUIRED = alter("age", models.IntegerField())
EVERYWHERE = {"sqlite", "mysql", "postgresql"}


def library_of(database: Database, *ages: int | None) -> Library:
    library = Library(database, [AUTHORS])
    for age in ages:
        library.model("Author").create(age=age)
    return library


def test_a_finding_names_the_rows_and_the_query_that_lists_them(database: Database):
    library = library_of(database, None, 31, *[None] * 6)
    [finding] = library.comes([REQUIRED]).found()
    query = finding.hint.splitlines()[-1]
    assert finding == Finding(
        id="runbook.P402",
        severity=Severity.ERROR,
        message="library.0002_coming (Alter field age on author) makes library_author.age NOT NULL, but in 7 "
        "row(s) it is NULL, and the operation brings no default.",
        hint=f"Give these rows a value first, as in a backfill. This lists them all:\n{query}",
        subject="library_author",
        examples=("id = 1", "id = 3", "id = 4", "id = 5", "id = 6"),
    )
    assert database.ask(query.rstrip(";")) == [(1,), (3,), (4,), (5,), (6,), (7,), (8,)]
    assert library.fails()


@pytest.mark.parametrize(
    ("name", "field", "where"),
    [
        ("age", models.IntegerField(), EVERYWHERE),
        ("age", models.IntegerField(default=1), set()),
        ("age", models.IntegerField(default=lambda: 1), set()),
        ("age", models.IntegerField(default=None), EVERYWHERE),
        ("age", models.IntegerField(db_default=1), set()),
        ("age", models.BigIntegerField(), EVERYWHERE),
        ("age", models.IntegerField(null=True, db_index=True), set()),
        ("name", models.CharField(max_length=20, blank=True), {"mysql", "postgresql"}),
        ("name", models.TextField(blank=True), {"mysql", "postgresql"}),
        ("name", models.CharField(max_length=20, blank=True, default=""), set()),
        ("born", models.DateTimeField(auto_now=True), {"mysql", "postgresql"}),
    ],
)
@pytest.mark.filterwarnings("ignore:DateTimeField")
def test_it_fails_exactly_where_the_check_says_so(
    database: Database, name: str, field: models.Field, where: set[str]
):
    library = library_of(database, None).comes([alter(name, field)])
    found = [it.severity for it in library.found()]
    assert found == ([Severity.ERROR] if database.connection.vendor in where else [])
    assert bool(found) == library.fails()
    if found:
        library.model("Author").update(name="x", age=1, born="2026-01-01T00:00:00Z")
        assert library.found() == []
        assert not library.fails()


def test_a_one_off_default_fills_them(database: Database):
    library = library_of(database, None)
    one_off = migrations.AlterField("author", "age", models.IntegerField(default=7), preserve_default=False)
    assert library.comes([one_off]).found() == []
    assert not library.fails()


def test_an_empty_table_has_no_nulls(database: Database):
    library = library_of(database)
    assert library.comes([add("code", models.IntegerField(null=True))], [REQUIRED]).found() == []
    assert not library.fails()


@pytest.mark.parametrize("database", ["mariadb"], indirect=True)
def test_a_server_that_is_not_strict_puts_a_zero_there(database: Database):
    library = library_of(database, None)
    database.ask_nothing("SET SESSION sql_mode = ''")
    [finding] = library.comes([REQUIRED]).found()
    assert (finding.severity, finding.message) == (
        Severity.WARNING,
        "library.0002_coming (Alter field age on author) makes library_author.age NOT NULL; in 1 row(s) it "
        "is NULL, and the server will silently put a zero or an empty text there.",
    )
    assert not library.fails()
    assert database.ask("SELECT age FROM library_author") == [(0,)]


def test_what_an_earlier_step_may_mend_is_a_warning(database: Database):
    library = library_of(database, None)
    fill = migrations.RunPython(migrations.RunPython.noop)
    [finding] = library.comes([fill], [REQUIRED]).found()
    assert finding.severity is Severity.WARNING
    assert finding.message.endswith(
        "It fails unless library.0002_coming: Raw Python operation mends it first."
    )


class FillAges(Backfill):
    model = "library.Author"
    rows = Q(age__isnull=True)

    def batch(self, rows: Any) -> None:
        rows.update(age=1)


class FillCodes(Backfill):
    model = "library.Author"
    rows = Q(code__isnull=True)

    def batch(self, rows: Any) -> None:
        rows.update(code=1)


def test_what_a_backfill_fills_and_a_step_verifies_is_no_finding(database: Database):
    library = library_of(database, None).comes([REQUIRED])
    verified = Verify(NoRows("library.Author", age__isnull=True))
    assert library.found(Backfill(FillAges), verified, Migrate.all()) == []


def test_a_new_column_is_found_unless_something_fills_it(database: Database):
    library = library_of(database, 31)
    new = add("code", models.IntegerField(null=True))
    required = alter("code", models.IntegerField())
    fill = migrations.RunPython(migrations.RunPython.noop)
    verified = Verify(NoRows("library.Author", code__isnull=True))
    library.comes([new], [required])
    two = Migrate("library", "0002")
    assert library.found(two, Backfill(FillCodes), verified, Migrate.all()) == []
    [finding] = library.found()
    assert (finding.severity, finding.message) == (
        Severity.ERROR,
        "library.0003_coming (Alter field code on author) makes field code of table library_author NOT NULL. "
        "The plan adds it with NULL in all rows, and no step before fills it.",
    )
    assert library.comes([new], [fill], [required]).found() == []
    assert library.comes([add("code", models.IntegerField(null=True, default=2))], [required]).found() == []
    assert library.comes([new], [required]).fails()


def test_a_renamed_column_is_read_under_its_present_name(database: Database):
    library = library_of(database, None)
    library.comes(
        [
            migrations.RenameField("author", "age", "years"),
            migrations.RenameModel("Author", "Writer"),
            migrations.AlterField("writer", "years", models.IntegerField()),
        ]
    )
    [finding] = library.found()
    assert "makes library_author.age NOT NULL" in finding.message
    assert library.fails()


def test_time_that_is_up_is_said(database: Database):
    library = library_of(database, None).comes([REQUIRED])
    [finding] = library.found(limit=timedelta(0), ids=["P402"])
    assert finding.severity is Severity.UNCHECKED
