"""Values that do not fit the type that is coming: too long, out of range, or no value of it at all."""

from __future__ import annotations

import pytest
from altering import TABLE, build, fails, fill, found, plan_of, table_of
from django.db import migrations, models
from library import alter

from django_runbook.databases import Database
from django_runbook.preflight import Finding, Severity
from django_runbook.preflight.out_of_range import CHECK as OUT_OF_RANGE
from django_runbook.preflight.too_long import CHECK as TOO_LONG
from django_runbook.preflight.unreadable import CHECK as UNREADABLE
from django_runbook.steps import Backfill, Migrate

with_limits = pytest.mark.parametrize("database", ["mariadb", "postgresql"], indirect=True)
on = {name: pytest.mark.parametrize("database", [name], indirect=True) for name in ("mariadb", "postgresql")}
CODES = table_of(code=models.CharField(max_length=100, null=True))
SHORTER = alter("code", models.CharField(max_length=5, null=True))
A_NUMBER = alter("code", models.IntegerField(null=True))


class MendAuthors(Backfill):
    model = "library.Author"

    def batch(self, rows: models.QuerySet) -> None:
        rows.update(code="")


def query_of(finding: Finding) -> str:
    return finding.hint.partition("\n")[2].rstrip(";")


@with_limits
def test_values_too_long_are_named_with_their_keys(database: Database):
    state = build(database, CODES)
    fill(database, "code", "short", "longer", "x" * 100, None)
    quoted = {name: database.quote(name) for name in ("id", "code", TABLE)}
    [finding] = found(TOO_LONG, plan_of(CODES, SHORTER), database)
    length = database.misfits.too_long(quoted["code"], 5)
    assert finding == Finding(
        id="runbook.P406",
        severity=Severity.ERROR,
        message="library.0002_coming makes library_author.code hold at most 5 characters. Values that are "
        "longer: 2.",
        hint="Shorten them, or let the column hold more. This lists them all:\n"
        f"SELECT {quoted['id']}, {quoted['code']} FROM {quoted[TABLE]} WHERE {length} "
        f"ORDER BY {quoted['id']};",
        subject=TABLE,
        examples=("id = 2, code = 'longer'", f"id = 3, code = '{'x' * 59}…"),
    )
    assert [row[0] for row in database.ask(query_of(finding))] == [2, 3]
    assert fails(database, SHORTER, state)


@with_limits
def test_values_that_fit_are_silent(database: Database):
    state = build(database, CODES)
    fill(database, "code", "short", "ééééé", "five    ", None)
    assert found(TOO_LONG, plan_of(CODES, SHORTER), database) == []
    assert not fails(database, SHORTER, state)


@on["postgresql"]
def test_postgresql_cuts_a_text_field_without_a_word(database: Database):
    today = table_of(code=models.TextField(null=True))
    state = build(database, today)
    fill(database, "code", "longer")
    [finding] = found(TOO_LONG, plan_of(today, SHORTER), database)
    assert (finding.severity, finding.message) == (
        Severity.ERROR,
        "library.0002_coming makes library_author.code hold at most 5 characters, and this server will cut "
        "longer values without a word. Values that are longer: 1.",
    )
    assert not fails(database, SHORTER, state)
    assert database.ask(f"SELECT code FROM {TABLE}") == [("longe",)]


@on["mariadb"]
def test_mariadb_without_strict_mode_cuts_without_a_word(database: Database):
    state = build(database, CODES)
    fill(database, "code", "longer")
    database.ask_nothing("SET SESSION sql_mode = ''")
    try:
        [finding] = found(TOO_LONG, plan_of(CODES, SHORTER), database)
        assert finding.severity is Severity.ERROR
        assert not fails(database, SHORTER, state)
    finally:
        database.connection.close()


def test_sqlite_keeps_what_is_too_long(make_database):
    database = make_database("sqlite")
    state = build(database, CODES)
    fill(database, "code", "longer")
    assert found(TOO_LONG, plan_of(CODES, SHORTER), database) == []
    assert not fails(database, SHORTER, state)


BOOKS = migrations.CreateModel(
    "Book",
    [
        ("id", models.BigAutoField(primary_key=True)),
        ("author", models.ForeignKey("library.author", models.CASCADE, db_constraint=False)),
    ],
)


@with_limits
def test_foreign_keys_follow_the_key_that_they_point_at(database: Database):
    author = migrations.CreateModel("Author", [("code", models.CharField(max_length=20, primary_key=True))])
    today = [("0001_initial", [author, BOOKS])]
    build(database, today)
    database.ask_nothing("INSERT INTO library_book (id, author_id) VALUES (1, 'nobody there')")
    findings = found(
        TOO_LONG, plan_of(today, alter("code", models.CharField(max_length=5, primary_key=True))), database
    )
    assert [(it.subject, it.examples) for it in findings] == [
        ("library_book", ("id = 1, author_id = 'nobody there'",))
    ]


@with_limits
def test_an_earlier_step_may_mend_them(database: Database):
    build(database, CODES)
    fill(database, "code", "longer")
    plan = plan_of(CODES, SHORTER, steps=(Backfill(MendAuthors), Migrate.all()))
    [finding] = found(TOO_LONG, plan, database)
    assert finding.severity is Severity.WARNING
    assert finding.message.startswith("library.0002_coming makes library_author.code hold at most 5 ")
    assert finding.message.endswith("mends it first.")
    assert " It fails unless " in finding.message


@with_limits
def test_columns_renamed_meanwhile_are_read_where_they_are(database: Database):
    build(database, CODES)
    fill(database, "code", "longer")
    renamed = (
        migrations.RenameField("author", "code", "label"),
        migrations.RenameModel("Author", "Writer"),
        migrations.AlterField("writer", "label", models.CharField(max_length=5, null=True)),
    )
    assert [it.examples for it in found(TOO_LONG, plan_of(CODES, *renamed), database)] == [
        ("id = 1, code = 'longer'",)
    ]


def test_a_column_that_the_plan_adds_holds_nothing_yet(database: Database):
    build(database, CODES)
    fill(database, "code", "longer")
    added = (
        migrations.AddField("author", "note", models.CharField(max_length=50, null=True)),
        alter("note", models.IntegerField(null=True)),
    )
    for check in (TOO_LONG, OUT_OF_RANGE, UNREADABLE):
        assert found(check, plan_of(CODES, *added), database) == []


def test_a_column_whose_kind_changes_twice_is_read_as_what_it_is_today(database: Database):
    build(database, CODES)
    fill(database, "code", "12")
    twice = (A_NUMBER, alter("code", models.SmallIntegerField(null=True)))
    for check in (TOO_LONG, OUT_OF_RANGE, UNREADABLE):
        assert found(check, plan_of(CODES, *twice), database) == []


NUMBERS = table_of(size=models.BigIntegerField(null=True))


@with_limits
def test_numbers_out_of_range_are_named(database: Database):
    build(database, NUMBERS)
    fill(database, "size", 1, 40000, -40000)
    plan = plan_of(NUMBERS, alter("size", models.SmallIntegerField(null=True)))
    size, table, key = (database.quote(it) for it in ("size", TABLE, "id"))
    assert found(OUT_OF_RANGE, plan, database) == [
        Finding(
            id="runbook.P407",
            severity=Severity.ERROR,
            message="library.0002_coming lets library_author.size hold numbers from -32768 to 32767 only. "
            "Values beyond: 2.",
            hint="Change them, or give the column a wider type. This lists them all:\n"
            f"SELECT {key}, {size} FROM {table} WHERE {size} < -32768 OR {size} > 32767 ORDER BY {key};",
            subject=TABLE,
            examples=("id = 2, size = 40000", "id = 3, size = -40000"),
        )
    ]
    fill(database, "size", 1, 32767, -32768, None)
    assert found(OUT_OF_RANGE, plan, database) == []


def test_a_wider_type_asks_nothing_of_the_rows(database: Database):
    build(database, NUMBERS)
    plan = plan_of(NUMBERS, alter("size", models.DecimalField(max_digits=30, decimal_places=2, null=True)))
    with database.connection.execute_wrapper(_count_nothing):
        assert [it for check in (TOO_LONG, OUT_OF_RANGE) for it in found(check, plan, database)] == []


def _count_nothing(execute, sql, params, many, context):
    assert "COUNT" not in sql
    return execute(sql, params, many, context)


@with_limits
def test_places_behind_the_point_are_rounded_away_with_a_warning(database: Database):
    today = table_of(price=models.DecimalField(max_digits=8, decimal_places=3, null=True))
    state = build(database, today)
    fill(database, "price", "1.500", "1.505")
    coarser = alter("price", models.DecimalField(max_digits=8, decimal_places=2, null=True))
    [finding] = found(OUT_OF_RANGE, plan_of(today, coarser), database)
    assert (finding.severity, finding.message, finding.examples) == (
        Severity.WARNING,
        "library.0002_coming leaves 2 places behind the point in library_author.price, and this server will "
        "round values without a word. Values that will change: 1.",
        ("id = 2, price = 1.505",),
    )
    assert not fails(database, coarser, state)


@with_limits
def test_texts_that_are_no_number_are_named(database: Database):
    build(database, CODES)
    fill(database, "code", "12", "twelve", None)
    [finding] = found(UNREADABLE, plan_of(CODES, A_NUMBER), database)
    assert (finding.id, finding.severity, finding.subject) == ("runbook.P408", Severity.ERROR, TABLE)
    assert finding.message == (
        "library.0002_coming gives library_author.code the type integer. Values that cannot be changed into "
        "it: 1."
    )
    assert finding.hint.startswith("Correct or empty them before. This lists them:\nSELECT ")
    assert finding.examples == ("id = 2, code = 'twelve'",)
    assert [row[0] for row in database.ask(query_of(finding))] == [2]


def test_sqlite_keeps_what_django_cannot_read(make_database):
    database = make_database("sqlite")
    state = build(database, CODES)
    fill(database, "code", "2020-01-01", "yesterday")
    a_date = alter("code", models.DateField(null=True))
    [finding] = found(UNREADABLE, plan_of(CODES, a_date), database)
    assert (finding.severity, finding.message) == (
        Severity.WARNING,
        "library.0002_coming gives library_author.code the type date. This server keeps values that are "
        "none, and Django will stumble over them when it reads the rows. There are 1.",
    )
    assert not fails(database, a_date, state)


@on["postgresql"]
def test_types_without_a_way_between_them_fail_on_an_empty_table_too(database: Database):
    today = table_of(day=models.DateField(null=True))
    state = build(database, today)
    a_number = alter("day", models.IntegerField(null=True))
    assert found(UNREADABLE, plan_of(today, a_number), database) == [
        Finding(
            id="runbook.P408",
            severity=Severity.ERROR,
            message="library.0002_coming gives library_author.day a type that this server cannot change it "
            "into: cannot cast type date to integer.",
            hint="Let the migration add a new column, fill it by a RunPython or a backfill, and remove the "
            "old one.",
            subject=TABLE,
        )
    ]
    assert fails(database, a_number, state)


@on["postgresql"]
def test_the_server_is_asked_where_no_pattern_can_tell(database: Database):
    today = table_of(code=models.CharField(max_length=100, null=True))
    state = build(database, today)
    fill(database, "code", "2020-02-30")
    a_date = alter("code", models.DateField(null=True))
    [finding] = found(UNREADABLE, plan_of(today, a_date), database)
    assert finding.severity is Severity.ERROR
    if database.server().version < (16,):
        assert finding.message == (
            "library.0002_coming gives library_author.code the type date, and the server refuses a value: "
            'date/time field value out of range: "2020-02-30".'
        )
    assert fails(database, a_date, state)
