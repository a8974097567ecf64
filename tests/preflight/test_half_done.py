"""What a plain `migrate` that was cut off leaves: found, and mended by what is pasted."""

from __future__ import annotations

import pytest
from django.db import Error, migrations, models
from half_applied import apply, apply_all, drift, paste, pending

from django_runbook.databases import Database
from django_runbook.preflight import Finding, Severity

KEY = ("id", models.BigAutoField(primary_key=True))


def to(model: str, **options: object) -> models.ForeignKey:
    return models.ForeignKey(f"library.{model}", models.PROTECT, **options)


BEFORE = (
    "0001_initial",
    [
        migrations.CreateModel("Direction", [KEY, ("name", models.CharField(max_length=80))]),
        migrations.CreateModel(
            "Service",
            [KEY, ("name", models.CharField(max_length=80)), ("direction", to("direction"))],
            options={"unique_together": {("name", "direction")}},
        ),
    ],
)
LEVEL = (
    "0002_level",
    [
        migrations.CreateModel(
            "SubDirection",
            [KEY, ("name", models.CharField(max_length=80)), ("direction", to("direction"))],
            options={"unique_together": {("name", "direction")}},
        ),
        migrations.AlterField("service", "direction", to("direction", null=True)),
        migrations.AlterUniqueTogether("service", set()),
        migrations.AddField("service", "sub_direction", to("subdirection", null=True)),
        migrations.AlterUniqueTogether("service", {("name", "sub_direction")}),
    ],
)
"""As the worked example's."""
HISTORY = (BEFORE, LEVEL)

on_mariadb = pytest.mark.parametrize("database", ["mariadb"], indirect=True)


def errors(findings: list[Finding]) -> list[str]:
    return [it.id for it in findings if it.severity is Severity.ERROR]


@on_mariadb
def test_a_migration_cut_off_anywhere_is_found_and_mended(database: Database):
    plan = pending(HISTORY)
    cuts = 0
    while True:
        apply_all(database, [BEFORE])
        if apply(database, HISTORY, statements=cuts):
            break
        found = drift(plan, database)
        assert bool(errors(found)) == (cuts > 0), (cuts, found)
        paste(database, found)
        assert drift(plan, database) == [], cuts
        assert apply(database, HISTORY)
        assert drift(pending(HISTORY, applied=2), database) == []
        clear(database)
        cuts += 1
    assert cuts == 9


def clear(database: Database) -> None:
    for table in ("library_service", "library_subdirection", "library_direction"):
        database.ask_nothing(f"DROP TABLE IF EXISTS {table}")


def test_a_migration_that_only_was_not_recorded_is_to_be_recorded(database: Database):
    apply_all(database, HISTORY)
    [found] = drift(pending(HISTORY), database)
    command = f"manage.py migrate library 0002_level --fake --database={database.alias}"
    assert found == Finding(
        id="runbook.P302",
        severity=Severity.ERROR,
        message="Migration library.0002_level is not recorded as applied, but all that it makes is there: "
        "library_subdirection, library_service.sub_direction_id. Django would stop at the first, which "
        "exists already.",
        hint=f"Record it as applied: `{command}`.",
        subject="library.0002_level",
        examples=(
            "library_subdirection: 0 rows",
            "library_service.sub_direction_id: 0 different values",
        ),
    )


def test_an_empty_table_of_a_coming_name_is_to_be_dropped(database: Database):
    apply_all(database, [BEFORE])
    database.ask_nothing("CREATE TABLE library_subdirection (id INT PRIMARY KEY)")
    plan = pending(HISTORY)
    found = drift(plan, database)
    table = database.quote("library_subdirection")
    assert found == [
        Finding(
            id="runbook.P302",
            severity=Severity.ERROR,
            message="Migration library.0002_level is pending, but a part of what it makes is there: "
            "library_subdirection. Django would stop at the first, which exists already. A `migrate` that "
            "was cut off leaves this, or work by hand.",
            hint=f"DROP TABLE {table};",
            subject="library.0002_level",
            examples=("library_subdirection: 0 rows",),
        )
    ]
    with pytest.raises(Error, match="exists"):
        apply(database, HISTORY)
    clear(database)
    apply_all(database, [BEFORE])
    database.ask_nothing("CREATE TABLE library_subdirection (id INT PRIMARY KEY)")
    paste(database, found)
    assert drift(plan, database) == []
    assert apply(database, HISTORY)


def test_a_table_with_rows_is_never_dropped_by_what_is_pasted(database: Database):
    apply_all(database, [BEFORE])
    database.ask_nothing("CREATE TABLE library_subdirection (id INT PRIMARY KEY)")
    database.ask_nothing("INSERT INTO library_subdirection VALUES (7)")
    [found] = drift(pending(HISTORY), database)
    assert found.severity is Severity.ERROR
    assert "DROP" not in found.hint
    assert found.hint.startswith(f"SELECT * FROM {database.quote('library_subdirection')} LIMIT 20;\n")
    assert found.examples == ("library_subdirection: 1 rows",)


TABLES = [migrations.DeleteModel("Service")]
COLUMN = [migrations.RemoveField("direction", "name")]
RENAMED = [migrations.RenameField("direction", "name", "title")]
MODEL = [migrations.RenameModel("Direction", "Branch")]


@pytest.mark.parametrize(
    ("operations", "by_hand", "gone"),
    [
        (TABLES, "DROP TABLE library_service", "library_service"),
        (COLUMN, "ALTER TABLE library_direction DROP COLUMN name", "library_direction.name"),
        (RENAMED, "ALTER TABLE library_direction RENAME COLUMN name TO title", "library_direction.name"),
        (MODEL, "ALTER TABLE library_direction RENAME TO library_branch", "library_direction"),
    ],
)
def test_what_is_gone_already_stops_a_migration(
    database: Database, operations: list[object], by_hand: str, gone: str
):
    """The other operation of the same migration is not done."""
    more = migrations.CreateModel("More", [KEY])
    written = (BEFORE, ("0002_less", [*operations, more]))
    apply_all(database, [BEFORE])
    database.ask_nothing(by_hand)
    plan = pending(written)
    found = drift(plan, database)
    [less] = [it for it in found if it.id == "runbook.P303"]
    assert less.severity is Severity.ERROR
    assert less.subject == "library.0002_less"
    assert less.message == (
        "Migration library.0002_less is pending, but a part of what it takes away or renames is gone: "
        f"{gone}. Django would stop at the first, which does not exist. A `migrate` that was cut off leaves "
        "this, or work by hand."
    )
    paste(database, [less])
    assert drift(plan, database) == []
    assert apply(database, written)


@pytest.mark.parametrize("operations", [TABLES, COLUMN, RENAMED])
def test_a_migration_that_takes_away_and_was_not_recorded_is_to_be_recorded(
    database: Database, operations: list[object]
):
    written = (BEFORE, ("0002_less", operations))
    apply_all(database, written)
    found = drift(pending(written), database)
    assert {it.id for it in found} <= {"runbook.P302", "runbook.P303"}
    assert [it.severity for it in found if it.id == "runbook.P303"] == [Severity.ERROR]
    command = f"`manage.py migrate library 0002_less --fake --database={database.alias}`"
    assert {it.hint for it in found} == {f"Record it as applied: {command}."}
    with pytest.raises(Exception):  # noqa: B017,PT011 - each server and operation has its own
        apply(database, written)


def test_names_that_the_plan_frees_first_are_free(database: Database):
    written = (
        BEFORE,
        ("0002_drop", [migrations.DeleteModel("Service")]),
        ("0003_again", [migrations.CreateModel("Service", [KEY])]),
        ("0004_swap", [migrations.RemoveField("direction", "name")]),
        ("0005_back", [migrations.AddField("direction", "name", models.TextField(null=True))]),
    )
    apply_all(database, [BEFORE])
    assert drift(pending(written), database) == []


def test_sql_of_the_plan_that_names_the_table_makes_it_a_warning(database: Database):
    drop = migrations.RunSQL("DROP TABLE IF EXISTS library_subdirection")
    written = (BEFORE, ("0002_level", [drop, *LEVEL[1]]))
    apply_all(database, [BEFORE])
    database.ask_nothing("CREATE TABLE library_subdirection (id INT PRIMARY KEY)")
    [found] = drift(pending(written), database)
    assert found.severity is Severity.WARNING
    assert found.message.endswith(
        "Unless Python or SQL in the plan, which names the table, takes it away first."
    )
