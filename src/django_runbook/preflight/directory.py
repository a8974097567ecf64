"""runbook.P101: the run directory can be written."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from django_runbook.conf import run_directory
from django_runbook.databases import Database
from django_runbook.preflight.base import Check, Finding, Severity


def check_directory(database: Database) -> Iterator[Finding]:
    """The journal must be written before anything happens."""
    directory = run_directory()
    nearest = _nearest_existing(directory)
    if nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK) and not _read_only(nearest):
        return
    yield Finding(
        id="runbook.P101",
        severity=Severity.ERROR,
        message=_("The run directory %(directory)s cannot be written.") % {"directory": directory},
        hint=_('Give this user write access to %(nearest)s, or set RUNBOOK["DIR"] to another folder.')
        % {"nearest": nearest},
    )


def _nearest_existing(path: Path) -> Path:
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def _read_only(path: Path) -> bool:
    return bool(os.statvfs(path).f_flag & os.ST_RDONLY)


CHECK = Check(
    id="runbook.P101",
    title=gettext_lazy("the run directory can be written"),
    look=check_directory,
    suppressible=False,
)
