"""The ways out of a run other than finishing it."""

from __future__ import annotations

from pathlib import Path

from django.utils.translation import gettext as _

from django_runbook.backups import Manifest, restore_backup
from django_runbook.databases import Database
from django_runbook.exceptions import Refused
from django_runbook.journal import RUN_WORDS, Event, Journal, RunState
from django_runbook.ledger import Ledger
from django_runbook.schema.drift import compare_schema
from django_runbook.schema.history import History
from django_runbook.schema.states import applied_migrations
from django_runbook.ways_back import Way, ways_back


def undo(journal: Journal, database: Database) -> None:
    """Close a run of which nothing is left in the database.

    Judged by the database: its record of migrations, its schema, and the ledger. Raise Refused, with the
    restore command, if something is left.
    """
    state = journal.state
    left = _left_in_database(state, database)
    if state.is_closed:
        raise Refused(
            _("Run %(run)s is closed already: %(status)s.")
            % {"run": state.run_id, "status": RUN_WORDS[state.status]}
        )
    if left:
        restore = next(way for way in ways_back(state) if way.way is Way.RESTORE)
        raise Refused(
            _("Run %(run)s has changed the database: %(left)s.") % {"run": state.run_id, "left": left},
            _("Go on with `manage.py runbook resume`, or restore with `%(command)s`, which %(loses)s.")
            % {"command": restore.command, "loses": restore.loses}
            if restore.open
            else _("Go on with `manage.py runbook resume`."),
        )
    journal.record(Event.UNDONE)


def restore(manifest: Path, database: Database, journal: Journal | None) -> Manifest:
    """Bring the backup back, and journal it in the unfinished run it belongs to, which it closes."""
    if journal:
        journal.record(Event.RESTORING, backup=str(manifest))
    restored = restore_backup(manifest, database)
    if journal:
        journal.record(Event.RESTORED, backup=str(manifest))
    return restored


def _left_in_database(state: RunState, database: Database) -> str:
    connection = database.connection
    applied = applied_migrations(connection)
    new = sorted(f"{app}.{name}" for app, name in applied - state.applied)
    if new:
        return _("it applied %(migrations)s") % {"migrations": ", ".join(new)}
    for step in state.steps.values():
        row = Ledger(connection).backfill(state.run_id, step.key)
        if row and row.prepared:
            return _("'%(step)s' moved %(rows)d rows") % {"step": step.title, "rows": row.rows}
    differences = compare_schema(connection, History.load(connection).state(applied))
    return "; ".join(map(str, differences))
