"""Rows that violate a coming check, and pairs that exclude each other under a coming constraint."""

from __future__ import annotations

import pytest
from altering import TABLE, build, fails, fill, found, plan_of, table_of
from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import IntegerRangeField, RangeOperators
from django.contrib.postgres.operations import AddConstraintNotValid, BtreeGistExtension, ValidateConstraint
from django.db import migrations, models
from django.db.migrations.operations.base import Operation
from django.db.models import F, Q

from django_runbook.databases import Database
from django_runbook.preflight import PLAN_CHECKS, Finding, Severity
from django_runbook.preflight.exclusions import CHECK as EXCLUSIONS
from django_runbook.preflight.extensions import CHECK as EXTENSIONS
from django_runbook.preflight.violated_checks import CHECK as VIOLATIONS

on_postgresql = pytest.mark.parametrize("database", ["postgresql"], indirect=True)
AGES = table_of(age=models.IntegerField(null=True))
GROWN = models.CheckConstraint(condition=Q(age__gte=18), name="grown")
ADD_GROWN = migrations.AddConstraint("author", GROWN)


def test_rows_that_violate_a_coming_check_are_named(database: Database):
    state = build(database, AGES)
    fill(database, "age", 18, 17, None, -1)
    age, table, key = (database.quote(it) for it in ("age", TABLE, "id"))
    [finding] = found(VIOLATIONS, plan_of(AGES, ADD_GROWN), database)
    assert finding == Finding(
        id="runbook.P409",
        severity=Severity.ERROR,
        message=f"library.0002_coming demands grown of every row of library_author: {age} >= 18. Rows that "
        "violate it: 2.",
        hint="Correct these rows before. This lists them all:\n"
        f"SELECT {key}, {age} FROM {table} WHERE NOT ({age} >= 18) ORDER BY {key};",
        subject=TABLE,
        examples=("id = 2, age = 17", "id = 4, age = -1"),
    )
    assert len(database.ask(finding.hint.partition("\n")[2].rstrip(";"))) == 2
    assert fails(database, ADD_GROWN, state)


def test_null_passes_a_check(database: Database):
    state = build(database, AGES)
    fill(database, "age", 18, None)
    assert found(VIOLATIONS, plan_of(AGES, ADD_GROWN), database) == []
    assert not fails(database, ADD_GROWN, state)


def test_a_check_is_of_columns_under_the_names_of_today(database: Database):
    build(database, AGES)
    fill(database, "age", 17, 18)
    years = models.CheckConstraint(condition=Q(years__gte=18) | Q(years__lt=F("id")), name="grown")
    plan = plan_of(
        AGES,
        migrations.RenameField("author", "age", "years"),
        migrations.RenameModel("Author", "Writer"),
        migrations.AddConstraint("writer", years),
    )
    assert [it.examples for it in found(VIOLATIONS, plan, database)] == [("id = 1, age = 17",)]


def test_a_check_of_a_column_that_the_plan_adds_is_silent(database: Database):
    build(database, AGES)
    fill(database, "age", 17)
    later = models.CheckConstraint(condition=Q(size__gte=18), name="later")
    plan = plan_of(
        AGES,
        migrations.AddField("author", "size", models.IntegerField(null=True)),
        migrations.AddConstraint("author", later),
    )
    assert found(VIOLATIONS, plan, database) == []


@on_postgresql
def test_a_check_that_is_not_valid_yet_asks_nothing_until_it_is_validated(database: Database):
    state = build(database, AGES)
    fill(database, "age", 17)
    not_valid = AddConstraintNotValid("author", GROWN)
    assert found(VIOLATIONS, plan_of(AGES, not_valid), database) == []
    assert not fails(database, not_valid, state)
    [finding] = found(VIOLATIONS, plan_of(AGES, not_valid, ValidateConstraint("author", "grown")), database)
    assert finding.severity is Severity.ERROR


SPANS = table_of(span=IntegerRangeField(null=True), room=models.IntegerField(default=1))
APART = migrations.AddConstraint(
    "author", ExclusionConstraint(name="apart", expressions=[("span", RangeOperators.OVERLAPS)])
)


@on_postgresql
def test_rows_that_exclude_each_other_are_named_in_pairs(database: Database):
    state = build(database, SPANS)
    database.ask_nothing(
        f"INSERT INTO {TABLE} (id, span, room)"
        " VALUES (1, '[1,5)', 1), (2, '[4,9)', 1), (3, '[9,12)', 1), (4, NULL, 1)"
    )
    [finding] = found(EXCLUSIONS, plan_of(SPANS, APART), database)
    query = finding.hint.partition("\n")[2]
    assert finding == Finding(
        id="runbook.P410",
        severity=Severity.ERROR,
        message="library.0002_coming adds apart, under which rows of library_author exclude each other that "
        "are there already.",
        hint="Change or delete one row of each pair before. This lists the keys of all pairs:\n" + query,
        subject=TABLE,
        examples=("1 and 2",),
    )
    assert database.ask(query.rstrip(";")) == [(1, 2)]
    assert fails(database, APART, state)


@on_postgresql
def test_rows_that_merely_touch_are_silent(database: Database):
    state = build(database, SPANS)
    database.ask_nothing(f"INSERT INTO {TABLE} (id, span, room) VALUES (1, '[1,5)', 1), (2, '[5,9)', 1)")
    assert found(EXCLUSIONS, plan_of(SPANS, APART), database) == []
    assert not fails(database, APART, state)


@on_postgresql
def test_a_condition_leaves_rows_out(database: Database):
    build(database, SPANS)
    database.ask_nothing(f"INSERT INTO {TABLE} (id, span, room) VALUES (1, '[1,5)', 1), (2, '[4,9)', 2)")
    constraint = ExclusionConstraint(
        name="apart", expressions=[("span", RangeOperators.OVERLAPS)], condition=Q(room=1)
    )
    assert found(EXCLUSIONS, plan_of(SPANS, migrations.AddConstraint("author", constraint)), database) == []


BY_ROOM = migrations.AddConstraint(
    "author",
    ExclusionConstraint(
        name="apart", expressions=[("span", RangeOperators.OVERLAPS), ("room", RangeOperators.EQUAL)]
    ),
)


def lacking(database: Database, *operations: Operation) -> list[Finding]:
    assert EXTENSIONS in PLAN_CHECKS
    return list(EXTENSIONS.look(plan_of(SPANS, *operations), database))


@on_postgresql
def test_a_number_in_an_exclusion_constraint_needs_an_extension(database: Database):
    state = build(database, SPANS)
    assert lacking(database, BY_ROOM) == [
        Finding(
            id="runbook.P412",
            severity=Severity.ERROR,
            message="library.0002_coming adds apart, whose index needs the extension btree_gist, which this "
            "database does not have.",
            hint="Add BtreeGistExtension() to the migration before it, or run `CREATE EXTENSION "
            "btree_gist;`.",
            subject=TABLE,
        )
    ]
    assert fails(database, BY_ROOM, state)


@on_postgresql
def test_an_extension_that_the_plan_creates_or_that_is_there_is_silent(database: Database):
    state = build(database, SPANS)
    assert lacking(database, BtreeGistExtension(), BY_ROOM) == []
    assert lacking(database, migrations.RunSQL("CREATE EXTENSION btree_gist"), BY_ROOM) == []
    assert lacking(database, APART) == []
    database.ask_nothing("CREATE EXTENSION btree_gist")
    assert lacking(database, BY_ROOM) == []
    assert not fails(database, BY_ROOM, state)
