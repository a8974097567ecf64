"""Data moves that a runbook runs in batches."""

from __future__ import annotations

from typing import Any

from django.apps.registry import Apps
from django.db.models import QuerySet

from core.organisation import STILL_TO_MOVE, attach_services, create_default_sous_directions
from django_runbook import Backfill


class MoveServicesToSousDirections(Backfill):
    """Each service goes under the default sous-direction of its direction."""

    model = "core.Service"
    rows = STILL_TO_MOVE

    def prepare(self, apps: Apps) -> None:
        """Create the sous-directions that the batches need."""
        models = (apps.get_model("core", name) for name in ("SousDirection", "Direction", "Service"))
        create_default_sous_directions(*models)

    def batch(self, rows: QuerySet[Any]) -> int:
        """Attach the services of one key range."""
        return attach_services(rows)
