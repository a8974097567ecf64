"""The runs of this machine, as their journals tell them. Reads only."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from django.utils.translation import gettext as _

from django_runbook.conf import run_directory
from django_runbook.databases import Database
from django_runbook.exceptions import JournalDamaged, Refused
from django_runbook.journal import Entry, RunState, find_runs, read_journal, replay


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundRun:
    """A run folder with a readable journal."""

    path: Path
    """Of the journal."""
    entries: list[Entry]

    @property
    def state(self) -> RunState:
        return replay(self.entries)


def load_runs(database: Database | None = None) -> list[FoundRun]:
    """All runs, oldest first; of one database if it is given. Raise JournalDamaged for a broken journal."""
    runs = [
        FoundRun(path=path, entries=entries)
        for path in find_runs(run_directory())
        if (entries := read_journal(path))
    ]
    if database is None:
        return runs
    return [run for run in runs if dict(run.state.database) == database.identity]


def unfinished_run(database: Database) -> RunState | None:
    """The latest run on this database that is not closed."""
    states = [run.state for run in load_runs(database)]
    return next((state for state in reversed(states) if not state.is_closed), None)


def find_run(run_id: str, database: Database, *, unfinished: bool = False) -> FoundRun:
    """The run whose id begins with `run_id`; without one the latest of this database. Raise Refused.

    With `unfinished`, the latest that is not closed.
    """
    if run_id:
        return _named(run_id)
    runs = [run for run in load_runs(database) if not (unfinished and run.state.is_closed)]
    if not runs:
        raise Refused(
            _("There is no unfinished run on database '%(alias)s'.") % {"alias": database.alias}
            if unfinished
            else _("There is no run on database '%(alias)s'.") % {"alias": database.alias},
            _("`manage.py runbook list` shows what there is; `manage.py runbook run` begins one."),
        )
    return runs[-1]


def _named(run_id: str) -> FoundRun:
    folders = [path for path in find_runs(run_directory()) if path.parent.name.startswith(run_id)]
    exact = [path for path in folders if path.parent.name == run_id]
    found = exact or folders
    if len(found) != 1:
        raise Refused(
            _("Not one run, but %(count)d, have an id that begins with '%(run)s'.")
            % {"count": len(found), "run": run_id},
            _("`manage.py runbook list` shows the runs there are."),
        )
    entries = read_journal(found[0])
    if not entries:
        raise JournalDamaged(
            _("The journal of run %(run)s is empty: the run was killed before its first line.")
            % {"run": found[0].parent.name},
            _("Nothing was done by it: remove its folder."),
        )
    return FoundRun(path=found[0], entries=entries)
