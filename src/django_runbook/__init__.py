"""Database upgrades of Django projects, in the right order, or not at all."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from django_runbook.runbooks import Runbook
    from django_runbook.steps import (
        SQL,
        Backfill,
        Backup,
        Command,
        Export,
        Migrate,
        NoRows,
        Restart,
        RowCount,
        Step,
        Verify,
    )

__all__ = [
    "SQL",
    "Backfill",
    "Backup",
    "Command",
    "Export",
    "Migrate",
    "NoRows",
    "Restart",
    "RowCount",
    "Runbook",
    "Step",
    "Verify",
]


def __getattr__(name: str) -> Any:
    """Import the public names when they are used: Django imports this package before its apps are loaded."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = "django_runbook.runbooks" if name == "Runbook" else "django_runbook.steps"
    return getattr(importlib.import_module(home), name)
