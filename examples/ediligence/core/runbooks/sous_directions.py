"""The release that adds a level to the organisation chart, in the order that makerunbook wrote."""

from core.backfills import MoveServicesToSousDirections
from django_runbook import Backfill, Backup, Export, Migrate, NoRows, Restart, Runbook, Verify


class SousDirections(Runbook):
    """Direction → Sous-direction → Service."""

    steps = [
        # The way back, before the first change.
        Backup(),
        # Create model SousDirection; Alter field direction on service; Alter unique_together for …
        Migrate("core", "0033", defer_indexes=True),
        # The columns exist; nothing demands their values yet.
        Backfill(MoveServicesToSousDirections),
        # No row may be left before the next step relies on it.
        Verify(NoRows("core.Service", direction__isnull=False, sous_direction__isnull=True)),
        # What was left for later: over filled columns it is built in a fraction of the time.
        Migrate("core", "0033"),
        # Alter field role on agent; Add field sous_direction to agent
        Migrate("core", "0034"),
        # What the new data looks like, for the record.
        Export("core.Service", "core.SousDirection"),
        # The schema has what the new code needs.
        Restart("gunicorn"),
    ]
