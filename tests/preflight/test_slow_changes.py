"""Operations that rewrite or block large tables; small and new tables hurt nobody."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from django.db import migrations, models
from django.db.migrations.operations.base import Operation
from library import APP, INITIAL, add, alter, runbook, start

from django_runbook.databases import Database
from django_runbook.databases.ddl_costs import Work
from django_runbook.plan import Plan, make_plan
from django_runbook.preflight import PLAN_CHECKS, Finding, Severity, slow_changes
from django_runbook.preflight.blocking import CHECK as BLOCKING
from django_runbook.preflight.rewrites import CHECK as REWRITES
from django_runbook.steps import Backup, Migrate, Step

TABLE = "library_author"
on_mariadb = pytest.mark.parametrize("database", ["mariadb"], indirect=True)
on_postgresql = pytest.mark.parametrize("database", ["postgresql"], indirect=True)
SHORTER = alter("name", models.CharField(max_length=70))
INDEX = migrations.AddIndex("author", models.Index(fields=["name"], name="names"))
WINDOW = "Run it when nobody waits."


def plan_of(*operations: Operation, steps: Sequence[Step] = (Migrate.all(),)) -> Plan:
    return make_plan(
        runbook(Backup(), *steps),
        start(INITIAL, ("0002_coming", operations), applied=[INITIAL[0]]),
    )


@pytest.fixture
def large(database: Database, monkeypatch: pytest.MonkeyPatch) -> Database:
    """Two thousand authors, on a server of which it is assumed that it is very slow."""
    author = plan_of().steps[-1].place.state.apps.get_model(APP, "author")
    with database.connection.schema_editor() as editor:
        editor.create_model(author)
    rows = author._default_manager.using(database.alias)
    rows.bulk_create(author(name="x" * 60) for _number in range(2000))
    if database.connection.vendor == "mysql":
        database.ask(f"ANALYZE TABLE {TABLE}")
    for work in (Work.READ, Work.REWRITE):
        monkeypatch.setitem(slow_changes.MEGABYTES_PER_SECOND, work, 0.001)
    return database


def found(plan: Plan, database: Database) -> list[Finding]:
    assert {REWRITES, BLOCKING} <= set(PLAN_CHECKS)
    return [*REWRITES.look(plan, database), *BLOCKING.look(plan, database)]


def sized(database: Database) -> str:
    size = database.table_sizes()[TABLE].bytes
    assert size > 100_000
    return f"({round(size / 1e6)} MB): about {round(size / 1e3)} s, if it does 0.001 MB/s."


@on_postgresql
def test_a_rewrite_is_told_with_its_length_and_its_gentler_form(large: Database):
    assert found(plan_of(SHORTER), large) == [
        Finding(
            id="runbook.P501",
            severity=Severity.WARNING,
            message=f"library.0002_coming: Alter field name on author. {large.server()} writes the whole "
            f"table library_author anew for it {sized(large)} Whoever reads or writes it waits until then.",
            hint="Add a new column with null=True, fill it with a Backfill step, let the code use it, and "
            "remove the old one in a later release.",
            subject=TABLE,
        )
    ]


@on_postgresql
def test_an_index_blocks_those_who_write(large: Database):
    assert found(plan_of(INDEX), large) == [
        Finding(
            id="runbook.P502",
            severity=Severity.WARNING,
            message=f"library.0002_coming: Create index names on field(s) name of model author. "
            f"{large.server()} reads the whole table library_author for it {sized(large)} Whoever writes to "
            "it waits until then.",
            hint="Use AddIndexConcurrently of django.contrib.postgres.operations, in a migration of its own "
            "with `atomic = False`; for a field, add it with db_index=False, and the index by Meta.indexes.",
            subject=TABLE,
        )
    ]


@on_postgresql
def test_an_index_that_is_built_concurrently_is_silent(large: Database):
    from django.contrib.postgres.operations import AddIndexConcurrently

    assert found(plan_of(AddIndexConcurrently("author", INDEX.index)), large) == []


@on_mariadb
def test_mariadb_builds_an_index_beside_those_who_write_but_copies_for_a_type(large: Database):
    assert found(plan_of(INDEX), large) == []
    [finding] = found(plan_of(SHORTER), large)
    assert finding.message.endswith("Whoever writes to it waits until then.")
    assert "gh-ost or pt-online-schema-change" in finding.hint


@on_mariadb
def test_a_rewrite_for_which_nobody_waits_is_told_for_its_disk(large: Database):
    [finding] = found(plan_of(add("age", models.IntegerField(null=True, unique=True))), large)
    assert (finding.id, finding.hint) == (
        "runbook.P501",
        "See that the server's disk has room for the table once more.",
    )
    assert finding.message.endswith("meanwhile, but disk and replicas are busy.")


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_sqlite_has_no_gentler_form_than_a_quiet_hour(large: Database):
    assert [(it.id, it.hint) for it in found(plan_of(SHORTER, INDEX), large)] == [
        ("runbook.P501", WINDOW),
        ("runbook.P502", WINDOW),
    ]


UNIQUE = add("age", models.IntegerField(null=True, unique=True))
PARENT = add("parent", models.ForeignKey("library.author", models.CASCADE, null=True))


@pytest.mark.parametrize("operation", [UNIQUE, PARENT])
@pytest.mark.parametrize("database", ["mariadb", "postgresql"], indirect=True)
def test_what_is_deferred_is_built_while_others_write(large: Database, operation: Operation):
    deferred = [Migrate(APP, "0002", defer_indexes=True), Migrate(APP, "0002"), Migrate.all()]
    assert found(plan_of(operation), large)
    assert found(plan_of(operation, steps=deferred), large) == []
    [finding] = found(plan_of(operation, SHORTER, steps=deferred), large)
    assert "Alter field name" in finding.message


def test_a_column_that_may_be_null_is_silent(large: Database):
    assert found(plan_of(add("age", models.IntegerField(null=True))), large) == []


def test_a_table_that_the_plan_creates_is_silent(large: Database):
    create = migrations.CreateModel(
        "Shelf", [("id", models.BigAutoField(primary_key=True)), ("name", models.CharField(max_length=9))]
    )
    change = migrations.AlterField("shelf", "name", models.CharField(max_length=5))
    index = migrations.AddIndex("shelf", models.Index(fields=["name"], name="shelf_names"))
    assert found(plan_of(create, change, index), large) == []


def test_a_small_table_is_silent(large: Database, monkeypatch: pytest.MonkeyPatch):
    for work in (Work.READ, Work.REWRITE):
        monkeypatch.setitem(slow_changes.MEGABYTES_PER_SECOND, work, 50)
    assert found(plan_of(SHORTER, INDEX), large) == []
