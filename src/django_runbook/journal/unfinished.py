"""Which runs may still need what they have left."""

from __future__ import annotations

from pathlib import Path

from django_runbook.exceptions import JournalDamaged
from django_runbook.journal.file import find_runs, read_journal
from django_runbook.journal.state import replay


def unfinished_ids(folder: Path) -> frozenset[str]:
    """Ids of the runs in a folder that are not closed, or whose journal does not tell."""
    return frozenset(path.parent.name for path in find_runs(folder) if not _is_closed(path))


def _is_closed(path: Path) -> bool:
    try:
        entries = read_journal(path)
        return bool(entries) and replay(entries).is_closed
    except JournalDamaged:
        return False
