"""Take a backup of the whole database."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from django.utils.translation import gettext as _

from django_runbook.backups import make_backup
from django_runbook.steps.base import Context, Place, Step


class Backup(Step):
    """Dump the database with its own client program, compressed and checksummed."""

    repeatable = True

    def declaration(self) -> str:
        return "Backup()"

    def after(self, place: Place) -> Place:
        return replace(place, backed_up=True)

    def reason(self, place: Place) -> str:
        return _("the way back, before the first change; checksummed, not proven by a restore")

    def run(self, context: Context) -> Mapping[str, Any]:
        manifest = make_backup(
            context.database,
            context.backups,
            run_id=context.run_id,
            applied=sorted(context.place.applied),
            now=context.now(),
        )
        shutil.copy2(manifest.path, context.folder / "backup.manifest.json")
        return {
            "backup": str(manifest.path),
            "file": str(manifest.dump_path),
            "bytes": manifest.bytes,
            "sha256": manifest.sha256,
            "level": manifest.level,
        }
