"""A list in a wrong order is refused before anything is touched, with the reason and the right order."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from children import start_child
from django.db import migrations, models
from django.db.models import Q
from library import APP, CONTRACT, DROP, EXPAND, INITIAL, UNIQUE, add, runbook, start

from django_runbook.exceptions import PlanRefused
from django_runbook.plan import make_plan, right_order
from django_runbook.steps import (
    Backfill,
    Backup,
    Command,
    Export,
    Migrate,
    NoRows,
    Place,
    Restart,
    RowCount,
    Step,
    Verify,
)

NO_SLUG = NoRows("library.Author", slug__isnull=True)


class FillSlug(Backfill):
    model = "library.Author"
    rows = Q(slug__isnull=True)

    def batch(self, rows: models.QuerySet) -> None:
        rows.update(slug=models.F("name"))


class ReadName(Backfill):
    model = "library.Author"
    rows = Q(name__gt="", slug__isnull=True)

    def batch(self, rows: models.QuerySet) -> None:
        rows.update(slug=models.F("name"))


class NotWritten(Backfill):
    model = "library.Author"


def refusal(place: Place, *steps: Step) -> PlanRefused:
    with pytest.raises(PlanRefused) as caught:
        make_plan(runbook(*steps), place)
    return caught.value


def test_a_right_list_is_planned_as_it_is_written():
    steps = [
        Backup(),
        Migrate(APP, "0002"),
        Backfill(FillSlug),
        Verify(NO_SLUG),
        Export("library.Author"),
        Migrate(APP, "0003"),
        Restart("gunicorn"),
    ]
    plan = make_plan(runbook(*steps), start(INITIAL, EXPAND, CONTRACT, applied=["0001_initial"]))
    assert [planned.step for planned in plan.steps] == steps
    assert [planned.key for planned in plan.steps][:2] == ["1-backup", "2-migrate-library-0002"]


@pytest.mark.parametrize(
    ("sql", "statement"),
    [
        ("LOCK TABLES a WRITE; UPDATE a SET x = 1; UNLOCK TABLES", "LOCK TABLES a WRITE"),
        (["lock table a read", "UNLOCK TABLES"], "lock table a read"),
        (["UNLOCK TABLES; FLUSH TABLES a WITH READ LOCK"], "FLUSH TABLES a WITH READ LOCK"),
        (["LOCK TABLES a WRITE; UPDATE a SET x = 1; UNLOCK TABLES"], ""),
        ("FLUSH TABLES; UPDATE a SET x = 'LOCK TABLES'", ""),
    ],
)
def test_tables_left_locked_are_refused_where_the_ledger_is_written_between_statements(
    sql: str | list[str], statement: str
):
    place = start(INITIAL, ("0002_coming", [migrations.RunSQL(sql)]), applied=["0001_initial"])
    steps = [Backup(), Migrate.all()]
    assert make_plan(runbook(*steps), place)
    elsewhere = replace(place, rolls_back_ddl=False)
    if not statement:
        assert make_plan(runbook(*steps), elsewhere)
        return
    assert refusal(elsewhere, *steps).message == (
        "The plan of 'library.release' is refused; nothing was touched.\n"
        f"Step 2, Migrate.all(): library.0002_coming leaves tables locked behind '{statement}', so that the "
        "run's ledger could not be written: put all up to UNLOCK TABLES into one element of the list of "
        "RunSQL, or lock no tables."
    )


def test_a_change_before_any_backup_is_refused_with_the_whole_message():
    error = refusal(start(INITIAL), Migrate.all())
    assert error.message == (
        "The plan of 'library.release' is refused; nothing was touched.\n"
        "Step 1, Migrate.all(): It changes the database before any Backup(), so there would be no way back."
    )
    assert error.hint == "The right order is:\nsteps = [\n    Backup(),\n    Migrate.all(),\n]"


def test_a_backup_after_the_change_is_moved_before_it():
    error = refusal(start(INITIAL), Migrate.all(), Backup())
    assert error.hint == "The right order is:\nsteps = [\n    Backup(),\n    Migrate.all(),\n]"


def test_a_backfill_of_a_column_that_a_later_step_creates_is_moved_after_it():
    place = start(INITIAL, EXPAND, applied=["0001_initial"])
    error = refusal(place, Backup(), Backfill(FillSlug), Migrate(APP, "0002"))
    assert "library.Author.slug does not exist here yet: library.0002_slug creates it." in error.message
    assert right_order_of(error) == ["Backup()", 'Migrate("library", "0002")', "Backfill(FillSlug)"]


def test_a_backfill_whose_migration_no_step_applies_gets_that_migration():
    place = start(INITIAL, EXPAND, applied=["0001_initial"])
    error = refusal(place, Backup(), Backfill(FillSlug))
    assert right_order_of(error) == ["Backup()", 'Migrate("library", "0002_slug")', "Backfill(FillSlug)"]


def test_a_field_that_no_migration_knows_is_refused_without_an_order():
    error = refusal(start(INITIAL), Backup(), Migrate.all(), Verify(NoRows("library.Author", colour="red")))
    assert "library.Author.colour does not exist, in no migration on this machine." in error.message
    assert error.hint == "Mend the runbook, then run `manage.py runbook plan` again."


def test_a_lookup_that_django_does_not_know_is_refused():
    error = refusal(
        start(INITIAL), Backup(), Migrate.all(), Verify(NoRows("library.Author", name__begins="A"))
    )
    assert "Unsupported lookup 'begins' for CharField" in error.message


@pytest.mark.parametrize("label", ["library.Reader", "nowhere.Author", "Author"])
def test_a_model_that_does_not_exist_is_refused(label: str):
    error = refusal(start(INITIAL), Backup(), Migrate.all(), Verify(RowCount(label, at_least=1)))
    assert label in error.message


def test_a_dropped_field_is_refused_with_the_migration_that_took_it_away():
    place = start(INITIAL, EXPAND, DROP)
    error = refusal(place, Backup(), Migrate.all(), Backfill(ReadName))
    assert "library.Author.name does not exist here any more" in error.message or "drops" in error.message


def test_not_null_before_the_backfill_that_fills_it_is_split():
    place = start(INITIAL, EXPAND, CONTRACT, applied=["0001_initial"])
    error = refusal(place, Backup(), Migrate(APP, "0003"), Backfill(FillSlug), Verify(NO_SLUG))
    assert (
        "library.0003_slug_required puts NOT NULL on library.author.slug before the step that fills it: "
        "Backfill(FillSlug)." in error.message
    )
    assert right_order_of(error) == [
        "Backup()",
        'Migrate("library", "0002_slug")',
        "Backfill(FillSlug)",
        'Verify(NoRows("library.Author", slug__isnull=True))',
        'Migrate("library", "0003")',
    ]


def test_unique_before_the_backfill_that_fills_it_is_refused():
    place = start(INITIAL, EXPAND, UNIQUE, applied=["0001_initial"])
    error = refusal(place, Backup(), Migrate.all(), Backfill(FillSlug))
    assert "puts UNIQUE on library.author.slug before the step that fills it" in error.message


def test_dropping_the_old_column_before_the_backfill_that_reads_it_is_refused():
    place = start(INITIAL, EXPAND, DROP, applied=["0001_initial"])
    error = refusal(place, Backup(), Migrate(APP, "0003"), Backfill(ReadName), Verify())
    assert "drops library.author.name, which a later step still reads" in error.message


def test_tightening_a_filled_column_that_was_not_verified_is_refused_with_the_verify_to_add():
    place = start(INITIAL, EXPAND, CONTRACT, applied=["0001_initial"])
    error = refusal(place, Backup(), Migrate(APP, "0002"), Backfill(FillSlug), Migrate(APP, "0003"))
    assert "no Verify has looked at it since it was filled" in error.message
    assert right_order_of(error) == [
        "Backup()",
        'Migrate("library", "0002")',
        "Backfill(FillSlug)",
        'Verify(NoRows("library.Author", slug__isnull=True))',
        'Migrate("library", "0003")',
    ]


def test_a_constraint_over_a_column_of_the_same_migration_is_no_tightening():
    both = ("0002_slug", [add("slug", models.CharField(max_length=80, null=True, unique=True))])
    place = start(INITIAL, both, applied=["0001_initial"])
    make_plan(runbook(Backup(), Migrate.all(), Backfill(FillSlug), Verify(NO_SLUG)), place)


def test_restart_before_the_schema_that_the_code_needs_is_moved_behind_it():
    place = start(INITIAL, EXPAND, applied=["0001_initial"])
    error = refusal(place, Backup(), Restart("gunicorn"), Migrate.all())
    assert "The new code needs library.0002_slug, which is not applied here." in error.message
    assert right_order_of(error) == ["Backup()", "Migrate.all()", 'Restart("gunicorn")']


def test_restart_may_stand_before_migrations_that_only_take_away():
    place = start(INITIAL, EXPAND, DROP, applied=["0001_initial", "0002_slug"])
    make_plan(runbook(Backup(), Restart("gunicorn"), Migrate.all()), place)


def test_zero_is_refused():
    assert (
        "'zero' would drop the tables of 'library'" in refusal(start(INITIAL), Migrate(APP, "zero")).message
    )


def test_a_migration_behind_what_is_applied_is_refused():
    place = start(INITIAL, EXPAND, applied=["0001_initial", "0002_slug"])
    error = refusal(place, Backup(), Migrate(APP, "0001"))
    assert "library is at 0002_slug here, which comes after 0001_initial" in error.message


def test_a_migration_behind_an_earlier_step_is_refused():
    error = refusal(start(INITIAL, EXPAND), Backup(), Migrate(APP, "0002"), Migrate(APP, "0001"))
    assert "never migrates backwards" in error.message


def test_steps_that_are_applied_already_have_nothing_to_do():
    place = start(INITIAL, EXPAND, applied=["0001_initial", "0002_slug"])
    plan = make_plan(runbook(Backup(), Migrate(APP, "0001"), Migrate(APP, "0002")), place)
    assert [planned.reason for planned in plan.steps][1:] == ["applied already; nothing to do"] * 2


def test_an_unknown_migration_is_refused_with_what_there_is():
    error = refusal(start(INITIAL), Backup(), Migrate(APP, "0009"))
    assert "No migration of 'library' begins with '0009'." in error.message


def test_an_unknown_app_is_refused_with_the_near_one():
    error = refusal(start(INITIAL), Backup(), Migrate("librari", "0001"))
    assert "No installed app with migrations has the label 'librari'. Near it: library." in error.message


def test_an_ambiguous_name_is_refused_with_the_candidates():
    error = refusal(start(INITIAL, EXPAND), Backup(), Migrate(APP, "000"))
    assert "More than one migration of 'library' begins with '000'." in error.message
    assert "Write more of the name: 0001_initial, 0002_slug." in error.message


def test_a_verify_that_would_find_migrations_pending_is_refused():
    error = refusal(start(INITIAL, EXPAND), Backup(), Migrate(APP, "0001"), Verify())
    assert "It would find library.0002_slug pending: no step applies it." in error.message
    assert right_order_of(error)[-2:] == ['Migrate("library", "0002_slug")', "Verify()"]


def test_a_task_without_a_batch_is_refused():
    error = refusal(start(INITIAL), Backup(), Migrate.all(), Backfill(NotWritten))
    assert "NotWritten does not say what to do yet" in error.message


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        (
            "UPDATE library_book SET slug = 'x'",
            "does not heed %(first)s, %(last)s: each batch would change rows",
        ),
        ("UPDATE library_book SET slug = 'x' WHERE id <= %(last)s", "does not heed %(first)s: each batch"),
        ({"oracle": "UPDATE"}, '`sql` has no statement for "sqlite".'),
    ],
)
def test_a_statement_that_does_not_keep_to_its_batch_is_refused(sql: Any, words: str):
    class Careless(Backfill):
        model = FillSlug.model

    Careless.sql = sql
    error = refusal(start(INITIAL, EXPAND), Backup(), Migrate.all(), Backfill(Careless))
    assert words in error.message


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"window": "at night"}, "'at night' is no time of day from and to"),
        ({"workers": 2, "celery": 2}, "`workers` and `celery` exclude each other."),
        ({"workers": -1}, "The number of workers cannot be below 0."),
    ],
)
def test_what_a_backfill_cannot_be_told_is_refused(said: dict[str, Any], words: str):
    error = refusal(start(INITIAL, EXPAND), Backup(), Migrate.all(), Backfill(FillSlug, **said))
    assert words in error.message


def test_workers_of_celery_are_refused_without_its_application():
    """In a process of its own: here a test may have loaded one."""
    with start_child("from test_refusals import said_of_celery; ready(said_of_celery())") as child:
        child.wait_until_ready("True")


def said_of_celery() -> bool:
    error = refusal(start(INITIAL, EXPAND), Backup(), Migrate.all(), Backfill(FillSlug, celery=2))
    return "No Celery application is loaded here" in error.message


def test_a_row_count_without_a_number_is_refused():
    error = refusal(start(INITIAL), Backup(), Migrate.all(), Verify(RowCount("library.Author")))
    assert "says no number" in error.message


@pytest.mark.parametrize("step", [Export(), Command([]), Restart("")])
def test_a_step_that_names_nothing_is_refused(step: Step):
    refusal(start(INITIAL), Backup(), Migrate.all(), step)


def test_an_export_of_a_model_that_is_not_there_yet_is_moved():
    error = refusal(start(INITIAL), Backup(), Export("library.Author"), Migrate.all())
    assert right_order_of(error) == ["Backup()", "Migrate.all()", 'Export("library.Author")']


def test_every_right_order_is_accepted_by_the_planner():
    place = start(INITIAL, EXPAND, CONTRACT, applied=["0001_initial"])
    wrong = [Restart("gunicorn"), Verify(NO_SLUG), Backfill(FillSlug), Migrate(APP, "0003")]
    order = right_order(wrong, place)
    assert order is not None
    make_plan(runbook(*order), place)


def right_order_of(error: PlanRefused) -> list[str]:
    lines = error.hint.splitlines()
    assert lines[:2] == ["The right order is:", "steps = ["]
    return [line.strip().removesuffix(",") for line in lines[2:-1]]
