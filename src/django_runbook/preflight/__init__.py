"""What can be known before step one. One file per check, each with an id and a hint."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta

from django.utils.translation import gettext as _

from django_runbook.databases import Database
from django_runbook.exceptions import Refused
from django_runbook.plan import Plan
from django_runbook.preflight import (
    already_there,
    blocking,
    broken_files,
    character_sets,
    client_versions,
    clock,
    cut_off_restores,
    cycles,
    default_engine,
    directory,
    drift,
    duplicate_numbers,
    duplicates,
    engines,
    exclusions,
    extensions,
    filling_keys,
    folders,
    half_squashed,
    health,
    key_types,
    leaves,
    leftovers,
    limits,
    lock,
    missing_defaults,
    missing_parents,
    models,
    not_on_disk,
    not_there,
    nulls,
    old_code,
    orphans,
    out_of_range,
    pooling,
    programs,
    proof,
    rebuilds,
    replication,
    rewrites,
    rights,
    server,
    services,
    session_settings,
    space,
    too_long,
    too_much,
    transactions,
    unapplied_parents,
    unfinished,
    unreadable,
    unseen_files,
    violated_checks,
    writable,
    zero_dates,
)
from django_runbook.preflight.base import Check, Finding, Severity
from django_runbook.preflight.examination import Examination, Suppressed
from django_runbook.preflight.examination import examine as _examine

SITUATION_CHECKS: tuple[Check, ...] = (
    directory.CHECK,
    lock.CHECK,
    unfinished.CHECK,
    default_engine.CHECK,
    pooling.CHECK,
    broken_files.CHECK,
    missing_parents.CHECK,
    cycles.CHECK,
    leaves.CHECK,
    duplicate_numbers.CHECK,
    not_on_disk.CHECK,
    unapplied_parents.CHECK,
    half_squashed.CHECK,
    unseen_files.CHECK,
    writable.CHECK,
    clock.CHECK,
    session_settings.CHECK,
    leftovers.CHECK,
    cut_off_restores.CHECK,
    health.CHECK,
)
"""Of any run; take the database. Looked at before a plan is made: half-done work would confuse it."""
PLAN_CHECKS: tuple[Check, ...] = (
    programs.CHECK,
    space.CHECK,
    proof.CHECK,
    models.CHECK,
    server.CHECK,
    engines.CHECK,
    drift.CHECK,
    already_there.CHECK,
    not_there.CHECK,
    too_much.CHECK,
    character_sets.CHECK,
    client_versions.CHECK,
    rights.CHECK,
    rebuilds.CHECK,
    transactions.CHECK,
    replication.CHECK,
    services.CHECK,
    folders.CHECK,
    limits.CHECK,
    filling_keys.CHECK,
    extensions.CHECK,
    rewrites.CHECK,
    blocking.CHECK,
    old_code.CHECK,
)
"""Take the plan and the database."""
OPERATION_CHECKS: tuple[Check, ...] = (
    duplicates.CHECK,
    nulls.CHECK,
    orphans.CHECK,
    missing_defaults.CHECK,
    key_types.CHECK,
    too_long.CHECK,
    out_of_range.CHECK,
    unreadable.CHECK,
    violated_checks.CHECK,
    exclusions.CHECK,
    zero_dates.CHECK,
)
"""Take one `Coming` operation and the database."""
CHECKS = {check.id: check for check in (*SITUATION_CHECKS, *PLAN_CHECKS, *OPERATION_CHECKS)}


def examine(database: Database, load: Callable[[], Plan | None], limit: timedelta) -> Examination:
    """All that can be known before step one, of the plan that `load` makes. Only reads, within `limit`."""

    def load_sound() -> Plan | None:
        plan = load()
        _refuse_wrong_suppressions(plan.suppressed if plan else {})
        return plan

    return _examine(
        database,
        load_sound,
        limit,
        situation=SITUATION_CHECKS,
        for_plan=PLAN_CHECKS,
        for_operations=OPERATION_CHECKS,
    )


def _refuse_wrong_suppressions(suppressed: Mapping[str, str]) -> None:
    """Raise Refused for one that would never hide a finding, has no reason, or hides what must not be."""
    for key, reason in suppressed.items():
        check = CHECKS.get(key.partition(":")[0])
        if check is None:
            raise Refused(
                _("`suppressed` names '%(key)s', and there is no such check.") % {"key": key},
                _('Write an id, as in "runbook.P501", or an id and what it is about, as in "%(example)s".')
                % {"example": "runbook.P501:core_service"},
            )
        if not check.suppressible:
            raise Refused(
                _("%(id)s cannot be suppressed: no run is safe unless %(title)s.")
                % {"id": check.id, "title": check.title},
                _("Take it out of `suppressed`."),
            )
        if not reason.strip():
            raise Refused(
                _("`suppressed` gives no reason for %(key)s.") % {"key": key},
                _("Say why it does not matter; the run's journal and report will show it."),
            )


def refuse_findings(examination: Examination, level: Severity = Severity.ERROR) -> None:
    """Raise Refused if there is a finding as bad as `level`, or no plan could be made."""
    found = examination.reaching(level)
    if found:
        raise Refused(
            _("The check before step one failed; nothing was touched."), "\n".join(map(_in_words, found))
        )
    if examination.refusal:
        raise examination.refusal


def _in_words(finding: Finding) -> str:
    lines = (*finding.examples, *finding.hint.splitlines())
    return "\n".join([f"{finding.id}: {finding.message}", *(f"    {line}" for line in lines)])


__all__ = [
    "CHECKS",
    "OPERATION_CHECKS",
    "PLAN_CHECKS",
    "SITUATION_CHECKS",
    "Check",
    "Examination",
    "Finding",
    "Severity",
    "Suppressed",
    "examine",
    "refuse_findings",
]
