"""The run journal: the append-only truth about steps, and `replay`, which folds it into a state.

One JSON object a line, each with the hash of the line before. It lies outside the database, so a restore
does not rewind it, and it can be read while the database is down.
"""

from django_runbook.journal.entries import Entry, Event
from django_runbook.journal.file import JOURNAL_FILE, Journal, find_runs, is_held, read_journal
from django_runbook.journal.state import (
    FOLDS,
    RUN_WORDS,
    RunState,
    RunStatus,
    StepState,
    StepStatus,
    fold,
    replay,
)
from django_runbook.journal.unfinished import unfinished_ids

__all__ = [
    "FOLDS",
    "JOURNAL_FILE",
    "RUN_WORDS",
    "Entry",
    "Event",
    "Journal",
    "RunState",
    "RunStatus",
    "StepState",
    "StepStatus",
    "find_runs",
    "fold",
    "is_held",
    "read_journal",
    "replay",
    "unfinished_ids",
]
