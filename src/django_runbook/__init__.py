"""Database upgrades of Django projects, in the right order, or not at all."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from django_runbook.databases.joined import update_joined
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
    "update_joined",
]
HOMES = {"Runbook": "django_runbook.runbooks", "update_joined": "django_runbook.databases.joined"}
"""Where public names come from that are no steps."""


def __getattr__(name: str) -> Any:
    """Import the public names when they are used: Django imports this package before its apps are loaded."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(HOMES.get(name, "django_runbook.steps")), name)
