#!/usr/bin/env python
"""Move every service under the default sous-direction of its direction, in one transaction.

To be run once the migrations 0033 and 0034 are applied. A second run finds nothing left to do. If anything
fails, nothing is changed, and the exit code is not 0.
"""

from __future__ import annotations

import os
import sys

import django
from core.organisation import STILL_TO_MOVE, attach_services, create_default_sous_directions
from django.db import DatabaseError, transaction
from django.db.models import Count

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ediligence.settings")
django.setup()

from core.models import Direction, Service, SousDirection  # noqa: E402 - they need the set-up


class NotMoved(Exception):
    """Services are left that the move should have taken; the message says how many."""


def main() -> int:
    try:
        created, moved = move_services()
    except (DatabaseError, NotMoved) as error:
        print(f"Échec, rien n'a été changé : {error}", file=sys.stderr)
        return 1
    print_tree()
    print(f"\nSous-directions créées : {created}. Services déplacés : {moved}.")
    return 0


@transaction.atomic
def move_services() -> tuple[int, int]:
    """Return how many sous-directions were created and how many services moved."""
    created = create_default_sous_directions(SousDirection, Direction, Service)
    moved = attach_services(Service.objects.filter(STILL_TO_MOVE))
    if left := Service.objects.filter(STILL_TO_MOVE).count():
        raise NotMoved(f"{left} service(s) sans sous-direction.")
    return created, moved


def print_tree() -> None:
    """Print the organisation chart: Direction → Sous-direction → number of services."""
    sous_directions = SousDirection.objects.annotate(size=Count("services")).order_by(
        "direction__nom", "nom", "pk"
    )
    direction = None
    for sous_direction in sous_directions.select_related("direction"):
        if sous_direction.direction != direction:
            direction = sous_direction.direction
            print(direction)
        print(f"  → {sous_direction} → {sous_direction.size} service(s)")


if __name__ == "__main__":
    sys.exit(main())
