"""The release that adds a level to the organisation chart."""

from core.backfills import MoveServicesToSousDirections
from django_runbook import Backfill, Backup, Export, Migrate, NoRows, Restart, Runbook, Verify


class SousDirections(Runbook):
    """Direction → Sous-direction → Service."""

    steps = [
        Backup(),
        Migrate("core", "0033"),
        Migrate("core", "0034"),
        Backfill(MoveServicesToSousDirections),
        Verify(NoRows("core.Service", direction__isnull=False, sous_direction__isnull=True)),
        Export("core.Service", "core.SousDirection"),
        Restart("gunicorn"),
    ]
