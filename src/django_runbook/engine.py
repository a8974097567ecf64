"""Execute a plan: the only place where a step meets the journal."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from django.db import Error as AnyDatabaseError
from django.utils.translation import gettext as _

from django_runbook.backups import refuse_cut_off_restore
from django_runbook.conf import backup_directory, run_directory
from django_runbook.databases import Database
from django_runbook.exceptions import Interrupted, JournalUnwritable, Refused, RunbookError
from django_runbook.interrupts import Interrupts
from django_runbook.journal import (
    JOURNAL_FILE,
    Entry,
    Event,
    Journal,
    RunState,
    RunStatus,
    StepStatus,
    find_runs,
    is_held,
)
from django_runbook.ledger import Ledger
from django_runbook.plan import Plan, PlannedStep
from django_runbook.programs import redact
from django_runbook.schema.definitions import save_definitions
from django_runbook.schema.history import Key
from django_runbook.schema.states import applied_migrations
from django_runbook.steps import Context

PROGRESS_EVERY = 1.0
"""Seconds between two journaled lines of progress."""

ORPHAN_WAIT = timedelta(minutes=10)
"""How long a resume waits for the lock: a killed client's statement goes on in the server and holds it."""

Announce = Callable[[Entry], None]


@contextmanager
def open_run(
    plan: Plan,
    database: Database,
    announce: Announce,
    known: Mapping[str, Any] | None = None,
    *,
    directory: Path | None = None,
) -> Iterator[Journal]:
    """Take the lock, make the run folder and its journal, and prepare the ledger.

    `known` are further facts for the first line of the journal: what the check found, and what a rehearsal
    predicts. The run folder is made in `directory`, by default where the runs of this machine are.
    """
    with database.lock():
        folder = _new_folder(plan, directory or run_directory())
        with Journal(folder / JOURNAL_FILE, announce=announce, secrets=database.secrets) as journal:
            Ledger(database.connection).ensure()
            journal.record(
                Event.OPENED,
                run=folder.name,
                runbook=plan.runbook,
                covers=list(plan.covers),
                alias=database.alias,
                database=database.identity,
                server=str(database.server()),
                applied=sorted(plan.steps[0].place.applied),
                applies=_applies(plan),
                steps=_declared(plan),
                on_failure=plan.on_failure,
                **(known or {}),
            )
            yield journal


@contextmanager
def reopen_run(
    path: Path,
    database: Database,
    announce: Announce = lambda entry: None,
    notify: Callable[[str], None] = lambda text: None,
) -> Iterator[Journal]:
    """Take the journal and the lock of an earlier run. Raise Refused if it was of another database.

    If no other run is alive, who holds the lock can only be the session of a killed client, which goes on
    with its last statement: that is waited for, and `notify` told.
    """
    alive = any(is_held(other) for other in find_runs(run_directory()) if other != path)
    wait = timedelta(0) if alive else ORPHAN_WAIT
    with (
        Journal(path, announce=announce, secrets=database.secrets) as journal,
        database.lock(wait, notify),
    ):
        state = journal.state
        if dict(state.database) != database.identity:
            raise Refused(
                _("Run %(run)s worked on %(then)s, and database '%(alias)s' is now %(now)s.")
                % {
                    "run": state.run_id,
                    "then": state.database["name"],
                    "alias": database.alias,
                    "now": database.identity["name"],
                },
                _("Use the settings of that database, or say which with --database."),
            )
        yield journal


def prepare_resume(
    plan: Plan, journal: Journal, database: Database, *, assume_done: bool = False, run_again: bool = False
) -> None:
    """Make sure that going on is right, and journal that it does. Raise Refused, with nothing changed.

    `assume_done` and `run_again` are the operator's word on a step that was killed and cannot be looked at.
    """
    state = journal.state
    if state.status is RunStatus.UNDOING:
        raise Refused(
            _("Run %(run)s is being undone: an undo began and was cut off.") % {"run": state.run_id},
            _("Go on with `manage.py runbook undo`, or restore the run's backup."),
        )
    refuse_cut_off_restore(database)
    Ledger(database.connection).compare(state.run_id, journal.entries)
    _refuse_edited(plan, state)
    _refuse_unapplied(plan, state, database)
    doubtful = next((it for it in plan.steps if _in_doubt(state, it.key)), None)
    if doubtful and not (assume_done or run_again):
        doubtful.step.look_again(_context(doubtful, journal, database, Interrupts()))
    journal.record(Event.RESUMED, applies=_applies(plan), steps=_declared(plan), on_failure=plan.on_failure)
    if doubtful and assume_done:
        _note(journal, database, journal.record(Event.SUCCEEDED, doubtful.key, assumed=True))


def execute(plan: Plan, journal: Journal, database: Database, interrupts: Interrupts) -> None:
    """Perform the steps that are not done yet. Raise what stopped it, after journaling it."""
    if journal.state.baseline is None:
        journal.record(Event.MEASURED, **_measure(plan, journal, database, interrupts))
    for planned in plan.steps:
        if not journal.state.steps[planned.key].done:
            _perform(planned, journal, database, interrupts)
    _note(journal, database, journal.entries[-1], finished=journal.now().isoformat())
    journal.record(Event.FINISHED)


def _perform(planned: PlannedStep, journal: Journal, database: Database, interrupts: Interrupts) -> None:
    context = _context(planned, journal, database, interrupts)
    try:
        interrupts.safe_point()
        _note(journal, database, journal.record(Event.STARTED, planned.key))
        with interrupts.immediate(planned.step.interruptible):
            facts = planned.step.run(context) or {}
    except (Interrupted, KeyboardInterrupt) as error:
        _journal_stop(planned, journal, error)
        raise
    except JournalUnwritable:
        raise
    except Exception as error:
        journal.record(Event.FAILED, planned.key, error=_words(error), kind=type(error).__name__)
        raise _step_failed(planned, error, journal) from error
    _note(journal, database, journal.record(Event.SUCCEEDED, planned.key, **facts))


def _journal_stop(planned: PlannedStep, journal: Journal, error: BaseException) -> None:
    """Journal an interruption, unless the step was cut where it cannot tell what it has done.

    One that is not repeatable never can: only the operator may find out what it had done.
    """
    step, started = planned.step, _in_doubt(journal.state, planned.key)
    if not started or isinstance(error, Interrupted) or (step.interruptible and step.repeatable):
        journal.record(Event.INTERRUPTED, planned.key if started else "")


def _context(planned: PlannedStep, journal: Journal, database: Database, interrupts: Interrupts) -> Context:
    state = journal.state
    return Context(
        database=database,
        place=planned.place,
        run_id=state.run_id,
        step_key=planned.key,
        folder=journal.folder,
        backups=backup_directory(),
        baseline=state.baseline or {},
        progress=_progress(planned, journal),
        safe_point=interrupts.safe_point,
        now=journal.now,
    )


def _progress(planned: PlannedStep, journal: Journal) -> Callable[..., None]:
    """Journal progress at most once a second."""
    last = 0.0

    def report(**facts: Any) -> None:
        nonlocal last
        if time.monotonic() - last >= PROGRESS_EVERY:
            last = time.monotonic()
            journal.record(Event.PROGRESS, planned.key, **facts)

    return report


def _measure(plan: Plan, journal: Journal, database: Database, interrupts: Interrupts) -> Mapping[str, Any]:
    start = plan.steps[0].place
    measured: dict[str, Any] = {}
    for planned in plan.steps:
        context = _context(planned, journal, database, interrupts)
        measured |= planned.step.baseline(replace(context, place=start))
    if any(planned.step.changes_schema for planned in plan.steps):
        save_definitions(journal.folder, database)
    return measured


def _note(journal: Journal, database: Database, entry: Entry, finished: str = "") -> None:
    state = journal.state
    Ledger(database.connection).note(state.run_id, state.covers, entry, finished)


def _refuse_edited(plan: Plan, state: RunState) -> None:
    planned = {it.key: it.fingerprint for it in plan.steps}
    for step in state.steps.values():
        settled = step.status in (StepStatus.SUCCEEDED, StepStatus.IN_DOUBT)
        if settled and planned.get(step.key) != step.fingerprint:
            raise Refused(
                _("Step '%(step)s' of run %(run)s was edited, moved or removed after it had run.")
                % {"step": step.title, "run": state.run_id},
                _("Put it back as it was; only steps that have not succeeded may be mended."),
            )


def _refuse_unapplied(plan: Plan, state: RunState, database: Database) -> None:
    """The steps that have succeeded are not done again, so what they applied must still be there."""
    done = {key for key, step in state.steps.items() if step.done}
    coming = next((it for it in plan.steps if it.key not in done), None)
    expected = coming.place.here - coming.place.held if coming else frozenset()
    gone = sorted(expected - applied_migrations(database.connection))
    if gone:
        raise Refused(
            _("Run %(run)s has applied %(migrations)s, and the database says that it is not applied.")
            % {"run": state.run_id, "migrations": ", ".join(f"{app}.{name}" for app, name in gone)},
            _("Apply it again with `manage.py migrate`, or close the run with `manage.py runbook undo`."),
        )


def _in_doubt(state: RunState, key: str) -> bool:
    return key in state.steps and state.steps[key].status is StepStatus.IN_DOUBT


def _applies(plan: Plan) -> list[Key]:
    """Migrations that the plan's steps apply."""
    last = plan.steps[-1]
    return sorted(last.step.after(last.place).here)


def _declared(plan: Plan) -> list[dict[str, Any]]:
    return [
        {
            "key": it.key,
            "title": it.title,
            "reason": it.reason,
            "fingerprint": it.fingerprint,
            "lasting": it.step.lasting,
            "changes_data": it.step.changes_data,
            "reversible": it.step.reversible and it.step.changes_schema,
            "outside": it.step.acts_outside,
        }
        for it in plan.steps
    ]


def _new_folder(plan: Plan, directory: Path) -> Path:
    """Make a folder named by the time and the runbook; a second one in the same second gets a number."""
    name = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{plan.runbook.rpartition('.')[2]}"
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for number in range(1, 100):
            folder = directory / (name if number == 1 else f"{name}-{number}")
            with suppress(FileExistsError):
                folder.mkdir(mode=0o700)
                return folder
    except OSError as error:
        raise Refused(
            _("No run folder can be made in %(directory)s: %(error)s.")
            % {"directory": directory, "error": error.strerror},
            _('Give this user write access, or set RUNBOOK["DIR"] to another folder.'),
        ) from error
    raise Refused(_("Too many runs began within this second."), _("Run the command again."))


def _step_failed(planned: PlannedStep, error: Exception, journal: Journal) -> RunbookError:
    hint = getattr(error, "hint", "") or _("Mend the cause.")
    return RunbookError(
        redact(
            _("Step '%(step)s' failed: %(error)s")
            % {"step": planned.title, "error": getattr(error, "message", _words(error))},
            journal.secrets,
        ),
        hint
        + "\n"
        + _(
            "Then go on with `manage.py runbook resume`; "
            "`manage.py runbook status` shows every way back, and what it would lose."
        ),
    )


def _words(error: Exception) -> str:
    return (
        str(error)
        if isinstance(error, RunbookError | AnyDatabaseError)
        else f"{type(error).__name__}: {error}"
    )
