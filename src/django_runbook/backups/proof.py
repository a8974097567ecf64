"""Prove a backup: restore it where nothing is, and compare."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.utils.translation import gettext as _

from django_runbook.backups.choosing import dumper_that_restores
from django_runbook.backups.comparing import differences
from django_runbook.backups.manifest import Manifest
from django_runbook.backups.streams import load_dump
from django_runbook.databases import Database
from django_runbook.databases.scratch import scratch_of
from django_runbook.exceptions import BackupFailed, RestoreFailed


def prove(
    manifest: Manifest, path: Path, database: Database, *, jobs: int = 1, identities: Sequence[Any] = ()
) -> float:
    """Restore the dump at `path` into a scratch database; return the seconds that it took.

    Raise BackupFailed if it cannot be restored, or is then not what the manifest says.
    """
    with scratch_of(database) as scratch:
        began = time.monotonic()
        try:
            dumper = dumper_that_restores(manifest, scratch)
            load_dump(dumper, path, jobs=jobs, identities=identities)
        except RestoreFailed as exc:
            raise BackupFailed(
                _("The backup of database '%(alias)s' cannot be restored: %(why)s")
                % {"alias": database.alias, "why": exc.message},
                _("The database was not changed. No backup was kept."),
            ) from exc
        seconds = time.monotonic() - began
        found = differences(manifest, scratch)
    if found:
        raise BackupFailed(
            _("The backup of database '%(alias)s' is not what the database was: %(differences)s.")
            % {"alias": database.alias, "differences": "; ".join(found)},
            _("The database was not changed. No backup was kept."),
        )
    return seconds
