"""runbook.P209: Django sees every folder of migrations."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

from django.db.migrations.loader import MigrationLoader
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_runbook.databases import Database
from django_runbook.preflight.base import Check, Finding, Severity
from django_runbook.schema.files import shown
from django_runbook.schema.graph import read_graph


def check_unseen_files(database: Database) -> Iterator[Finding]:
    """Without __init__.py the folder is passed over in silence, and the app counts as one without migrations.

    An error if migrations of the app are applied here, or if others depend on them.
    """
    graph = read_graph(database)
    for app, folder in sorted(graph.files.unseen.items()):
        is_needed = any(key[0] == app for key in (*graph.recorded, *graph.missing))
        yield Finding(
            id="runbook.P209",
            severity=Severity.ERROR if is_needed else Severity.WARNING,
            subject=app,
            message=_(
                "Django passes over the migrations of app '%(app)s': the folder %(folder)s has no "
                "__init__.py, or one that cannot be imported."
            )
            % {"app": app, "folder": shown(folder)},
            hint=_hint(app, folder),
            examples=tuple(sorted(path.name for path in folder.glob("[0-9]*.py"))[:5]),
        )


def _hint(app: str, folder: Path) -> str:
    package = folder / "__init__.py"
    if not package.exists():
        return f"touch {shlex.quote(shown(package))}"
    name, _explicit = MigrationLoader.migrations_module(app)
    return _("To see why it cannot be imported: `%(command)s`") % {
        "command": f'manage.py shell -c "import {name}"'
    }


CHECK = Check(
    id="runbook.P209",
    title=gettext_lazy("Django sees every folder of migrations"),
    look=check_unseen_files,
    bars_plan=True,
    suppressible=False,
)
