"""Perform all checks, reading only and within a time limit."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from django.db import Error as AnyDatabaseError
from django.utils.translation import gettext as _

from django_runbook.databases import Database
from django_runbook.exceptions import Refused, RunbookError, TimeLimitReached
from django_runbook.plan import Plan
from django_runbook.preflight.base import Check, Finding, Severity
from django_runbook.preflight.coming import coming
from django_runbook.programs import redact

logger = logging.getLogger(__name__)

FOR_SITUATION = timedelta(seconds=30)
"""At least so long may be asked about the situation: what it tells no run can do without."""
EXAMPLES = 5
"""How many operations a "not checked" names."""


@dataclass(frozen=True, slots=True)
class Suppressed:
    """A finding that a runbook says does not matter, and why."""

    finding: Finding
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """What is known before step one."""

    plan: Plan | None
    """None if nothing is pending, or if no plan could be made."""
    findings: tuple[Finding, ...]
    """The worst first."""
    suppressed: tuple[Suppressed, ...] = ()
    refusal: Refused | None = None
    """Why no plan could be made, if that is not a finding."""

    def reaching(self, level: Severity) -> list[Finding]:
        """The findings that are at least as bad as `level`."""
        return [it for it in self.findings if _RANK[it.severity] <= _RANK[level]]


def examine(
    database: Database,
    load: Callable[[], Plan | None],
    limit: timedelta,
    *,
    situation: Sequence[Check],
    for_plan: Sequence[Check],
    for_operations: Sequence[Check],
) -> Examination:
    """Look at the situation; then, if that allows to make it, at the plan and at each of its operations.

    The session only reads meanwhile. What is not looked at when `limit` is over is a finding of its own;
    of the situation, which is quickly told, nothing is left out for a short one.
    """
    look = _Look(database)
    until = time.monotonic() + limit.total_seconds()
    with database.reading(max(limit, FOR_SITUATION)):
        for check in situation:
            look.at(check, database)
    if look.bars_plan:
        return look.result(None)
    try:
        plan = load()
    except Refused as error:
        return look.result(None, error)
    except AnyDatabaseError as error:
        return look.result(None, _unreadable(database, error))
    if plan:
        left = timedelta(seconds=max(0.0, until - time.monotonic()))
        with database.reading(left):
            look.at_plan(plan, for_plan, for_operations)
    return look.result(plan)


def _unreadable(database: Database, error: AnyDatabaseError) -> Refused:
    return Refused(
        _("What is applied on database '%(alias)s' cannot be read: %(error)s")
        % {"alias": database.alias, "error": redact(str(error).strip(), database.secrets)},
        _("Give the user of the database the right to read django_migrations."),
    )


_RANK = {severity: rank for rank, severity in enumerate(Severity)}


@dataclass(slots=True)
class _Look:
    """What has been found so far."""

    database: Database
    found: list[Finding] = field(default_factory=list)
    unchecked: dict[Check, list[str]] = field(default_factory=dict)
    reasons: dict[Check, str] = field(default_factory=dict)
    bars_plan: bool = False

    def at(self, check: Check, *subjects: object, subject: str = "") -> None:
        try:
            for finding in check.look(*subjects):
                self.found.append(finding)
                self.bars_plan |= check.bars_plan and finding.severity is Severity.ERROR
        except TimeLimitReached as error:
            self._give_up(check, subject, error.message)
        except AnyDatabaseError as error:
            self._give_up(check, subject, redact(str(error).strip(), self.database.secrets))
        except RunbookError:
            raise
        except Exception as error:  # a defect of one check must not keep the others from being made
            logger.exception("%s failed at %s", check.id, subject or self.database.alias)
            self._give_up(check, subject, f"{type(error).__name__}: {error}")

    def at_plan(self, plan: Plan, for_plan: Iterable[Check], for_operations: Sequence[Check]) -> None:
        for check in for_plan:
            self.at(check, plan, self.database)
        for it in coming(plan, self.database.alias):
            for check in for_operations:
                self.at(check, it, self.database, subject=f"{it.migration}: {it.words}")

    def _give_up(self, check: Check, subject: str, reason: str) -> None:
        self.unchecked.setdefault(check, []).append(subject)
        self.reasons.setdefault(check, reason)

    def result(self, plan: Plan | None, refusal: Refused | None = None) -> Examination:
        suppressions = plan.suppressed if plan else {}
        kept, suppressed = _sorted_out([*self.found, *self._not_checked()], suppressions)
        kept.sort(key=lambda it: _RANK[it.severity])
        return Examination(plan=plan, findings=tuple(kept), suppressed=tuple(suppressed), refusal=refusal)

    def _not_checked(self) -> Iterator[Finding]:
        for check, subjects in self.unchecked.items():
            named = tuple(filter(None, subjects))
            yield Finding(
                id=check.id,
                severity=Severity.UNCHECKED,
                message=_("Not checked: %(title)s. %(reason)s")
                % {"title": check.title, "reason": self.reasons[check]},
                hint=_(
                    "Give it more time with `manage.py runbook check --time-limit SECONDS`, or the user of "
                    "the database the right that is missing; if it is neither, the log has the traceback."
                ),
                examples=(*named[:EXAMPLES], *(["…"] if len(named) > EXAMPLES else [])),
            )


def _sorted_out(
    found: Iterable[Finding], suppressions: Mapping[str, str]
) -> tuple[list[Finding], list[Suppressed]]:
    kept, suppressed = [], []
    for finding in found:
        reason = suppressions.get(f"{finding.id}:{finding.subject}") or suppressions.get(finding.id)
        if reason:
            suppressed.append(Suppressed(finding, reason))
        else:
            kept.append(finding)
    return kept, suppressed
