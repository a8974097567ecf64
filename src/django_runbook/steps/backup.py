"""Take a backup of the whole database."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from django.utils.translation import gettext as _

from django_runbook.backups import take_backup, terms_for
from django_runbook.journal import unfinished_ids
from django_runbook.steps.base import Context, Place, Step


class Backup(Step):
    """Dump the database with its own client program, and prove the dump by a restore."""

    repeatable = True

    def declaration(self) -> str:
        return "Backup()"

    def after(self, place: Place) -> Place:
        return replace(place, backed_up=True)

    def reason(self, place: Place) -> str:
        return _("the way back, before the first change")

    def run(self, context: Context) -> Mapping[str, Any]:
        taken = take_backup(
            context.database,
            context.backups,
            terms=terms_for(context.database),
            unfinished=unfinished_ids(context.folder.parent),
            run_id=context.run_id,
            applied=sorted(context.place.recorded),
            now=context.now(),
            report=lambda stage, size: context.progress(bytes=size) if size else None,
        )
        shutil.copy2(taken.manifest.path, context.folder / "backup.manifest.json")
        return taken.facts()
