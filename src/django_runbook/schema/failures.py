"""What is said of a migration that failed: its operation, its statement and the server's own words."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import DatabaseError
from django.db.migrations.migration import Migration
from django.utils.translation import gettext as _

from django_runbook.exceptions import RunbookError


def rolled_back(migration: Migration, operation: str, sql: str, error: Exception) -> RunbookError:
    """The server has taken the whole migration back."""
    words = {"migration": migration, "operation": operation, "error": error}
    return RunbookError(
        _("Migration %(migration)s failed at '%(operation)s', and was rolled back whole: %(error)s") % words
        + _statement(sql, error),
        _(
            "Mend the data, or the migration, and run `manage.py runbook resume`; or go back with "
            "`manage.py runbook undo`."
        ),
    )


def stopped(
    migration: Migration, operation: str, sql: str, error: Exception, *, whole: bool = True
) -> RunbookError:
    """What came before has been applied and stays; `whole` if nothing of what failed does."""
    words = {"migration": migration, "operation": operation, "error": error}
    return RunbookError(
        _("Migration %(migration)s failed at '%(operation)s': %(error)s") % words + _statement(sql, error),
        _(
            "Nothing is in doubt: what came before is done, this is not. Mend the data, or this "
            "operation, and run `manage.py runbook resume`; or go back with `manage.py runbook undo`."
        )
        if whole
        else _(
            "It does not run in a transaction, so a part of it may be done, and it will run again. Mend the "
            "data, or this operation, and run `manage.py runbook resume`; or restore the run's backup."
        ),
    )


def neither(migration: Migration, sql: str, strange: Sequence[str]) -> RunbookError:
    """A table is not as it was before a statement that is in doubt, nor as the statement can have left it."""
    return RunbookError(
        _(
            "Migration %(migration)s was cut off in a statement, and what that touches was changed by "
            "somebody else since. It should be as before or as after the statement, but for this:\n%(lines)s"
        )
        % {"migration": migration, "lines": "\n".join(f"    {line}" for line in strange)}
        + "\n"
        + _("The statement was: %(sql)s") % {"sql": sql},
        _("Take that change back and run `manage.py runbook resume`; or restore the run's backup."),
    )


def broken(migration: Migration, sql: str, rows: str) -> RunbookError:
    """A constraint cannot hold, or could not have been kept, because of rows that are there."""
    return RunbookError(
        _("Migration %(migration)s cannot add a constraint, because rows break it: %(rows)s")
        % {"migration": migration, "rows": rows}
        + "\n"
        + _("The statement was: %(sql)s") % {"sql": sql},
        _(
            "The constraint is not there. Mend these rows and run `manage.py runbook resume`; or go back "
            "with `manage.py runbook undo`."
        ),
    )


def _statement(sql: str, error: Exception) -> str:
    if not sql or not isinstance(error, DatabaseError):
        return ""
    return "\n" + _("The statement was: %(sql)s") % {"sql": sql}
