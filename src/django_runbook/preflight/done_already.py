"""Whether a pending migration has happened although nothing records it."""

from __future__ import annotations

from django.db.migrations.state import ProjectState
from django.utils.translation import gettext as _

from django_runbook.preflight.effects import Effects, Pending
from django_runbook.schema.differences import TOO_MUCH
from django_runbook.schema.drift import compare_schema


def is_done(pending: Pending, effects: Effects) -> bool:
    """Are the tables that it touches what they should be behind it? More may be there by a later one."""
    if any(effects.is_there(it.thing) != it.made for it in pending.effects):
        return False
    place = effects.plan.steps[0].place
    past = frozenset(place.applied | {pending.key, *place.history.path(pending.key, place.applied)})
    tables = {it.thing.table for it in pending.effects}
    found = compare_schema(effects.database.connection, place.history.state(past))
    return not any(it.table in tables and it.kind not in TOO_MUCH for it in found)


def state_really_applied(effects: Effects) -> ProjectState:
    """That of the applied migrations, and of those that P302 or P303 say are to be recorded as applied."""
    place = effects.plan.steps[0].place
    done = {it.key for it in effects.migrations if it.effects and is_done(it, effects)}
    return place.history.state(frozenset(place.applied | done))


def record_as_applied(pending: Pending, effects: Effects) -> str:
    """The command; before it a warning, where it would leave out what cannot be seen."""
    app_label, name = pending.key
    command = f"manage.py migrate {app_label} {name} --fake --database={effects.database.alias}"
    words = {"command": command}
    if pending.has_code:
        return (
            _(
                "It also runs Python or SQL, and the schema does not show whether that has run: look at the "
                "data, run it by hand if it has not, and only then record the migration with `%(command)s`."
            )
            % words
        )
    return _("Record it as applied: `%(command)s`.") % words
