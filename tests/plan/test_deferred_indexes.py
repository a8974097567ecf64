"""A Migrate that leaves indexes for later, and the one that builds them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from django.db import migrations, models
from django.db.models import Q
from library import APP, INITIAL, add, runbook, start

from django_runbook.exceptions import PlanRefused
from django_runbook.plan import Plan, make_plan
from django_runbook.steps import Backfill, Backup, Migrate, NoRows, Place, Step, Verify


class FillMentor(Backfill):
    model = "library.Author"
    rows = Q(mentor__isnull=True)

    def batch(self, rows: models.QuerySet) -> None:
        rows.update(mentor=models.F("pk"))


MENTOR = models.ForeignKey(f"{APP}.author", models.CASCADE, null=True)
EXPAND = (
    "0002_mentor",
    [add("mentor", MENTOR), migrations.AlterUniqueTogether("author", {("name", "mentor")})],
)
MORE = ("0003_more", [add("age", models.IntegerField(null=True))])
HOLD = Migrate(APP, "0002", defer_indexes=True)
VERIFY = Verify(NoRows("library.Author", mentor__isnull=True))


def place(*more: Any) -> Place:
    return start(INITIAL, EXPAND, *more, applied=["0001_initial"])


def planned(*steps: Step, at: Place | None = None) -> Plan:
    return make_plan(runbook(*steps), at or place())


def test_the_plan_names_what_is_deferred_and_what_is_built():
    plan = planned(Backup(), HOLD, Backfill(FillMentor), VERIFY, Migrate(APP, "0002"))
    what = "1 index, 1 unique constraint and 1 foreign key over library.author.mentor"
    assert plan.steps[1].reason == f"applies library.0002_mentor, but leaves for later: {what}"
    assert plan.steps[4].reason == f"builds {what}"
    assert plan.steps[1].crash_meaning == plan.steps[4].crash_meaning == "goes on by statement"
    assert plan.steps[1].title == 'Migrate("library", "0002", defer_indexes=True)'


def test_where_a_constraint_cannot_be_added_later_it_is_not_deferred():
    plan = planned(
        Backup(), HOLD, Migrate(APP, "0002"), at=replace(place(), adds_constraints=False, rolls_back_ddl=True)
    )
    assert plan.steps[2].reason == "builds 1 index and 1 unique constraint over library.author.mentor"


@pytest.mark.parametrize("finish", [Migrate(APP, "0003"), Migrate.all()], ids=Step.declaration)
def test_what_comes_after_a_held_migration_finishes_it_first(finish: Migrate):
    plan = planned(Backup(), HOLD, Backfill(FillMentor), finish, at=place(MORE))
    assert finish.keys(plan.steps[3].place) == [(APP, "0002_mentor"), (APP, "0003_more")]
    assert plan.steps[3].reason.endswith("over library.author.mentor; applies library.0003_more")


def test_a_list_that_does_not_finish_it_is_refused_with_one_that_does():
    with pytest.raises(PlanRefused) as refused:
        planned(Backup(), HOLD, Backfill(FillMentor), VERIFY)
    assert (
        'Step 2, Migrate("library", "0002", defer_indexes=True): It leaves a part of library.0002_mentor for '
        "later, and no later step finishes that."
    ) in refused.value.message
    assert refused.value.hint == "\n".join(
        [
            "The right order is:",
            "steps = [",
            "    Backup(),",
            '    Migrate("library", "0002", defer_indexes=True),',
            "    Backfill(FillMentor),",
            '    Verify(NoRows("library.Author", mentor__isnull=True)),',
            '    Migrate("library", "0002"),',
            "]",
        ]
    )


def test_a_migration_with_nothing_to_defer_says_so():
    steps = (Backup(), Migrate(APP, "0003", defer_indexes=True), Migrate(APP, "0003"))
    plan = planned(*steps, at=place(MORE))
    assert plan.steps[1].reason == (
        "applies library.0002_mentor, library.0003_more; it builds nothing that could be deferred"
    )


def test_a_migration_that_applies_itself_cannot_be_deferred():
    at = place()
    migration = type(at.history.migration((APP, "0002_mentor")))
    migration.apply = lambda self, state, editor, collect_sql=False: state
    with pytest.raises(
        PlanRefused, match=r"library.0002_mentor has an apply\(\) of its own, so nothing of it"
    ):
        planned(Backup(), HOLD, Migrate(APP, "0002"), at=at)
