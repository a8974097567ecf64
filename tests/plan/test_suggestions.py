"""makerunbook lays out expand → backfill → verify → restart → contract, from what is pending."""

from __future__ import annotations

import ast

from django.db import migrations, models
from django.db.models import Q
from library import APP, CONTRACT, DROP, EXPAND, INITIAL, add, runbook, start

from django_runbook.plan import make_plan
from django_runbook.steps import Backfill, Place, Restart, Step
from django_runbook.suggest import Draft, suggest, to_module


class FillSlug(Backfill):
    model = "library.Author"
    rows = Q(slug__isnull=True)

    def batch(self, rows: models.QuerySet) -> None:
        rows.update(slug=models.F("name"))


def draft_of(place: Place, *tasks: type[Backfill], restarts: tuple[Step, ...] = ()) -> Draft:
    return suggest(place, place.history.pending(place.applied), tasks, restarts)


def declared(draft: Draft) -> list[str]:
    return [it.step.declaration() for it in draft.suggestions]


def test_a_known_task_stands_between_what_creates_and_what_tightens_its_column():
    place = start(INITIAL, EXPAND, CONTRACT, applied=["0001_initial"])
    draft = draft_of(place, FillSlug, restarts=(Restart("gunicorn"),))
    assert declared(draft) == [
        "Backup()",
        'Migrate("library", "0002")',
        "Backfill(FillSlug)",
        'Verify(NoRows("library.Author", slug__isnull=True))',
        'Export("library.Author")',
        'Restart("gunicorn")',
        'Migrate("library", "0003")',
        "Verify()",
    ]
    make_plan(runbook(*(it.step for it in draft.suggestions)), place)


def test_an_expand_and_contract_pair_without_a_task_gets_one_to_be_written():
    draft = draft_of(start(INITIAL, EXPAND, CONTRACT, applied=["0001_initial"]))
    assert [task.__name__ for task in draft.skeletons] == ["FillAuthorSlug"]
    assert "Backfill(FillAuthorSlug)" in declared(draft)


def test_a_data_migration_between_the_pair_needs_no_task():
    fill = ("0003_fill", [migrations.RunPython(migrations.RunPython.noop)])
    contract = ("0004_required", CONTRACT[1])
    assert draft_of(start(INITIAL, EXPAND, fill, contract, applied=["0001_initial"])).skeletons == ()


def test_a_task_of_an_earlier_upgrade_is_left_out():
    more = ("0003_age", [add("age", models.IntegerField(null=True))])
    place = start(INITIAL, EXPAND, more, applied=["0001_initial", "0002_slug"])
    assert declared(draft_of(place, FillSlug)) == ["Backup()", 'Migrate("library", "0003")', "Verify()"]


def test_what_is_dropped_last_is_dropped_after_the_restart():
    place = start(INITIAL, EXPAND, DROP, applied=["0001_initial"])
    steps = declared(draft_of(place, restarts=(Restart("gunicorn"),)))
    assert steps.index('Restart("gunicorn")') < steps.index('Migrate("library", "0003")')


def test_two_migrations_with_one_number_are_named_in_full():
    twin = ("0002_twin", [add("age", models.IntegerField(null=True))])
    place = start(INITIAL, EXPAND, twin, applied=["0001_initial"])
    assert f'Migrate("{APP}", "0002_slug")' in declared(draft_of(place))


def test_the_written_module_is_python_with_a_comment_over_each_step():
    place = start(INITIAL, EXPAND, CONTRACT, applied=["0001_initial"])
    draft = draft_of(place)
    source = to_module(draft, "add_slugs", "Upgrade.")
    ast.parse(source)
    assert "class AddSlugs(Runbook):" in source
    lines = [line.strip() for line in source.splitlines()]
    for step in declared(draft):
        assert lines[lines.index(f"{step},") - 1].startswith("# ")


MENTOR = (
    "0002_mentor",
    [add("mentor", models.ForeignKey("library.author", models.CASCADE, null=True))],
)
AGE = ("0003_age", [add("age", models.IntegerField(null=True))])


class FillMentor(Backfill):
    model = "library.Author"
    rows = Q(mentor__isnull=True)

    def batch(self, rows: models.QuerySet) -> None:
        rows.update(mentor=models.F("pk"))


def test_what_is_built_over_a_filled_column_is_built_after_it_was_filled():
    place = start(INITIAL, MENTOR, AGE, applied=["0001_initial"])
    draft = draft_of(place, FillMentor)
    assert declared(draft) == [
        "Backup()",
        'Migrate("library", "0002", defer_indexes=True)',
        "Backfill(FillMentor)",
        'Verify(NoRows("library.Author", mentor__isnull=True))',
        'Migrate("library", "0002")',
        'Migrate("library", "0003")',
        'Export("library.Author")',
    ]
    assert draft.suggestions[4].why == (
        "What was left for later: over filled columns it is built in a fraction of the time."
    )
    make_plan(runbook(*(it.step for it in draft.suggestions)), place)
