"""A backup with what goes before and after it: leftovers are swept, it is copied, and old ones go."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from django_runbook.backups.manifest import Manifest, find_backups
from django_runbook.backups.progress import Report, Stage, report_nothing
from django_runbook.backups.retention import Rules, outlived, remove_backup
from django_runbook.backups.storage import store, unstore
from django_runbook.backups.terms import Terms
from django_runbook.backups.unfinished import sweep
from django_runbook.backups.writing import make_backup
from django_runbook.conf import keep_days, keep_last
from django_runbook.databases import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A new backup, and what became of older ones."""

    manifest: Manifest
    storage: str
    """Alias of the storage that has a copy; empty if none has."""
    swept: tuple[str, ...]
    """What killed backups had left, by name."""
    removed: tuple[str, ...]
    """Older backups that nothing kept, by name."""
    not_removed: tuple[str, ...]
    """Those of them that the operating system did not let go."""

    def facts(self) -> dict[str, Any]:
        """What a journal says of it."""
        manifest = self.manifest
        facts = {
            "backup": str(manifest.path),
            "file": str(manifest.dump_path),
            "bytes": manifest.bytes,
            "sha256": manifest.sha256,
            "dumper": manifest.dumper,
            "dumper_reason": manifest.dumper_reason,
            "level": manifest.level,
            "level_reason": manifest.level_reason,
            "dump_seconds": manifest.dump_seconds,
            "restore_seconds": manifest.restore_seconds,
        }
        if self.storage:
            facts["storage"] = self.storage
        lists = {"swept": self.swept, "removed": self.removed, "not_removed": self.not_removed}
        return {**facts, **{name: list(names) for name, names in lists.items() if names}}


def take_backup(
    database: Database,
    folder: Path,
    *,
    terms: Terms,
    unfinished: Collection[str],
    run_id: str = "",
    applied: Sequence[tuple[str, str]] = (),
    now: datetime,
    report: Report = report_nothing,
) -> Taken:
    """Sweep `folder`, take a backup, copy it, and remove those that it and the settings make superfluous.

    `unfinished` are ids of runs, whose backups stay. Raise what `make_backup` raises, with nothing removed
    but leftovers; a backup that cannot be removed is told, and no failure: the new one is there.
    """
    rules = Rules(last=keep_last(), days=keep_days())
    swept = sweep(folder)
    manifest = make_backup(
        database, folder, terms=terms, run_id=run_id, applied=applied, now=now, report=report
    )
    if terms.storage:
        report(Stage.COPYING, 0)
        store(manifest, terms.storage)
    old = outlived(find_backups(folder), manifest, rules, unfinished=unfinished, now=now)
    gone = [it for it in old if _is_removed(it, terms.storage)]
    return Taken(
        manifest=manifest,
        storage=terms.storage,
        swept=tuple(swept),
        removed=tuple(it.file for it in gone),
        not_removed=tuple(it.file for it in old if it not in gone),
    )


def _is_removed(manifest: Manifest, storage: str) -> bool:
    """From the storage first: what cannot be removed there is known here, and tried again the next time."""
    with suppress(Exception):  # of a storage any
        if storage:
            unstore(manifest, storage)
        remove_backup(manifest)
    return not manifest.path.exists()
