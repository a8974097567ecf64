"""The shared logic of the data move, on each database."""

from __future__ import annotations

import json
from typing import Any

from example_project import Project

PROLOGUE = """
import json
from core.models import Direction, Service, SousDirection
from core.organisation import STILL_TO_MOVE, attach_services, create_default_sous_directions

def create_defaults():
    return create_default_sous_directions(SousDirection, Direction, Service)

def attach():
    return attach_services(Service.objects.filter(STILL_TO_MOVE))

def tell(*values):
    print(json.dumps(values))

"""


def told(project: Project, code: str) -> Any:
    """Run code on an up-to-date, empty database and return what it `tell`s."""
    project.manage("migrate", "-v", "0")
    return json.loads(project.python(PROLOGUE + code))


def test_only_directions_with_services_to_move_get_a_sous_direction(project: Project) -> None:
    assert told(
        project,
        """
busy, moved, empty = (Direction.objects.create(nom=nom) for nom in ("Santé", "Forêt", "Vide"))
Service.objects.create(nom="Accueil", direction=busy)
other = SousDirection.objects.create(nom="Autre", direction=moved)
Service.objects.create(nom="Accueil", direction=moved, sous_direction=other)
created = create_defaults(), create_defaults()
tell(created, list(SousDirection.objects.order_by("nom").values_list("nom", "direction__nom")))
""",
    ) == [[1, 0], [["Autre", "Forêt"], ["Services Santé", "Santé"]]]


def test_a_sous_direction_that_has_the_default_name_already_is_taken(project: Project) -> None:
    assert told(
        project,
        """
direction = Direction.objects.create(nom="Santé")
SousDirection.objects.create(nom="Services Santé", direction=direction)
Service.objects.create(nom="Accueil", direction=direction)
tell(create_defaults(), attach(), Service.objects.get().sous_direction.nom)
""",
    ) == [0, 1, "Services Santé"]


def test_a_long_name_is_cut_to_what_the_column_holds(project: Project) -> None:
    assert told(
        project,
        """
Service.objects.create(nom="Accueil", direction=Direction.objects.create(nom="é" * 200))
created = create_defaults(), create_defaults()
tell(created, attach(), Service.objects.get().sous_direction.nom)
""",
    ) == [[1, 0], 1, "Services " + "é" * 191]


def test_services_without_a_direction_or_without_its_default_are_left_alone(project: Project) -> None:
    assert told(
        project,
        """
Service.objects.create(nom="Sans direction")
Service.objects.create(nom="Accueil", direction=Direction.objects.create(nom="Santé"))
create_defaults()
Service.objects.create(nom="Nouveau", direction=Direction.objects.create(nom="Forêt"))
tell(attach(), sorted(Service.objects.filter(sous_direction=None).values_list("nom", flat=True)))
""",
    ) == [1, ["Nouveau", "Sans direction"]]


def test_only_the_rows_handed_in_are_attached(project: Project) -> None:
    assert told(
        project,
        """
direction = Direction.objects.create(nom="Santé")
pks = [Service.objects.create(nom=nom, direction=direction).pk for nom in "abcd"]
create_defaults()
rows = Service.objects.filter(STILL_TO_MOVE, pk__gte=pks[1], pk__lt=pks[3])
tell(attach_services(rows), [s.nom for s in Service.objects.exclude(sous_direction=None).order_by("pk")])
""",
    ) == [2, ["b", "c"]]
