"""Backups: a database's own dump, compressed, with a manifest that says what is in it.

A backup is a dump, `shop-20260131T120000Z.sql.zst` or a folder, and beside it the same name with
`.manifest.json`. The manifest is written last and both under another name first, so a manifest that is there
describes a dump that is whole.
"""

from __future__ import annotations

from django_runbook.backups.losses import losses
from django_runbook.backups.manifest import Level, Manifest, find_backups, load_manifest, manifest_of
from django_runbook.backups.progress import Stage
from django_runbook.backups.restoring import refuse_connected, refuse_cut_off_restore, restore_backup
from django_runbook.backups.space import mebibytes, refuse_too_little_space, required_space
from django_runbook.backups.storage import fetch_backup
from django_runbook.backups.taking import Taken, take_backup
from django_runbook.backups.terms import Terms, terms_for
from django_runbook.backups.unfinished import make_private_folder
from django_runbook.backups.writing import make_backup

__all__ = [
    "Level",
    "Manifest",
    "Stage",
    "Taken",
    "Terms",
    "fetch_backup",
    "find_backups",
    "load_manifest",
    "losses",
    "make_backup",
    "make_private_folder",
    "manifest_of",
    "mebibytes",
    "refuse_connected",
    "refuse_cut_off_restore",
    "refuse_too_little_space",
    "required_space",
    "restore_backup",
    "take_backup",
    "terms_for",
]
