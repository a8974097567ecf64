"""What a journal says of its run: folded from its entries, never assigned."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_runbook.exceptions import JournalDamaged
from django_runbook.journal.entries import Entry, Event, move_aside


class StepStatus(StrEnum):
    """Where a step stands."""

    WAITING = "waiting"
    IN_DOUBT = "in doubt"
    """Started, and no outcome: running now, or killed."""
    INTERRUPTED = "interrupted"
    FAILED = "failed"
    SUCCEEDED = "succeeded"


class RunStatus(StrEnum):
    """Where a run stands, by its journal alone; whether it is running now the lock tells."""

    STARTED = "started"
    """Neither ended nor closed: running now, or killed."""
    INTERRUPTED = "interrupted"
    FAILED = "failed"
    FINISHED = "finished"
    RESTORING = "restoring"
    """A restore began and did not report its end: the database may be incomplete."""
    RESTORED = "restored"
    UNDOING = "undoing"
    """An undo began and did not report its end: it is to be gone on with."""
    UNDONE = "undone"


RUN_WORDS = {
    RunStatus.STARTED: gettext_lazy("not finished: running now, or killed"),
    RunStatus.INTERRUPTED: gettext_lazy("interrupted by the operator"),
    RunStatus.FAILED: gettext_lazy("failed"),
    RunStatus.FINISHED: gettext_lazy("finished"),
    RunStatus.RESTORING: gettext_lazy("a restore was cut off: repeat it"),
    RunStatus.RESTORED: gettext_lazy("restored to the backup"),
    RunStatus.UNDOING: gettext_lazy("an undo was cut off: go on with it"),
    RunStatus.UNDONE: gettext_lazy("undone"),
}
"""What an operator is told."""

CLOSED = frozenset({RunStatus.FINISHED, RunStatus.RESTORED, RunStatus.UNDONE})


@dataclass(frozen=True, slots=True, kw_only=True)
class StepState:
    """What the journal says of one step."""

    key: str
    title: str
    reason: str
    fingerprint: str
    lasting: bool = False
    """Does it change what the database holds, in a way that no undo takes back?"""
    changes_data: bool = False
    """Does it change rows? Whether it has, the ledger says."""
    reversible: bool = False
    """Does it change the database in a way that an undo takes back?"""
    outside: bool = False
    """Has it effects outside of the database?"""
    status: StepStatus = StepStatus.WAITING
    attempts: int = 0
    started: datetime | None = None
    """Start of the last attempt."""
    ended: datetime | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Latest progress, then the outcome's facts."""
    error: str = ""

    @property
    def done(self) -> bool:
        return self.status is StepStatus.SUCCEEDED

    @property
    def has_changed_the_database(self) -> bool:
        """May it have? As far as a journal can tell."""
        return bool(self.attempts) and (self.lasting or self.changes_data or self.reversible)

    @property
    def duration(self) -> timedelta | None:
        """Of the last attempt, if it ended."""
        return self.ended - self.started if self.started and self.ended else None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunState:
    """What the journal says of a run."""

    run_id: str
    runbook: str
    """Label of the runbook, or "pending"."""
    covers: tuple[str, ...]
    """Labels of the runbooks that are completed when this run is."""
    alias: str
    database: Mapping[str, str]
    """Identity of the database, without secrets."""
    applied: frozenset[tuple[str, str]]
    """Migrations applied when the run was opened."""
    applies: frozenset[tuple[str, str]]
    """Migrations that its steps apply, in any plan it has had."""
    opened: datetime
    steps: Mapping[str, StepState]
    status: RunStatus = RunStatus.STARTED
    closed: datetime | None = None
    baseline: Mapping[str, Any] | None = None
    on_failure: str = "stop"
    """What is to happen when a step fails; see `runbooks.OnFailure`."""
    rehearsal: str = ""
    """Id of the rehearsal that predicts how long the steps take; empty if there was none."""
    predicted: Mapping[str, float] = field(default_factory=dict)
    """By that, the seconds of each step that was rehearsed, by key."""
    backup: str = ""
    """Path of the manifest of the run's latest whole backup."""
    backup_at: datetime | None = None
    """When that backup began: it holds at least what was written before."""
    restore_takes: timedelta | None = None
    """How long the backup's proof took to restore it; None if there was none."""

    @property
    def is_closed(self) -> bool:
        return self.status in CLOSED

    @property
    def left(self) -> timedelta | None:
        """How long the steps that are not done will take, by the rehearsal; None if there was none."""
        if not self.rehearsal:
            return None
        waiting = (step.key for step in self.steps.values() if not step.done)
        return timedelta(seconds=sum(self.predicted.get(key, 0.0) for key in waiting))

    @property
    def current(self) -> StepState | None:
        """The step that acted last and has not succeeded, or the next one to come."""
        return next((step for step in self.steps.values() if not step.done), None)


def replay(entries: Iterable[Entry]) -> RunState:
    """Fold a journal's entries into the state they describe. Raise JournalDamaged if none opens a run."""
    state: RunState | None = None
    for entry in entries:
        state = fold(state, entry)
    if state is None:
        raise not_opened()
    return state


def fold(state: RunState | None, entry: Entry) -> RunState:
    """The state after one more entry; the first one must open the run."""
    if state is None:
        if entry.event is not Event.OPENED:
            raise not_opened()
        return _opened(entry)
    return FOLDS[entry.event](state, entry)


def not_opened() -> JournalDamaged:
    return JournalDamaged(_("The journal does not begin with the opening of a run."), move_aside())


def _opened(entry: Entry) -> RunState:
    facts = entry.facts
    return RunState(
        run_id=facts["run"],
        runbook=facts["runbook"],
        covers=tuple(facts["covers"]),
        alias=facts["alias"],
        database=facts["database"],
        applied=_keys(facts["applied"]),
        applies=_keys(facts.get("applies", ())),
        opened=entry.at,
        on_failure=facts.get("on_failure", "stop"),
        rehearsal=facts.get("rehearsal", ""),
        predicted=facts.get("predicted", {}),
        steps=_steps(facts["steps"], {}),
    )


def _keys(facts: Iterable[tuple[str, str]]) -> frozenset[tuple[str, str]]:
    return frozenset((app, name) for app, name in facts)


def _steps(declared: Iterable[Mapping[str, Any]], known: Mapping[str, StepState]) -> dict[str, StepState]:
    return {step["key"]: _step(step, known.get(step["key"])) for step in declared}


def _step(declared: Mapping[str, Any], known: StepState | None) -> StepState:
    fresh = StepState(
        key=declared["key"],
        title=declared["title"],
        reason=declared["reason"],
        fingerprint=declared["fingerprint"],
        lasting=declared.get("lasting", False),
        changes_data=declared.get("changes_data", False),
        reversible=declared.get("reversible", False),
        outside=declared.get("outside", False),
    )
    if known is None:
        return fresh
    return replace(known, title=fresh.title, reason=fresh.reason, fingerprint=fresh.fingerprint)


def _resumed(state: RunState, entry: Entry) -> RunState:
    return replace(
        state,
        status=RunStatus.STARTED,
        applies=state.applies | _keys(entry.facts.get("applies", ())),
        on_failure=entry.facts.get("on_failure", state.on_failure),
        steps=_steps(entry.facts["steps"], state.steps),
    )


def _measured(state: RunState, entry: Entry) -> RunState:
    return replace(state, baseline=entry.facts)


def _started(state: RunState, entry: Entry) -> RunState:
    attempts = state.steps[entry.step].attempts + 1
    return _with_step(
        state, entry, status=StepStatus.IN_DOUBT, attempts=attempts, started=entry.at, ended=None, error=""
    )


def _progressed(state: RunState, entry: Entry) -> RunState:
    return _with_step(state, entry, facts=entry.facts)


def _succeeded(state: RunState, entry: Entry) -> RunState:
    if "backup" in entry.facts:
        seconds = entry.facts.get("restore_seconds")
        state = replace(
            state,
            backup=entry.facts["backup"],
            backup_at=state.steps[entry.step].started,
            restore_takes=timedelta(seconds=seconds) if seconds else None,
        )
    return _with_step(state, entry, status=StepStatus.SUCCEEDED, ended=entry.at, facts=entry.facts, error="")


def _failed(state: RunState, entry: Entry) -> RunState:
    state = replace(state, status=RunStatus.FAILED)
    return _with_step(state, entry, status=StepStatus.FAILED, ended=entry.at, error=entry.facts["error"])


def _interrupted(state: RunState, entry: Entry) -> RunState:
    state = replace(state, status=RunStatus.INTERRUPTED)
    if not entry.step:
        return state
    return _with_step(state, entry, status=StepStatus.INTERRUPTED, ended=entry.at)


def _restoring(state: RunState, entry: Entry) -> RunState:
    return replace(state, status=RunStatus.RESTORING)


def _closed(status: RunStatus) -> Callable[[RunState, Entry], RunState]:
    return lambda state, entry: replace(state, status=status, closed=entry.at)


def _with_step(state: RunState, entry: Entry, **changes: Any) -> RunState:
    step = replace(state.steps[entry.step], **changes)
    return replace(state, steps={**state.steps, entry.step: step})


FOLDS: Mapping[Event, Callable[[RunState, Entry], RunState]] = {
    Event.OPENED: lambda state, entry: state,
    Event.MEASURED: _measured,
    Event.RESUMED: _resumed,
    Event.STARTED: _started,
    Event.PROGRESS: _progressed,
    Event.SUCCEEDED: _succeeded,
    Event.FAILED: _failed,
    Event.INTERRUPTED: _interrupted,
    Event.FINISHED: _closed(RunStatus.FINISHED),
    Event.RESTORING: _restoring,
    Event.RESTORED: _closed(RunStatus.RESTORED),
    Event.UNDOING: lambda state, entry: replace(state, status=RunStatus.UNDOING, closed=None),
    Event.UNDONE: _closed(RunStatus.UNDONE),
}
