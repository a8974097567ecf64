"""Tables without transactions: an error where the plan touches them, a warning elsewhere."""

from __future__ import annotations

import pytest
from django.db import migrations, models
from django.db.migrations.operations.base import Operation
from library import INITIAL, add, alter, runbook, start
from looking import situation

from django_runbook.databases import Database
from django_runbook.plan import Plan, make_plan
from django_runbook.preflight import PLAN_CHECKS, Finding, Severity
from django_runbook.preflight.engines import CHECK
from django_runbook.steps import Backfill, Backup, Migrate, Step

on_mariadb = pytest.mark.parametrize("database", ["mariadb"], indirect=True)

BOOKS = (
    "0002_books",
    [
        migrations.CreateModel(
            "Book",
            [
                ("id", models.BigAutoField(primary_key=True)),
                ("author", models.ForeignKey("library.author", models.CASCADE)),
                ("readers", models.ManyToManyField("library.author", related_name="+")),
            ],
        ),
        migrations.CreateModel("Shelf", [("id", models.BigAutoField(primary_key=True))]),
    ],
)
"""With a table between books and readers."""
AUTHOR, BOOK, READERS, SHELF, LOG = (
    "library_author",
    "library_book",
    "library_book_readers",
    "library_shelf",
    "legacy_log",
)
"""The last one has no model."""
AGE = add("age", models.IntegerField(null=True))


class NotOperation(Operation):
    """Of a project; it does not say what it touches."""

    def state_forwards(self, app_label: str, state: object) -> None:
        pass


class FillBooks(Backfill):
    model = "library.Book"

    def batch(self, rows: models.QuerySet) -> None:
        rows.update(author=None)


def plan(*operations: Operation, steps: tuple[Step, ...] = (Migrate.all(),)) -> Plan:
    """Authors, books and shelves are there; these operations come."""
    written = (INITIAL, BOOKS, ("0003_coming", operations))
    return make_plan(
        runbook(Backup(), *steps), start(*written, applied=[name for name, _operations in written[:2]])
    )


def found(plan: Plan, database: Database) -> list[Finding]:
    assert CHECK in PLAN_CHECKS
    return list(CHECK.look(plan, database))


def create(database: Database, *tables: str, engine: str = "MyISAM") -> None:
    for table in tables:
        database.ask_nothing(f"CREATE TABLE {database.quote(table)} (id BIGINT PRIMARY KEY) ENGINE={engine}")


@on_mariadb
def test_tables_that_the_plan_changes_are_an_error_and_others_a_warning(database: Database):
    create(database, AUTHOR)
    create(database, SHELF, engine="Aria")
    create(database, LOG, engine="MEMORY")
    create(database, BOOK, engine="InnoDB")
    assert found(plan(AGE), database) == [
        Finding(
            id="runbook.P108",
            severity=Severity.ERROR,
            message="The plan changes tables of database 'mariadb' whose engine takes no part in "
            "transactions, so that a crash may leave a change half done, or done twice: library_author "
            "(MyISAM).",
            hint="ALTER TABLE `library_author` ENGINE=InnoDB;",
        ),
        Finding(
            id="runbook.P108",
            severity=Severity.WARNING,
            message="Tables of database 'mariadb' have an engine that takes no part in transactions: "
            "legacy_log (MEMORY), library_shelf (Aria). The plan does not touch them, but what is written to "
            "them during a backup is in it or not, as it happens.",
            hint="ALTER TABLE `legacy_log` ENGINE=InnoDB;\nALTER TABLE `library_shelf` ENGINE=InnoDB;",
        ),
    ]


@on_mariadb
def test_the_hint_mends_what_was_found(database: Database):
    create(database, AUTHOR, "odd`name")
    for finding in found(plan(AGE), database):
        database.ask_nothing(finding.hint.rstrip(";"))
    assert found(plan(AGE), database) == []


@pytest.mark.parametrize(
    ("coming", "touched"),
    [
        (plan(AGE), {AUTHOR}),
        (plan(migrations.SeparateDatabaseAndState([AGE])), {AUTHOR}),
        (plan(migrations.RenameModel("Author", "Writer")), {AUTHOR, BOOK, READERS}),
        (plan(alter("id", models.AutoField(primary_key=True))), {AUTHOR, BOOK, READERS}),
        (plan(migrations.RemoveField("book", "readers")), {BOOK, READERS}),
        (plan(migrations.DeleteModel("Shelf")), {SHELF}),
        (
            plan(migrations.AddField("shelf", "book", models.ForeignKey("library.book", models.CASCADE))),
            {SHELF, BOOK, READERS},
        ),
        (plan(migrations.RunPython(migrations.RunPython.noop)), {AUTHOR, BOOK, READERS, SHELF}),
        (plan(migrations.RunSQL("DELETE FROM legacy_log")), {AUTHOR, BOOK, READERS, SHELF, LOG}),
        (plan(migrations.RunSQL(["UPDATE legacy_logs SET x = 1"])), {AUTHOR, BOOK, READERS, SHELF}),
        (plan(NotOperation()), {AUTHOR, BOOK, READERS, SHELF}),
        (plan(steps=(Backfill(FillBooks),)), {AUTHOR, BOOK, READERS, SHELF, LOG}),
        (plan(AGE, steps=()), set()),
    ],
)
@on_mariadb
def test_a_plan_touches(database: Database, coming: Plan, touched: set[str]):
    """The backfill touches all, because this file names them all."""
    create(database, AUTHOR, BOOK, READERS, SHELF, LOG)
    errors = [it for it in found(coming, database) if it.severity is Severity.ERROR]
    named = {
        table for it in errors for table in (AUTHOR, BOOK, READERS, SHELF, LOG) if f"`{table}`" in it.hint
    }
    assert named == touched


@on_mariadb
@pytest.mark.parametrize("table", ["django_migrations", "django_runbook_run", "django_content_type"])
def test_what_every_run_writes_to_is_an_error(database: Database, table: str):
    create(database, table)
    assert [it.severity for it in found(plan(AGE), database)] == [Severity.ERROR]


def test_a_database_whose_tables_all_have_transactions_is_sound(database: Database):
    database.ask_nothing("CREATE TABLE library_author (id INT PRIMARY KEY)")
    database.ask_nothing("CREATE VIEW authors AS SELECT * FROM library_author")
    if database.connection.vendor == "mysql":
        database.ask_nothing("CREATE SEQUENCE numbers ENGINE=MyISAM")
        database.ask_nothing("CREATE TEMPORARY TABLE scratch (id INT) ENGINE=MEMORY")
    assert found(plan(AGE), database) == []
    assert by_default(database) == []


def by_default(database: Database) -> list[Finding]:
    return [finding for finding in situation(database) if finding.id == "runbook.P109"]


@on_mariadb
@pytest.mark.parametrize("variable", ["default_storage_engine", "enforce_storage_engine"])
def test_an_engine_without_transactions_for_new_tables_is_refused(database: Database, variable: str):
    database.ask_nothing(f"SET SESSION {variable} = Aria, sql_mode = ''")
    try:
        assert by_default(database) == [
            Finding(
                id="runbook.P109",
                severity=Severity.ERROR,
                message="CREATE TABLE on database 'mariadb' makes tables with the engine Aria, which takes "
                "no part in transactions.",
                hint="Run `SET GLOBAL default_storage_engine = InnoDB;`, and put it into the server's "
                "configuration. If that is not it: look for another in the `init_command` of "
                "DATABASES['mariadb'], and for the server's enforce_storage_engine.",
            )
        ]
        database.ask_nothing("CREATE TABLE made (id INT)")
        assert database.unsafe_tables() == {"made": "Aria"}
    finally:
        database.connection.close()
    assert by_default(database) == []
