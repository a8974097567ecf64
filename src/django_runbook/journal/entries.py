"""The lines of a run journal, and the chain that makes an edit visible."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from django.utils.translation import gettext as _

from django_runbook.exceptions import JournalDamaged

NO_HASH = "0" * 64
"""What the first line's hash builds on."""


class Event(StrEnum):
    """What a line of the journal says."""

    OPENED = "opened"
    """The run exists: its plan, its database and the migrations applied before it."""
    MEASURED = "measured"
    """What invariants of the kind "as before the run" will be compared with."""
    RESUMED = "resumed"
    """The run goes on; carries the plan as it reads now."""
    STARTED = "started"
    """A step is about to act. Without an outcome after it, the process was killed."""
    PROGRESS = "progress"
    """How far a step is; decides nothing."""
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    """A step ended with an error: definitive, nothing is in doubt."""
    INTERRUPTED = "interrupted"
    """The operator stopped a step, and it reported where."""
    FINISHED = "finished"
    """All steps have succeeded. Closes the run."""
    RESTORING = "restoring"
    """The database is about to be replaced by the run's backup."""
    RESTORED = "restored"
    """The database is in the state of the backup. Closes the run."""
    UNDOING = "undoing"
    """What the run did to the database is about to be taken back."""
    UNDONE = "undone"
    """Nothing of the run is left in the database. Closes the run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of a journal."""

    seq: int
    """1 for the first line."""
    at: datetime
    event: Event
    step: str = ""
    """Key of the step it speaks of, or empty for the run."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    hash: str = ""


def chained_hash(body: Mapping[str, Any], previous: str) -> str:
    canonical = json.dumps(body, ensure_ascii=False, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(f"{previous}\n{canonical}".encode()).hexdigest()


def parse_line(line: bytes, number: int, previous: str, path: Path) -> Entry:
    try:
        body = json.loads(line)
        claimed = body.pop("hash")
        if claimed != chained_hash(body, previous) or body["seq"] != number:
            raise ValueError(claimed)
        return Entry(
            seq=number,
            at=datetime.fromisoformat(body["at"]),
            event=Event(body["event"]),
            step=body["step"],
            facts=body["facts"],
            hash=claimed,
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise JournalDamaged(
            _(
                "Line %(number)d of %(path)s does not follow from the lines before it: the file was edited "
                "by hand or damaged. What the run did since cannot be trusted."
            )
            % {"number": number, "path": path},
            move_aside(),
        ) from error


def move_aside() -> str:
    return _(
        "Put the file back as it was and run `manage.py runbook resume`; or restore the run's backup with "
        "`manage.py runbook restore FILE` and move the run's folder away."
    )
