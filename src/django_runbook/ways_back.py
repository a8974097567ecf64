"""Which ways there are out of a run, at any moment: what each takes and what it would lose. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from django.utils.translation import gettext as _

from django_runbook.journal import RunState, RunStatus


class Way(StrEnum):
    """How to leave a run."""

    RESUME = "resume"
    UNDO = "undo"
    RESTORE = "restore"


@dataclass(frozen=True, slots=True, kw_only=True)
class WayBack:
    """One way, and whether it is open."""

    way: Way
    command: str
    open: bool
    loses: str
    """What it would lose, or why it is not open."""
    takes: timedelta | None = None
    """About how long it takes, by what was measured; None if nothing was."""
    measured: str = ""
    """How that is known, or why it is not, in words."""


def ways_back(state: RunState, *, backup_is_there: bool = True, incomplete: bool = False) -> list[WayBack]:
    """The ways out of the run as its journal stands, safest first.

    `incomplete`: a restore of the database was cut off, so that nothing but a restore is open.
    """
    restoring = incomplete or state.status is RunStatus.RESTORING
    return [_resume(state, restoring), _undo(state, restoring), _restore(state, backup_is_there)]


def _resume(state: RunState, restoring: bool) -> WayBack:
    command = f"manage.py runbook resume {state.run_id}"
    closed = _("the run is over") if state.is_closed else ""
    if state.status is RunStatus.UNDOING:
        closed = _("an undo was cut off: go on with the undo")
    if restoring:
        closed = _("a restore was cut off: repeat the restore")
    if closed:
        return WayBack(way=Way.RESUME, command=command, open=False, loses=closed)
    return WayBack(
        way=Way.RESUME,
        command=command,
        open=True,
        loses=_("loses nothing; goes on with the first step that has not succeeded"),
        takes=state.left,
        measured=_("its steps were not rehearsed")
        if state.left is None
        else _("by rehearsal %(rehearsal)s") % {"rehearsal": state.rehearsal},
    )


def _undo(state: RunState, restoring: bool) -> WayBack:
    command = f"manage.py runbook undo {state.run_id}"
    if restoring:
        words = _("a restore was cut off: repeat the restore")
        return WayBack(way=Way.UNDO, command=command, open=False, loses=words)
    if state.status in (RunStatus.UNDONE, RunStatus.RESTORED):
        return WayBack(way=Way.UNDO, command=command, open=False, loses=_("it is undone already"))
    if not any(step.attempts for step in state.steps.values()):
        return WayBack(
            way=Way.UNDO, command=command, open=True, loses=_("nothing was changed: closes the run")
        )
    lasting = [
        step.title for step in state.steps.values() if step.has_changed_the_database and not step.reversible
    ]
    if lasting:
        loses = _("looks first, and refuses if %(steps)s changed rows: only a restore takes these back")
    else:
        loses = _("loses nothing: takes the migrations back, or refuses and says what would be lost")
    taken_back = [step.duration for step in state.steps.values() if step.reversible and step.duration]
    return WayBack(
        way=Way.UNDO,
        command=command,
        open=True,
        loses=loses % {"steps": ", ".join(lasting)},
        takes=sum(taken_back, timedelta(0)) if taken_back else None,
        measured=_("as long as its migrations took") if taken_back else _("no migration has ended yet"),
    )


def _restore(state: RunState, backup_is_there: bool) -> WayBack:
    command = f"manage.py runbook restore {state.backup}".rstrip()
    if not state.backup:
        return WayBack(way=Way.RESTORE, command=command, open=False, loses=_("this run has no backup yet"))
    if not backup_is_there:
        return WayBack(
            way=Way.RESTORE, command=command, open=False, loses=_("the run's backup is not there any more")
        )
    return WayBack(
        way=Way.RESTORE,
        command=command,
        open=True,
        loses=_("loses every write since the backup (%(at)s UTC), by this run and by others")
        % {"at": f"{state.backup_at:%Y-%m-%d %H:%M:%S}"},
        takes=state.restore_takes,
        measured=_("as long as its restore into a scratch database took")
        if state.restore_takes
        else _("its restore was never tried"),
    )
