"""What a check finds, and how it says so."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from django_runbook.databases import Database
from django_runbook.plan import Plan


class Severity(StrEnum):
    """What a finding means for the run."""

    ERROR = "error"
    """The run is refused."""
    WARNING = "warning"
    """The run goes on; the operator should know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One fact that stands in the way, and what to do about it."""

    id: str
    """"runbook.P101" and the like; listed in the reference."""
    severity: Severity
    message: str
    hint: str


SituationCheck = Callable[[Database], Iterable[Finding]]
"""Looks at one thing that does not depend on the plan, and changes nothing."""
PlanCheck = Callable[[Plan, Database], Iterable[Finding]]
"""Looks at one thing that the plan needs, and changes nothing."""
