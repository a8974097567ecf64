"""What a change is said to cost is what the server does: each is made on a filled table, and watched."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from django.db import DatabaseError, migrations, models, transaction
from django.db.migrations.operations.base import Operation
from library import APP, add, alter, runbook, start

from django_runbook.databases import Database
from django_runbook.databases.ddl_costs import Cost, Waits, Work
from django_runbook.plan import Plan, make_plan
from django_runbook.preflight.changes import changes
from django_runbook.preflight.coming import Coming, coming
from django_runbook.steps import Backup, Migrate

TABLE = "library_author"
TODAY = (
    "0001_initial",
    [
        migrations.CreateModel("Shelf", [("id", models.BigAutoField(primary_key=True))]),
        migrations.CreateModel(
            "Author",
            [
                ("id", models.BigAutoField(primary_key=True)),
                ("name", models.CharField(max_length=80, null=True)),
                ("code", models.CharField(max_length=10, null=True)),
                ("long", models.CharField(max_length=100, null=True)),
                ("text", models.TextField(null=True)),
                ("age", models.IntegerField(null=True)),
                ("price", models.DecimalField(max_digits=5, decimal_places=2, null=True)),
                ("shelf_number", models.BigIntegerField(null=True)),
            ],
        ),
    ],
)
OPERATIONS: dict[str, Operation] = {
    "a column that may be null": add("new", models.IntegerField(null=True)),
    "a column with a default": add("new", models.CharField(max_length=9, default="x")),
    "a column with a database default": add("new", models.IntegerField(db_default=3)),
    "a unique column": add("new", models.IntegerField(null=True, unique=True)),
    "a foreign key": add("new", models.ForeignKey("library.shelf", models.CASCADE, null=True)),
    "a foreign key without constraint": add(
        "new", models.ForeignKey("library.shelf", models.CASCADE, null=True, db_constraint=False)
    ),
    "no column": migrations.RemoveField("author", "age"),
    "a longer short text": alter("code", models.CharField(max_length=60, null=True)),
    "a short text that grows long": alter("code", models.CharField(max_length=200, null=True)),
    "a longer long text": alter("long", models.CharField(max_length=200, null=True)),
    "a shorter text": alter("long", models.CharField(max_length=90, null=True)),
    "a text without end": alter("name", models.TextField(null=True)),
    "a text with an end": alter("text", models.CharField(max_length=100, null=True)),
    "a larger number": alter("age", models.BigIntegerField(null=True)),
    "a wider decimal": alter("price", models.DecimalField(max_digits=8, decimal_places=2, null=True)),
    "a finer decimal": alter("price", models.DecimalField(max_digits=8, decimal_places=3, null=True)),
    "no nulls": alter("age", models.IntegerField(default=0)),
    "unique values": alter("age", models.IntegerField(null=True, unique=True)),
    "an index": migrations.AddIndex("author", models.Index(fields=["age"], name="ages")),
    "a unique constraint": migrations.AddConstraint(
        "author", models.UniqueConstraint(fields=["age", "name"], name="ages")
    ),
    "a check": migrations.AddConstraint(
        "author", models.CheckConstraint(condition=models.Q(age__gte=0), name="ages")
    ),
    "a column that becomes a foreign key": alter(
        "shelf_number",
        models.ForeignKey("library.shelf", models.CASCADE, null=True, db_column="shelf_number"),
    ),
}
WORKS, WAITS = list(Work), list(Waits)


def plan_of(*operations: Operation) -> Plan:
    written = (TODAY, ("0002_coming", operations))
    return make_plan(runbook(Backup(), Migrate.all()), start(*written, applied=["0001_initial"]))


def filled(database: Database, it: Coming) -> Coming:
    """The tables of today, with three rows each."""
    with database.connection.schema_editor() as editor:
        for name in ("shelf", "author"):
            editor.create_model(it.unit.before.apps.get_model(APP, name))
    author = it.unit.before.apps.get_model(APP, "author")._default_manager.using(database.alias)
    author.bulk_create(author.model(name=f"{n}", code="c", long="l", text="t", age=n) for n in range(3))
    return it


def predicted(database: Database, it: Coming) -> Cost:
    costs = [database.ddl_costs().of(change) for _key, change in changes(it)]
    return worst((cost.work, cost.waits) for cost in costs)


def worst(pairs: Iterable[tuple[Work, Waits]]) -> Cost:
    found = list(pairs)
    return Cost(
        max((work for work, _waits in found), key=WORKS.index),
        max((waits for _work, waits in found), key=WAITS.index),
    )


ON_INNODB = {
    "ALGORITHM=INSTANT": (Work.NONE, Waits.NOBODY),
    "ALGORITHM=NOCOPY, LOCK=NONE": (Work.READ, Waits.NOBODY),
    "ALGORITHM=INPLACE, LOCK=NONE": (Work.REWRITE, Waits.NOBODY),
    "ALGORITHM=COPY": (Work.REWRITE, Waits.WRITERS),
}
"""From the cheapest; a server refuses a clause that it cannot keep."""


@pytest.mark.parametrize("what", OPERATIONS)
@pytest.mark.parametrize("database", ["mariadb"], indirect=True)
def test_mariadb_takes_no_cheaper_way_than_predicted_and_no_dearer(database: Database, what: str):
    [it] = coming(plan_of(OPERATIONS[what]), database.alias)
    filled(database, it)
    with database.connection.schema_editor(collect_sql=True) as editor:
        it.unit.perform(APP, editor)
    done = [cheapest(database, sql.rstrip(";")) for sql in editor.collected_sql]
    assert worst(done) == predicted(database, it)


def cheapest(database: Database, sql: str) -> tuple[Work, Waits]:
    if not sql.startswith(("ALTER TABLE", "CREATE")):
        database.ask_nothing(sql)
        return Work.NONE, Waits.NOBODY
    for clause, cost in ON_INNODB.items():
        tail = f", {clause}" if sql.startswith("ALTER") else f" {clause.replace(',', '')}"
        try:
            database.ask_nothing(sql + tail)
        except DatabaseError as error:
            if "ALGORITHM" not in str(error) and "LOCK" not in str(error):
                raise
        else:
            return cost
    raise AssertionError(sql)


ON_POSTGRESQL = {
    "ShareLock": Waits.WRITERS,
    "ShareRowExclusiveLock": Waits.WRITERS,
    "AccessExclusiveLock": Waits.EVERYBODY,
}


@pytest.mark.parametrize("what", OPERATIONS)
@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_postgresql_rewrites_and_locks_as_predicted(database: Database, what: str):
    """What is predicted to be free may lock, for a moment; but then it writes nothing anew."""
    [it] = coming(plan_of(OPERATIONS[what]), database.alias)
    filled(database, it)
    cost = predicted(database, it)
    before = file_of(database)
    with transaction.atomic(using=database.alias):
        with database.connection.schema_editor(atomic=False) as editor:
            it.unit.perform(APP, editor)
        locks = {ON_POSTGRESQL.get(mode) for (mode,) in database.ask(LOCKS, [TABLE])}
    assert (file_of(database) != before) == (cost.work is Work.REWRITE)
    if cost.work is not Work.NONE:
        assert cost.waits in locks


LOCKS = "SELECT mode FROM pg_locks WHERE relation = %s::regclass AND pid = pg_backend_pid()"


def file_of(database: Database) -> Any:
    return database.ask("SELECT pg_relation_filenode(%s)", [TABLE])


@pytest.mark.parametrize("what", OPERATIONS)
@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_sqlite_remakes_the_table_where_predicted(database: Database, what: str):
    """Seen by the name of the new table in Django's statements, and by DROP COLUMN, which writes all rows."""
    [it] = coming(plan_of(OPERATIONS[what]), database.alias)
    filled(database, it)
    with database.connection.schema_editor(collect_sql=True) as editor:
        it.unit.perform(APP, editor)
    text = " ".join(editor.collected_sql)
    remade = f"new__{TABLE}" in text or "DROP COLUMN" in text
    assert remade == (predicted(database, it).work is Work.REWRITE), text
