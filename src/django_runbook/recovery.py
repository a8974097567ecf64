"""The ways out of a run other than finishing it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path

from django.db import Error as AnyDatabaseError
from django.utils.translation import gettext as _

from django_runbook.backfill_ledger import BackfillLedger
from django_runbook.backups import (
    Manifest,
    load_manifest,
    refuse_connected,
    refuse_cut_off_restore,
    restore_backup,
)
from django_runbook.databases import Database
from django_runbook.engine import reopen_run
from django_runbook.exceptions import JournalDamaged, Refused, RunbookError
from django_runbook.journal import RUN_WORDS, Event, Journal, RunState, RunStatus
from django_runbook.ledger import Ledger
from django_runbook.programs import redact
from django_runbook.runbooks import OnFailure
from django_runbook.runs import FoundRun, load_runs
from django_runbook.schema.definitions import changed_tables, load_definitions
from django_runbook.schema.differences import DETAILS
from django_runbook.schema.drift import compare_schema
from django_runbook.schema.history import History
from django_runbook.schema.states import matching_models
from django_runbook.schema.taking_back import take_back
from django_runbook.schema.undo import UndoPlan, make_undo_plan
from django_runbook.ways_back import Way, ways_back


def plan_undo(journal: Journal, database: Database) -> UndoPlan:
    """Look whether all that the run did to the database can be taken back without a loss.

    Judged by the database: its record of migrations, its schema, its rows, and the ledger. Changes nothing.
    Raise Refused, with what stands against it and the restore command.
    """
    state = journal.state
    if state.status in (RunStatus.UNDONE, RunStatus.RESTORED):
        raise Refused(
            _("Run %(run)s is closed already: %(status)s.")
            % {"run": state.run_id, "status": RUN_WORDS[state.status]}
        )
    refuse_cut_off_restore(database)
    _refuse_later_runs(state, database)
    plan = make_undo_plan(database, state.run_id, state.applied, load_definitions(journal.folder))
    _refuse_others(state, plan)
    against = [*_lasting(state, database), *plan.irreversible]
    if plan.lost:
        against.append(_("this would be lost: %(what)s") % {"what": "; ".join(plan.lost)})
    if against:
        raise _refused(state, "\n".join(f"- {reason}" for reason in against))
    if not plan.reversals and state.status is not RunStatus.UNDOING:
        _refuse_differences(journal, database)
    return plan


def undo(
    journal: Journal,
    database: Database,
    plan: UndoPlan,
    *,
    safe_point: Callable[[], None] = lambda: None,
    progress: Callable[..., None] = lambda **facts: None,
) -> None:
    """Take back what `plan_undo` has found, and close the run.

    `safe_point` is called before each migration, never inside one.

    An undo that is cut off is gone on with by the next one. Raise RunbookError when a migration cannot be
    taken back, or when the schema is not what it was before the run.
    """
    state = journal.state
    if plan.reversals:
        journal.record(Event.UNDOING, migrations=plan.names)
    if plan.reversals or state.status is RunStatus.UNDOING:
        before = load_definitions(journal.folder)
        take_back(database, state.run_id, state.applied, before, safe_point=safe_point, progress=progress)
        _refuse_differences(journal, database)
    entry = journal.record(Event.UNDONE, migrations=plan.names)
    ledger = Ledger(database.connection)
    if ledger.exists:
        ledger.note(state.run_id, state.covers, entry)


@contextmanager
def reopened_for_restore(manifest: Manifest, database: Database) -> Iterator[list[Journal]]:
    """Take the run lock, and the journals of the runs that a restore of this backup takes back."""
    runs = _taken_back(manifest, database)
    with ExitStack() as stack:
        if not runs:
            stack.enter_context(database.lock())
            yield []
            return
        *earlier, last = [run.path for run in runs]
        yield [
            stack.enter_context(reopen_run(last, database)),
            *(stack.enter_context(Journal(path, secrets=database.secrets)) for path in earlier),
        ]


def restore(
    manifest: Manifest, database: Database, journals: Sequence[Journal], *, identity: Path | None = None
) -> timedelta:
    """Bring a backup back, and journal it in every run that it takes back; return how long it took.

    Raise Refused, before anything is touched, if the backup is not fit for this database, and RestoreFailed.
    """
    began = time.monotonic()

    def begin() -> None:
        for journal in journals:
            journal.record(Event.RESTORING, backup=str(manifest.path))

    restore_backup(manifest.path, database, identity=identity, begin=begin)
    took = timedelta(seconds=time.monotonic() - began)
    for journal in journals:
        journal.record(Event.RESTORED, backup=str(manifest.path), seconds=took.total_seconds())
    return took


def _taken_back(manifest: Manifest, database: Database) -> list[FoundRun]:
    """Runs that did something after the backup began.

    None if a journal is damaged: a restore must be possible.
    """
    gone = (RunStatus.UNDONE, RunStatus.RESTORED)
    try:
        runs = load_runs(database)
    except JournalDamaged:
        return []
    return [run for run in runs if run.state.status not in gone and run.entries[-1].at > manifest.created]


def after_failure(
    journal: Journal,
    database: Database,
    error: RunbookError,
    *,
    progress: Callable[..., None] = lambda **facts: None,
) -> RunbookError:
    """Do what the runbook wants when a step fails; return the error with what became of it.

    A step that was killed or stopped has not failed. Whatever stands against the way back is told, and then
    the run stops as it would have without.
    """
    state = journal.state
    wanted = OnFailure(state.on_failure)
    if state.status is not RunStatus.FAILED or wanted is OnFailure.STOP:
        return error
    try:
        told = _take_way(wanted, journal, database, progress)
    except (RunbookError, AnyDatabaseError) as against:
        words = _('on_failure = "%(way)s" could not be carried out: %(why)s')
        reason = redact(getattr(against, "message", str(against)), journal.secrets)
        return RunbookError(f"{error.message}\n{words % {'way': wanted, 'why': reason}}", error.hint)
    return RunbookError(
        f"{error.message}\n{told}", _("Mend the cause, then begin anew with `manage.py runbook run`.")
    )


def _take_way(wanted: OnFailure, journal: Journal, database: Database, progress: Callable[..., None]) -> str:
    """Raise SessionLost, with nothing done, if the lock is gone with its session."""
    database.ask("SELECT 1")
    state = journal.state
    changed = any(step.has_changed_the_database for step in state.steps.values())
    if wanted is OnFailure.RESTORE and changed:
        _restore_own(journal, database)
        return _('The run\'s backup was restored, as its runbook says: on_failure = "restore".')
    undo(journal, database, plan_undo(journal, database), progress=progress)
    return _('The run was undone, as its runbook says: on_failure = "%(way)s".') % {"way": wanted}


def _restore_own(journal: Journal, database: Database) -> None:
    if not journal.state.backup:
        raise Refused(_("the run has no backup"))
    refuse_connected(database)
    restore(load_manifest(Path(journal.state.backup)), database, [journal])


def _refuse_later_runs(state: RunState, database: Database) -> None:
    gone = (RunStatus.UNDONE, RunStatus.RESTORED)
    runs = [run.state for run in load_runs(database)]
    later = [run for run in runs if run.opened > state.opened and run.status not in gone]
    if later:
        raise Refused(
            _("Run %(later)s came after run %(run)s.") % {"later": later[-1].run_id, "run": state.run_id},
            _("Undo that one first: `manage.py runbook undo %(later)s`.") % {"later": later[-1].run_id},
        )


def _refuse_others(state: RunState, plan: UndoPlan) -> None:
    """Whatever others have applied since is not this run's to take back."""
    others = [name for name, key in zip(plan.names, plan.keys, strict=True) if key not in state.applies]
    if others:
        raise Refused(
            _("Others have applied migrations since run %(run)s was opened: %(migrations)s.")
            % {"run": state.run_id, "migrations": ", ".join(others)},
            _("Take these back first, with `manage.py migrate APP NAME`; NAME is the one before."),
        )


def _lasting(state: RunState, database: Database) -> Iterator[str]:
    """What steps did to the data that nothing but a restore takes back."""
    for step in state.steps.values():
        backfill = BackfillLedger.find(database, state.run_id, step.key)
        if backfill and backfill.row.prepared:
            words = {"step": step.title, "rows": backfill.totals()["rows"]}
            yield _("'%(step)s' moved %(rows)d rows") % words
        elif step.lasting and step.attempts:
            yield _("'%(step)s' has changed the database, and is not declared reversible") % {
                "step": step.title
            }


def _refuse_differences(journal: Journal, database: Database) -> None:
    """Raise if the schema is not what it was before the run: Refused if this process has changed nothing."""
    state = journal.state
    found = _differences(state, database, load_definitions(journal.folder))
    if not found:
        return
    words = _("The schema is not what it was before run %(run)s: %(differences)s.") % {
        "run": state.run_id,
        "differences": "; ".join(found),
    }
    kind = RunbookError if state.status is RunStatus.UNDOING else Refused
    raise kind(words, _ways_on(state))


def _differences(state: RunState, database: Database, before: Mapping[str, str]) -> list[str]:
    """By the definitions from before the run; if it did not come so far, by the models."""
    history = History.load(database.connection)
    if not before:
        found = compare_schema(database.connection, history.state(state.applied))
        return [str(it) for it in found if it.kind not in DETAILS]
    last = history.state(state.applied | state.applies)
    made = {model._meta.db_table for model in matching_models(last, include_auto_created=True)}
    return [_("table %(table)s") % {"table": name} for name in changed_tables(database, before, made)]


def _refused(state: RunState, reasons: str) -> Refused:
    return Refused(
        _("Run %(run)s cannot be undone without a loss:\n%(reasons)s")
        % {"run": state.run_id, "reasons": reasons},
        _ways_on(state),
    )


def _ways_on(state: RunState) -> str:
    restore = next(way for way in ways_back(state) if way.way is Way.RESTORE)
    resume = next(way for way in ways_back(state) if way.way is Way.RESUME)
    sentences = [_("Go on with `manage.py runbook resume`.")] if resume.open else []
    if restore.open:
        sentences.append(
            _("Restore with `%(command)s`, which %(loses)s.")
            % {"command": restore.command, "loses": restore.loses}
        )
    return " ".join(sentences)
