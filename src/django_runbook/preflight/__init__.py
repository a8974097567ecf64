"""What can be known before step one. One file per check, each with an id and a hint."""

from __future__ import annotations

from django.utils.translation import gettext as _

from django_runbook.databases import Database
from django_runbook.exceptions import Refused
from django_runbook.plan import Plan
from django_runbook.preflight.base import Finding, PlanCheck, Severity, SituationCheck
from django_runbook.preflight.default_engine import check_default_engine
from django_runbook.preflight.directory import check_directory
from django_runbook.preflight.engines import check_engines
from django_runbook.preflight.lock import check_lock
from django_runbook.preflight.models import check_models
from django_runbook.preflight.pooling import check_pooling
from django_runbook.preflight.programs import check_programs
from django_runbook.preflight.server import check_server
from django_runbook.preflight.space import check_backup_space
from django_runbook.preflight.unfinished import check_unfinished

SITUATION_CHECKS: tuple[SituationCheck, ...] = (
    check_directory,
    check_lock,
    check_unfinished,
    check_default_engine,
    check_pooling,
)
PLAN_CHECKS: tuple[PlanCheck, ...] = (
    check_programs,
    check_backup_space,
    check_models,
    check_server,
    check_engines,
)


def check_situation(database: Database) -> list[Finding]:
    """What stands in the way of any run. Looked at before a plan is made: half-done work would confuse it."""
    return [finding for check in SITUATION_CHECKS for finding in check(database)]


def check_plan(plan: Plan, database: Database) -> list[Finding]:
    """What stands in the way of this plan."""
    return [finding for check in PLAN_CHECKS for finding in check(plan, database)]


def has_errors(findings: list[Finding]) -> bool:
    return any(finding.severity is Severity.ERROR for finding in findings)


def refuse_errors(findings: list[Finding]) -> None:
    """Raise Refused if one of the findings stands in the way of a run."""
    errors = [finding for finding in findings if finding.severity is Severity.ERROR]
    if errors:
        raise Refused(
            _("The check before step one failed; nothing was touched.\n%(findings)s")
            % {"findings": "\n".join(f"{it.id}: {it.message}" for it in errors)},
            "\n".join(it.hint for it in errors),
        )


__all__ = [
    "PLAN_CHECKS",
    "SITUATION_CHECKS",
    "Finding",
    "Severity",
    "check_plan",
    "check_situation",
    "has_errors",
    "refuse_errors",
]
