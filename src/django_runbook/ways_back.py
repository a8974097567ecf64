"""Which ways there are out of a run, at any moment: what each does, and what it would lose. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from django.utils.translation import gettext as _

from django_runbook.journal import RunState, RunStatus


class Way(StrEnum):
    """How to leave an unfinished run."""

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


def ways_back(state: RunState) -> list[WayBack]:
    """The ways out of the run as its journal stands, safest first."""
    return [_resume(state), _undo(state), _restore(state)]


def _resume(state: RunState) -> WayBack:
    can = not state.is_closed and state.status not in (RunStatus.RESTORING, RunStatus.UNDOING)
    loses = (
        _("loses nothing; goes on with the first step that has not succeeded")
        if can
        else _("the run is over")
    )
    if state.status is RunStatus.RESTORING:
        loses = _("a restore was cut off: repeat the restore")
    if state.status is RunStatus.UNDOING:
        loses = _("an undo was cut off: go on with the undo")
    return WayBack(way=Way.RESUME, command=f"manage.py runbook resume {state.run_id}", open=can, loses=loses)


def _undo(state: RunState) -> WayBack:
    untouched = not any(step.attempts for step in state.steps.values())
    return WayBack(
        way=Way.UNDO,
        command=f"manage.py runbook undo {state.run_id}",
        open=state.status not in (RunStatus.UNDONE, RunStatus.RESTORED),
        loses=_("nothing was changed: closes the run")
        if untouched
        else _("loses nothing: takes the migrations back, or refuses and says what would be lost"),
    )


def _restore(state: RunState) -> WayBack:
    command = f"manage.py runbook restore {state.backup}".rstrip()
    loses = _("loses every write since the backup, by this run and by others")
    if not state.backup:
        loses = _("this run has no backup yet")
    return WayBack(way=Way.RESTORE, command=command, open=bool(state.backup), loses=loses)
