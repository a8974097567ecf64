"""Old backups: which are kept, and how the others go."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django_runbook.backups.manifest import Level, Manifest
from django_runbook.backups.unfinished import partial_of
from django_runbook.files import remove, sync_folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What backups are kept for; one that no rule keeps is removed, and without a rule all are kept."""

    last: int | None = None
    """So many, the newest."""
    days: int | None = None
    """For so long."""


def outlived(
    backups: Sequence[Manifest], new: Manifest, rules: Rules, *, unfinished: Collection[str], now: datetime
) -> list[Manifest]:
    """Those of `backups`, all newest first, that may go now that `new` is there.

    Never one of another database, of a run in `unfinished`, or the newest that is proven.
    """
    if rules.last is None and rules.days is None:
        return []
    same = [it for it in backups if it.identity == new.identity]
    proven = [it for it in same if it.level is Level.PROVEN]
    kept = [new, *proven[:1], *same[: rules.last or 0]]
    kept += [it for it in same if it.run_id and it.run_id in unfinished]
    if rules.days is not None:
        kept += [it for it in same if now - it.created < timedelta(days=rules.days)]
    paths = {it.path for it in kept}
    return [it for it in same if it.path not in paths]


def remove_backup(manifest: Manifest) -> None:
    """Remove a backup. It ends to be one in the first step, in which its manifest loses its name.

    The other order, dump first, would for a moment leave a manifest that describes nothing, and a removal of
    the manifest alone a dump that nobody knows. By the partial name `sweep` finds what is left of this if it
    is cut off.
    """
    partial = partial_of(manifest.path)
    manifest.path.rename(partial)
    sync_folder(manifest.path.parent)
    remove(manifest.dump_path)
    remove(partial)
