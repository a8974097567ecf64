"""Room for a backup."""

from __future__ import annotations

import shutil
from pathlib import Path

from django.utils.translation import gettext as _

from django_runbook.backups.unfinished import left_bytes
from django_runbook.databases import Database
from django_runbook.exceptions import Refused

SPACE_MARGIN = 16 * 1024**2


def required_space(database: Database) -> int:
    """Bytes that a backup is expected to need while it is made; a guess on the safe side."""
    size = database.size()
    return size // 2 + (size if database.dumper.copies_first else 0) + SPACE_MARGIN


def refuse_too_little_space(database: Database, folder: Path) -> None:
    """Raise Refused if a backup may not fit. What killed ones have left is removed before it begins."""
    needed = required_space(database)
    free = shutil.disk_usage(existing(folder)).free + left_bytes(folder)
    if free < needed:
        raise Refused(
            _("A backup of database '%(alias)s' needs about %(needed)s in %(folder)s; %(free)s are free.")
            % {
                "alias": database.alias,
                "needed": mebibytes(needed),
                "free": mebibytes(free),
                "folder": folder,
            },
            _("Free some space there, or choose a folder on another disk."),
        )


def existing(folder: Path) -> Path:
    """The nearest folder above that is there."""
    return next(path for path in [folder.absolute(), *folder.absolute().parents] if path.exists())


def mebibytes(size: int) -> str:
    return _("%(size)d MiB") % {"size": -(-size // 1024**2)}
