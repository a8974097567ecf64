"""All that is pending, as one plan."""

from __future__ import annotations

import pytest
from library import APP, CONTRACT, EXPAND, INITIAL, start

from django_runbook.exceptions import PlanRefused
from django_runbook.plan import is_pending, make_pending_plan
from django_runbook.runbooks import NamedRunbook
from django_runbook.steps import Backup, Migrate, Restart, Step, Verify


def named(name: str, *steps: Step, dependencies: tuple[str, ...] = ()) -> NamedRunbook:
    return NamedRunbook(app_label=APP, name=name, steps=steps, dependencies=dependencies)


EXPANDING = named("expanding", Backup(), Migrate(APP, "0002"), Verify(), Restart("gunicorn"))
CONTRACTING = named("contracting", Backup(), Migrate(APP, "0003"), Verify(), Restart("gunicorn"))


def titles(*runbooks: NamedRunbook, applied: tuple[str, ...] = ("0001_initial",)) -> list[str]:
    plan = make_pending_plan(runbooks, start(INITIAL, EXPAND, CONTRACT, applied=applied))
    return [planned.step.declaration() for planned in plan.steps]


def test_runbooks_follow_the_graph_with_one_backup_before_and_restarts_after():
    assert titles(CONTRACTING, EXPANDING) == [
        "Backup()",
        'Migrate("library", "0002")',
        "Verify()",
        'Migrate("library", "0003")',
        "Verify()",
        "Verify()",
        'Restart("gunicorn")',
    ]


def test_a_project_without_runbooks_gets_backup_migrations_and_verification():
    assert titles() == ["Backup()", "Migrate.all()", "Verify()"]


def test_a_dependency_comes_first_whatever_the_graph_says():
    data = named("data", Backup(), Verify())
    later = named("later", Backup(), Migrate(APP, "0002"), dependencies=("library.data",))
    plan = make_pending_plan([later, data], start(INITIAL, EXPAND, CONTRACT, applied=["0001_initial"]))
    assert plan.covers == ("library.data", "library.later")


def test_a_circle_of_dependencies_is_refused():
    one = named("one", Migrate(APP, "0002"), dependencies=("library.two",))
    two = named("two", Migrate(APP, "0003"), dependencies=("library.one",))
    with pytest.raises(PlanRefused, match=r"in a circle: library\.one, library\.two\."):
        titles(one, two)


def test_a_runbook_whose_migrations_are_applied_otherwise_has_nothing_to_do():
    place = start(INITIAL, EXPAND, applied=["0001_initial", "0002_slug"])
    assert not is_pending(EXPANDING, place, frozenset())
    assert is_pending(named("data", Verify()), place, frozenset())
    assert not is_pending(named("data", Verify()), place, frozenset({"library.data"}))
