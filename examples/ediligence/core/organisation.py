"""The data move of the release: every service goes under a default sous-direction of its direction.

Both ways to run it share this code: the hand script with the real models, the runbook's backfill with
historical ones. That is why the model classes are handed in and never imported.
"""

from __future__ import annotations

from typing import Any

from django.db.models import Exists, F, Model, OuterRef, Q, QuerySet, Value
from django.db.models.functions import Concat, Left

from django_runbook import update_joined

STILL_TO_MOVE = Q(direction__isnull=False, sous_direction__isnull=True)
"""Services that have a direction and no sous-direction yet."""


def create_default_sous_directions(
    SousDirection: type[Model], Direction: type[Model], Service: type[Model]
) -> int:
    """Create «Services NOM» in each direction that has services to move; return how many were missing.

    A sous-direction that has this name already is taken as it is: a second call creates nothing.
    """
    moving = Service._default_manager.filter(STILL_TO_MOVE, direction=OuterRef("pk"))
    existing = SousDirection._default_manager.filter(direction=OuterRef("pk"), nom=OuterRef("nom_par_defaut"))
    missing = (
        Direction._default_manager.annotate(nom_par_defaut=_default_name(SousDirection, "nom"))
        .filter(Exists(moving), ~Exists(existing))
        .values_list("pk", "nom_par_defaut")
    )
    created = [SousDirection(nom=name, direction_id=pk) for pk, name in missing]
    SousDirection._default_manager.bulk_create(created, batch_size=1000)
    return len(created)


def attach_services(rows: QuerySet[Any]) -> int:
    """Give each of `rows` its direction's default sous-direction; return the number of rows changed.

    A row whose direction has no default sous-direction keeps what it has, and is not counted.
    """
    SousDirection = rows.model._meta.get_field("sous_direction").related_model
    name = _default_name(SousDirection, "direction__nom")
    return update_joined(
        rows.filter(direction__sous_directions__nom=name), sous_direction=F("direction__sous_directions")
    )


def _default_name(SousDirection: type[Model], direction_name: str) -> Left:
    """Return «Services NOM» as SQL, cut to what the column holds."""
    return Left(
        Concat(Value("Services "), F(direction_name)), SousDirection._meta.get_field("nom").max_length
    )
