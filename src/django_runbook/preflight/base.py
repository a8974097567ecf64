"""What a check is, what it finds, and how it says so."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from django.utils.functional import Promise


class Severity(StrEnum):
    """What a finding means for the run, the worst first."""

    ERROR = "error"
    """The run is refused."""
    UNCHECKED = "not checked"
    """It could not be looked at: time was up, or the server did not let us. The run goes on."""
    WARNING = "warning"
    """The run goes on; the operator should know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One fact that stands in the way, and what to do about it."""

    id: str
    """"runbook.P101" and the like; listed in the reference."""
    severity: Severity
    message: str
    """The fact, with the reader's own names."""
    hint: str
    """What to do: a command, a statement or a query to paste."""
    subject: str = ""
    """What it is about: a table, a migration ("core.0033_sous_direction"), a service; may be empty."""
    examples: tuple[str, ...] = ()
    """The first few of the rows that are the cause, a line each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that can be known before step one. To look changes nothing."""

    id: str
    title: str | Promise
    """What holds if it finds nothing, as in "no earlier run on this database is unfinished"."""
    look: Callable[..., Iterable[Finding]]
    """Takes the database; before it the plan, or one coming operation, as its list in `preflight` says."""
    bars_plan: bool = False
    """Would half-done work or a broken graph, if this finds an error, make a plan impossible or wrong?"""
    suppressible: bool = True
    """May a runbook say, with its reason, that what this finds does not matter?"""
