"""What can be known before step one. One file per check, each with an id and a hint."""

from __future__ import annotations

from django.utils.translation import gettext as _

from django_runbook.databases import Database
from django_runbook.exceptions import Refused
from django_runbook.plan import Plan
from django_runbook.preflight.base import Check, Finding, Severity
from django_runbook.preflight.directory import check_directory
from django_runbook.preflight.lock import check_lock
from django_runbook.preflight.models import check_models
from django_runbook.preflight.programs import check_programs
from django_runbook.preflight.space import check_backup_space
from django_runbook.preflight.unfinished import check_unfinished

CHECKS: tuple[Check, ...] = (
    check_directory,
    check_lock,
    check_unfinished,
    check_programs,
    check_backup_space,
    check_models,
)


def run_checks(plan: Plan, database: Database) -> list[Finding]:
    """All findings of all checks, in their order. Changes nothing."""
    return [finding for check in CHECKS for finding in check(plan, database)]


def refuse_errors(findings: list[Finding]) -> None:
    """Raise Refused if one of the findings stands in the way of a run."""
    errors = [finding for finding in findings if finding.severity is Severity.ERROR]
    if errors:
        raise Refused(
            _("The check before step one failed; nothing was touched.\n%(findings)s")
            % {"findings": "\n".join(f"{it.id}: {it.message}" for it in errors)},
            "\n".join(it.hint for it in errors),
        )


__all__ = ["CHECKS", "Check", "Finding", "Severity", "refuse_errors", "run_checks"]
