"""A run as a value that every view is made of. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django_runbook.journal import Entry, RunState, RunStatus, StepStatus, replay
from django_runbook.ways_back import WayBack, ways_back


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReport:
    """One step as it went."""

    number: int
    title: str
    reason: str
    status: StepStatus
    attempts: int
    duration: timedelta | None
    """Of the last attempt, if it ended."""
    facts: Mapping[str, Any]
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a journal says of its run."""

    run_id: str
    runbook: str
    database: Mapping[str, str]
    alias: str
    server: str
    status: RunStatus
    opened: datetime
    last: datetime
    """Time of the last line."""
    findings: Sequence[Mapping[str, Any]]
    """Of the check before step one, that the run went on with; see `report.as_json.findings_to_facts`."""
    steps: Sequence[StepReport]
    ways_back: Sequence[WayBack]
    journal_lines: int
    journal_hash: str
    """Hash of the last line: it vouches for all lines before it."""
    journal: str = ""
    """Path of the journal."""
    incomplete_since: str = ""
    """When a restore of the database was cut off, in UTC; empty if none was."""


def build_report(
    entries: Sequence[Entry],
    journal: str = "",
    *,
    backup_is_there: bool = True,
    incomplete_since: str = "",
) -> Report:
    """Fold a journal into its report. Raise JournalDamaged if no run is opened in it.

    `incomplete_since` is when a restore of the database was cut off, as `Database.cut_off_restore` says.
    """
    state = replay(entries)
    return Report(
        run_id=state.run_id,
        runbook=state.runbook,
        database=state.database,
        alias=state.alias,
        server=entries[0].facts["server"],
        status=state.status,
        opened=state.opened,
        last=entries[-1].at,
        findings=entries[0].facts.get("findings", ()),
        steps=_steps(state),
        ways_back=ways_back(state, backup_is_there=backup_is_there, incomplete=bool(incomplete_since)),
        incomplete_since=incomplete_since,
        journal_lines=len(entries),
        journal_hash=entries[-1].hash,
        journal=journal,
    )


def _steps(state: RunState) -> list[StepReport]:
    return [
        StepReport(
            number=number,
            title=step.title,
            reason=step.reason,
            status=step.status,
            attempts=step.attempts,
            duration=step.duration,
            facts=step.facts,
            error=step.error,
        )
        for number, step in enumerate(state.steps.values(), start=1)
    ]
