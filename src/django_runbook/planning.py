"""From names and a database to a plan: reads both journals and the record of migrations, changes nothing."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from django.utils.translation import gettext as _

from django_runbook.databases import Database
from django_runbook.exceptions import PlanRefused, Refused
from django_runbook.journal import RunState
from django_runbook.ledger import Ledger
from django_runbook.plan import Plan, is_pending, make_pending_plan, make_plan
from django_runbook.runbooks import NamedRunbook, discover, load_runbook
from django_runbook.runs import unfinished_run
from django_runbook.schema.history import History, Key
from django_runbook.steps import Place

PENDING = "pending"
"""Stands for everything that is pending, where a runbook's label would stand."""


class Stand(StrEnum):
    """Where a runbook stands on a database."""

    PENDING = "pending"
    UNFINISHED = "unfinished"
    COMPLETED = "completed"
    """By a run that this database remembers."""
    NOTHING_TO_DO = "nothing to do"
    """Its migrations are applied, though by no run: as on a database made by plain `migrate`."""
    BROKEN = "broken"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One runbook and where it stands."""

    label: str
    description: str
    stand: Stand
    run_id: str = ""
    at: datetime | None = None
    error: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "label": self.label,
            "description": self.description,
            "stand": self.stand.value,
            "run": self.run_id,
            "at": self.at.isoformat() if self.at else None,
            "error": self.error,
        }


def load_plan(name: str, database: Database) -> Plan | None:
    """The plan of runbook `name`, or of all that is pending; None if there is nothing to do.

    Raise Refused for a name, a graph or an order that is wrong.
    """
    start = load_place(database)
    completed = frozenset(Ledger(database.connection).completed())
    if name:
        runbook = load_runbook(name)
        if runbook.label in completed:
            return None
        _refuse_open_dependencies(runbook, start, completed)
        return make_plan(runbook, start)
    runbooks = [runbook for runbook in _all_sound() if is_pending(runbook, start, completed)]
    if not runbooks and not start.history.pending(start.applied):
        return None
    return make_pending_plan(runbooks, start)


def plan_of_run(state: RunState, database: Database) -> Plan:
    """The plan of an unfinished run as its runbook reads now, over the database as it was at the start."""
    start = load_place(database, state.applied)
    if state.runbook == PENDING:
        return make_pending_plan([load_runbook(label) for label in state.covers], start)
    return make_plan(load_runbook(state.runbook), start)


def load_place(database: Database, applied: Collection[Key] | None = None) -> Place:
    """The place before the first step: what the database has applied, or had at the start of a run."""
    history = History.load(database.connection)
    return Place(
        history=history,
        alias=database.alias,
        rolls_back_ddl=database.rolls_back_ddl,
        adds_constraints=database.adds_constraints,
        atomic_ddl=database.needed_for_atomic_ddl(database.server()) is None,
        applied=history.applied if applied is None else frozenset(applied),
    )


def standings(database: Database) -> list[Standing]:
    """Every runbook on this machine, the broken ones too."""
    found, broken = discover()
    start = load_place(database)
    completed = Ledger(database.connection).completed()
    run = unfinished_run(database)
    standings = []
    for runbook in found:
        done = completed.get(runbook.label)
        unfinished = run is not None and runbook.label in run.covers
        standings.append(
            Standing(
                label=runbook.label,
                description=runbook.description,
                stand=Stand.UNFINISHED if unfinished else _stand(runbook, start, frozenset(completed)),
                run_id=run.run_id if run and unfinished else done.run_id if done else "",
                at=done.at if done else None,
            )
        )
    standings += [
        Standing(
            label=f"{it.app_label}.{it.name}", description="", stand=Stand.BROKEN, error=it.error.message
        )
        for it in broken
    ]
    return sorted(standings, key=lambda standing: standing.label)


def _stand(runbook: NamedRunbook, start: Place, completed: frozenset[str]) -> Stand:
    if runbook.label in completed:
        return Stand.COMPLETED
    return Stand.PENDING if is_pending(runbook, start, completed) else Stand.NOTHING_TO_DO


def _refuse_open_dependencies(runbook: NamedRunbook, start: Place, completed: frozenset[str]) -> None:
    for label in runbook.dependencies:
        if is_pending(load_runbook(label), start, completed):
            raise PlanRefused(
                _("Runbook %(label)s comes after %(dependency)s, which is not completed on this database.")
                % {"label": runbook.label, "dependency": label},
                _("Run that one first: `manage.py runbook run %(dependency)s`.") % {"dependency": label},
            )


def _all_sound() -> list[NamedRunbook]:
    found, broken = discover()
    if broken:
        raise Refused(
            _("A runbook is broken, so what is pending cannot be told: %(error)s")
            % {"error": broken[0].error.message},
            broken[0].error.hint,
        )
    return found
