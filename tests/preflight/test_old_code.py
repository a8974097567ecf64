"""What breaks the code of before until the restart: seen, too, by letting that code write."""

from __future__ import annotations

import pytest
from django.db import DatabaseError, migrations, models, transaction
from django.db.migrations.operations.base import Operation
from library import APP, INITIAL, add, alter, runbook, start

from django_runbook.databases import Database
from django_runbook.plan import Plan, make_plan
from django_runbook.preflight import PLAN_CHECKS, Finding, Severity
from django_runbook.preflight.coming import coming
from django_runbook.preflight.old_code import CHECK
from django_runbook.steps import Backup, Migrate, Restart, Step

TABLE = "library_author"
NO_NAME = migrations.RemoveField("author", "name")
NUMBER = models.IntegerField(default=0)
ALL = (Migrate.all(),)


def plan_of(*operations: Operation, steps: tuple[Step, ...] = ALL) -> Plan:
    written = (INITIAL, ("0002_coming", operations))
    return make_plan(runbook(Backup(), *steps), start(*written, applied=[INITIAL[0]]))


def found(plan: Plan, database: Database) -> list[Finding]:
    assert CHECK in PLAN_CHECKS
    return list(CHECK.look(plan, database))


def old_code_fails(database: Database, plan: Plan) -> bool:
    """Perform the operations, then insert with the model of before."""
    its = list(coming(plan, database.alias))
    author = its[0].unit.before.apps.get_model(APP, "author")
    with database.connection.schema_editor() as editor:
        editor.create_model(author)
    for it in its:
        with database.connection.schema_editor() as editor:
            it.unit.perform(APP, editor)
    try:
        with transaction.atomic(using=database.alias):
            author._default_manager.using(database.alias).create(name="Zola")
    except DatabaseError:
        return True
    return False


def test_a_removed_column_is_told(database: Database):
    plan = plan_of(NO_NAME)
    assert found(plan, database) == [
        Finding(
            id="runbook.P503",
            severity=Severity.WARNING,
            message="library.0002_coming: Remove field name from author. Until the service is restarted the "
            "code of before runs, and each of its queries that names the column name fails.",
            hint="First release the code that does not use it any more, then remove it after that one's "
            "Restart.",
            subject=TABLE,
        )
    ]
    assert old_code_fails(database, plan)


@pytest.mark.parametrize(
    ("operation", "why"),
    [
        (migrations.RenameField("author", "name", "title"), "names the column name fails."),
        (migrations.RenameModel("Author", "Writer"), "on the table library_author fails."),
        (migrations.AlterModelTable("author", "people"), "on the table library_author fails."),
        (migrations.DeleteModel("Author"), "on the table library_author fails."),
        (add("age", NUMBER), "rows that it adds to library_author without a value for age are refused."),
    ],
)
def test_the_old_code_breaks(database: Database, operation: Operation, why: str):
    plan = plan_of(operation)
    [finding] = found(plan, database)
    assert finding.message.endswith(why)
    assert old_code_fails(database, plan)


@pytest.mark.parametrize(
    "operation",
    [
        add("age", models.IntegerField(null=True)),
        add("age", models.IntegerField(db_default=0)),
        alter("name", models.CharField(max_length=90)),
        migrations.AlterModelTable("author", TABLE),
        migrations.CreateModel("Shelf", [("id", models.BigAutoField(primary_key=True))]),
    ],
)
def test_the_old_code_goes_on(database: Database, operation: Operation):
    plan = plan_of(operation)
    assert found(plan, database) == []
    assert not old_code_fails(database, plan)


def test_a_column_that_the_plan_adds_itself_may_go(database: Database):
    plan = plan_of(add("age", models.IntegerField(null=True)), migrations.RemoveField("author", "age"))
    assert found(plan, database) == []


def test_what_is_removed_behind_the_restart_is_silent(database: Database):
    assert found(plan_of(NO_NAME, steps=(Restart("gunicorn"), *ALL)), database) == []
    assert found(plan_of(NO_NAME, steps=(Restart("gunicorn"), *ALL, Restart("gunicorn"))), database) != []
