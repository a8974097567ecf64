"""Drift is an error where the plan would stumble over it, a warning elsewhere, and its hint mends it."""

from __future__ import annotations

import pytest
from django.db import IntegrityError, migrations, models
from half_applied import apply, apply_all, drift, paste, pending

from django_runbook.databases import Database
from django_runbook.plan import Plan
from django_runbook.preflight import Finding, Severity

KEY = ("id", models.BigAutoField(primary_key=True))
SHOP = (
    "0001_initial",
    [
        migrations.CreateModel("Shop", [KEY, ("name", models.CharField(max_length=40, unique=True))]),
        migrations.CreateModel(
            "Sale",
            [
                KEY,
                ("shop", models.ForeignKey("library.shop", models.CASCADE)),
                ("amount", models.PositiveIntegerField()),
                ("note", models.CharField(max_length=40, null=True)),
            ],
            options={"indexes": [models.Index(fields=["amount", "note"], name="sale_amount")]},
        ),
        migrations.CreateModel("Sign", [KEY, ("text", models.TextField())]),
        migrations.AddConstraint(
            "sale", models.CheckConstraint(condition=models.Q(amount__lt=1000), name="sale_small")
        ),
    ],
)
OF_SALES = (SHOP, ("0002_tax", [migrations.AddField("sale", "tax", models.IntegerField(null=True))]))
OF_SIGNS = (SHOP, ("0002_size", [migrations.AddField("sign", "size", models.IntegerField(null=True))]))
ALTERING = (
    SHOP,
    ("0002_long", [migrations.AlterField("sale", "note", models.CharField(max_length=60, null=True))]),
)

on_servers = pytest.mark.parametrize("database", ["mariadb", "postgresql"], indirect=True)


def foreign_key(database: Database) -> str:
    with database.connection.cursor() as cursor:
        found = database.connection.introspection.get_constraints(cursor, "library_sale")
    return next(name for name, it in found.items() if it["foreign_key"])


def drop_foreign_key(database: Database) -> None:
    word = "FOREIGN KEY" if database.connection.vendor == "mysql" else "CONSTRAINT"
    database.ask_nothing(f"ALTER TABLE library_sale DROP {word} {database.quote(foreign_key(database))}")


@on_servers
def test_a_silently_missing_foreign_key_is_an_error_where_the_plan_works(database: Database):
    apply_all(database, [SHOP])
    drop_foreign_key(database)
    [found] = drift(pending(OF_SALES), database)
    assert (found.id, found.severity, found.subject) == ("runbook.P301", Severity.ERROR, "library_sale")
    assert found.message == (
        "Table library_sale, which the plan touches, is not what the applied migrations say: Column "
        "library_sale.shop_id has no foreign key to library_shop.id: rows can point at nothing."
    )
    assert "FOREIGN KEY" in found.hint
    paste(database, [found])
    assert drift(pending(OF_SALES), database) == []


@on_servers
def test_a_silently_missing_foreign_key_elsewhere_is_a_warning(database: Database):
    apply_all(database, [SHOP])
    drop_foreign_key(database)
    [found] = drift(pending(OF_SIGNS), database)
    assert found.severity is Severity.WARNING
    assert found.message == (
        "Table library_sale is not what the applied migrations say: Column library_sale.shop_id has no "
        "foreign key to library_shop.id: rows can point at nothing."
    )


@on_servers
def test_a_missing_foreign_key_with_rows_that_point_at_nothing_is_not_mended_silently(database: Database):
    apply_all(database, [SHOP])
    drop_foreign_key(database)
    database.ask_nothing("INSERT INTO library_sale (shop_id, amount) VALUES (77, 1)")
    with pytest.raises(IntegrityError):
        paste(database, drift(pending(OF_SALES), database))


DAMAGES = {
    "DROP TABLE library_sign": "Table library_sign is missing.",
    "ALTER TABLE library_sale DROP COLUMN note": "Table library_sale has no column note.",
    "ALTER TABLE library_sale DROP CONSTRAINT sale_small": "Table library_sale has no check constraint "
    "sale_small: values that it forbids can be there.",
}


@on_servers
@pytest.mark.parametrize("statement", DAMAGES)
def test_what_is_pasted_ends_the_drift(database: Database, statement: str):
    apply_all(database, [SHOP])
    database.ask_nothing(statement)
    plan = pending(OF_SIGNS if "sign" in statement else OF_SALES)
    found = drift(plan, database)
    assert DAMAGES[statement] in found[0].message
    paste(database, found)
    assert drift(plan, database) == []


@pytest.mark.parametrize("database", ["mariadb"], indirect=True)
def test_a_type_of_another_time_is_a_warning(database: Database):
    apply_all(database, [SHOP])
    database.ask_nothing("ALTER TABLE library_sale MODIFY amount smallint unsigned NOT NULL")
    assert drift(pending(OF_SALES), database) == [
        Finding(
            id="runbook.P301",
            severity=Severity.WARNING,
            message="Table library_sale, which the plan touches, is not what the applied migrations say: "
            "Column library_sale.amount has the type smallint(5) unsigned instead of integer UNSIGNED.",
            hint="ALTER TABLE `library_sale` MODIFY `amount` integer UNSIGNED NOT NULL;",
            subject="library_sale",
        )
    ]


@pytest.mark.parametrize("database", ["mariadb"], indirect=True)
@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE library_sale MODIFY amount int(10) unsigned NOT NULL",
        "ALTER TABLE library_sale ADD INDEX of_the_dba (note)",
        "ALTER TABLE library_sale ADD COLUMN remark text NULL",
        "ALTER TABLE library_sale ADD COLUMN made timestamp NOT NULL DEFAULT current_timestamp()",
        "ALTER TABLE library_sale COMMENT 'sold'",
        "CREATE TABLE library_of_others (id int)",
        "CREATE VIEW library_sales AS SELECT * FROM library_sale",
    ],
)
def test_what_hurts_nobody_is_not_spoken_of(database: Database, statement: str):
    apply_all(database, [SHOP])
    database.ask_nothing(statement)
    assert drift(pending(OF_SALES), database) == []


@on_servers
def test_a_column_that_no_insert_fills_is_a_warning_and_made_to_accept_null(database: Database):
    apply_all(database, [SHOP])
    database.ask_nothing("ALTER TABLE library_sale ADD COLUMN clerk integer NOT NULL")
    [found] = drift(pending(OF_SALES), database)
    assert (found.id, found.severity, found.subject) == ("runbook.P304", Severity.WARNING, "library_sale")
    assert found.message == (
        "Table library_sale has a column clerk that no migration knows, and that refuses NULL and has no "
        "default: Django cannot insert a row."
    )
    paste(database, [found])
    assert drift(pending(OF_SALES), database) == []


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_column_that_making_the_table_anew_would_lose_is_an_error(database: Database):
    apply_all(database, [SHOP])
    database.ask_nothing("ALTER TABLE library_sale ADD COLUMN clerk text NULL")
    assert drift(pending(OF_SALES), database) == []
    assert drift(pending(OF_SIGNS), database) == []
    found = drift(pending(ALTERING), database)
    assert found == [
        Finding(
            id="runbook.P304",
            severity=Severity.ERROR,
            message="Migration library.0002_long makes table library_sale anew, with the columns of its "
            "model only: what is in clerk, which no migration knows, would be lost.",
            hint="Keep a copy, and drop what no migration knows:\n"
            'CREATE TABLE "library_sale_kept" AS SELECT * FROM "library_sale";\n'
            'ALTER TABLE "library_sale" DROP COLUMN "clerk";',
            subject="library_sale",
        )
    ]
    paste(database, found)
    assert drift(pending(ALTERING), database) == []
    assert apply(database, ALTERING)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_making_a_table_anew_does_lose_what_no_model_knows(database: Database):
    apply_all(database, [SHOP])
    database.ask_nothing("ALTER TABLE library_sale ADD COLUMN clerk text NULL")
    apply(database, ALTERING)
    columns = [name for _n, name, *_rest in database.ask("PRAGMA table_info(library_sale)")]
    assert "clerk" not in columns


def test_a_sound_database_has_no_finding(database: Database):
    apply_all(database, [SHOP])
    for written in (OF_SALES, OF_SIGNS, ALTERING):
        plan: Plan = pending(written)
        assert drift(plan, database) == []
        assert apply(database, written)
        assert drift(pending(written, applied=2), database) == []
        clear = "ALTER TABLE library_sale DROP COLUMN tax" if written is OF_SALES else ""
        if clear:
            database.ask_nothing(clear)
        if written is OF_SIGNS:
            database.ask_nothing("ALTER TABLE library_sign DROP COLUMN size")
