"""Rows that point at nothing under a coming foreign key, with Django as the witness."""

from __future__ import annotations

import pytest
from coming_failures import Library, table
from django.db import migrations, models
from django.db.migrations.operations.base import Operation

from django_runbook.databases import Database
from django_runbook.preflight import Finding, Severity

AUTHORS = table("Author", code=models.CharField(max_length=9, unique=True, null=True))
KEY = {"to": "library.author", "on_delete": models.CASCADE, "null": True}
BOOKS = table(
    "Book",
    number=models.BigIntegerField(null=True),
    author=models.ForeignKey(**KEY, db_constraint=False),
    code=models.CharField(max_length=9, null=True),
)
BIND = migrations.AlterField("book", "author", models.ForeignKey(**KEY))
IDS = ("P403",)


def library_of(
    database: Database, *, author: int | None = 1, number: int | None = 1, code: str = "a"
) -> Library:
    """One author, with the key 1 and the code "a", and one book."""
    library = Library(database, [AUTHORS], [BOOKS])
    library.model("Author").create(code="a")
    library.model("Book").create(author_id=author, number=number, code=code)
    return library


def test_a_finding_names_the_rows_and_the_query_that_lists_them(database: Database):
    library = library_of(database, author=None)
    for author in (1, 1, 7, 8):
        library.model("Book").create(author_id=author)
    [finding] = library.comes([BIND]).found()
    query = finding.hint.splitlines()[-1]
    assert finding == Finding(
        id="runbook.P403",
        severity=Severity.ERROR,
        message="library.0003_coming (Alter field author on book) demands that each library_book.author_id "
        "points at a row of library_author, but in 2 row(s) it points at none.",
        hint="Delete these rows, point them elsewhere, or at NULL. This lists them all:\n" + query,
        subject="library_book",
        examples=("id = 4, author_id = 7", "id = 5, author_id = 8"),
    )
    assert database.ask(query.rstrip(";")) == [(4, 7), (5, 8)]
    assert library.fails()


@pytest.mark.parametrize(
    "operation",
    [
        BIND,
        migrations.AlterField("book", "number", models.ForeignKey(**KEY, related_name="+")),
        migrations.AlterField(
            "book", "number", models.ForeignKey(**KEY, related_name="+", db_column="number")
        ),
        migrations.AlterField("book", "number", models.OneToOneField(**KEY, related_name="+")),
        migrations.AlterField("book", "code", models.ForeignKey(**KEY, to_field="code", related_name="+")),
        migrations.AlterField(
            "book", "author", models.ForeignKey(**{**KEY, "to": "library.book"}, related_name="+")
        ),
    ],
)
@pytest.mark.parametrize("there", [True, False])
def test_it_fails_exactly_where_the_check_says_so(database: Database, operation: Operation, there: bool):
    missing = {"author": 9, "number": 9, "code": "b"}
    library = library_of(database, **({} if there else missing))
    found = [it.severity for it in library.comes([operation]).found()]
    assert found == ([] if there else [Severity.ERROR])
    assert bool(found) == library.fails()


@pytest.mark.parametrize("default", [1, 9])
def test_a_default_that_points_nowhere_fails(database: Database, default: int):
    library = library_of(database)
    field = models.ForeignKey("library.author", models.CASCADE, default=default, related_name="+")
    found = library.comes([migrations.AddField("book", "editor", field)]).found()
    assert bool(found) == library.fails() == (default == 9)
    if found:
        [finding] = found
        assert finding.message == (
            "library.0003_coming (Add field editor to book) points all rows of library_book at the row 9 of "
            "library_author, which is not there."
        )


def test_a_target_that_the_plan_creates_has_no_rows(database: Database):
    library = library_of(database)
    to_shelf = models.ForeignKey("library.shelf", models.CASCADE, null=True)
    found = library.comes([table("Shelf"), migrations.AlterField("book", "number", to_shelf)]).found()
    assert [it.severity for it in found] == [Severity.ERROR]
    assert "points at a row of library_shelf" in found[0].message
    assert library.fails()


def test_what_an_earlier_step_may_mend_is_a_warning(database: Database):
    library = library_of(database, author=9)
    fill = migrations.RunPython(migrations.RunPython.noop)
    [finding] = library.comes([fill], [BIND]).found()
    assert finding.severity is Severity.WARNING
    assert finding.message.endswith(
        "It fails unless library.0003_coming: Raw Python operation mends it first."
    )


def test_other_changes_of_the_field_are_no_finding(database: Database):
    library = library_of(database, author=9)
    again = models.ForeignKey(**KEY, db_constraint=False, verbose_name="who")
    assert library.comes([migrations.AlterField("book", "author", again)]).found() == []
    assert not library.fails()


def bound_orphan(database: Database) -> Library:
    """A row that came in while nobody looked."""
    library = Library(database, [AUTHORS], [BOOKS, BIND])
    with database.connection.constraint_checks_disabled():
        library.model("Book").create(author_id=9)
    return library


AGE = migrations.AddField("author", "age", models.IntegerField(null=True))


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_any_migration_fails_where_all_foreign_keys_are_checked(database: Database):
    library = bound_orphan(database)
    [finding] = library.comes([AGE], [AGE]).found()
    query = finding.hint.splitlines()[-1]
    assert finding == Finding(
        id="runbook.P403",
        severity=Severity.ERROR,
        message="In 1 row(s) library_book.author_id points at no row of library_author. All foreign keys of "
        "database 'default' are checked at the end of each migration, so that library.0003_coming fails, "
        "whatever it does.",
        hint="Delete these rows, point them elsewhere, or at NULL. This lists them all:\n" + query,
        subject="library_book",
    )
    assert len(database.ask(query.rstrip(";"))) == 1
    assert library.fails()


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "operation", [migrations.DeleteModel("Book"), migrations.RemoveField("book", "author")]
)
def test_orphans_that_the_first_migration_drops_are_no_finding(database: Database, operation: Operation):
    library = bound_orphan(database)
    assert library.comes([operation]).found() == []
    assert not library.fails()


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_orphans_that_the_first_migration_may_mend_are_a_warning(database: Database):
    mend = migrations.RunSQL("DELETE FROM library_book")
    [finding] = bound_orphan(database).comes([AGE, mend]).found()
    assert finding.severity is Severity.WARNING


@pytest.mark.parametrize("database", ["mariadb"], indirect=True)
@pytest.mark.parametrize(
    ("operation", "fails"),
    [
        (migrations.AlterField("book", "author", models.ForeignKey(**{**KEY, "null": False})), True),
        (migrations.RenameModel("Author", "Writer"), True),
        (migrations.AlterField("author", "id", models.AutoField(primary_key=True)), True),
        (migrations.AlterField("book", "author", models.ForeignKey(**KEY, verbose_name="who")), False),
        (AGE, False),
    ],
)
def test_a_foreign_key_that_is_made_anew_meets_old_orphans(
    database: Database, operation: Operation, fails: bool
):
    library = bound_orphan(database)
    found = [it.severity for it in library.comes([operation]).found()]
    assert found == [Severity.ERROR] * fails
    assert library.fails() == fails
