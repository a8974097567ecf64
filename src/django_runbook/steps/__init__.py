"""The built-in steps, one file each."""

from django_runbook.steps.backfill import Backfill
from django_runbook.steps.backup import Backup
from django_runbook.steps.base import Context, Place, Problem, Step
from django_runbook.steps.command import Command
from django_runbook.steps.export import Export
from django_runbook.steps.migrate import Migrate
from django_runbook.steps.restart import Restart
from django_runbook.steps.verify import SQL, NoRows, RowCount, Verify

__all__ = [
    "SQL",
    "Backfill",
    "Backup",
    "Command",
    "Context",
    "Export",
    "Migrate",
    "NoRows",
    "Place",
    "Problem",
    "Restart",
    "RowCount",
    "Step",
    "Verify",
]
