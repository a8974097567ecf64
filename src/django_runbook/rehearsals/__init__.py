"""Rehearsals: the very same plan on a restored copy of the database, measured."""

from __future__ import annotations

from django_runbook.rehearsals.certificates import (
    Certificate,
    StepMeasure,
    find_certificate,
    refuse_unrehearsed,
)
from django_runbook.rehearsals.performing import backup_to_rehearse, rehearse, steps_left_out

__all__ = [
    "Certificate",
    "StepMeasure",
    "backup_to_rehearse",
    "find_certificate",
    "refuse_unrehearsed",
    "rehearse",
    "steps_left_out",
]
