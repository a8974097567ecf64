"""The sample data."""

from __future__ import annotations

import json

import pytest
from example_project import Project

COUNTS = """
import json
from core.models import Direction, Service
print(json.dumps({
    "services": Service.objects.count(),
    "orphans": Service.objects.filter(direction=None).count(),
    "empty directions": Direction.objects.filter(services=None).count(),
    "names": Service.objects.values("nom").distinct().count(),
}))
"""


def test_the_old_schema_is_seeded_with_a_direction_for_every_service(project: Project) -> None:
    project.at_0032(services=600).manage("migrate")
    counts = json.loads(project.python(COUNTS))
    assert counts["services"] == 600
    assert counts["orphans"] == 0
    assert counts["empty directions"] == 1
    assert counts["names"] < 300  # directions have services of the same names


def test_the_new_schema_gets_services_without_direction_too(project: Project) -> None:
    project.manage("migrate")
    project.manage("seed_organisation", "--services", "600")
    counts = json.loads(project.python(COUNTS))
    assert counts["services"] == 600
    assert 0 < counts["orphans"] < 60


@pytest.mark.parametrize("project", ["sqlite"], indirect=True)
def test_the_same_seed_gives_the_same_data(project: Project) -> None:
    project.manage("migrate")
    dumps = []
    for seed in ("7", "7", "8"):
        project.manage("flush", "--noinput")
        project.manage("seed_organisation", "--services", "100", "--seed", seed)
        dumps.append(project.manage("dumpdata", "core", "auth.User").stdout)
    assert dumps[0] == dumps[1]
    assert dumps[0] != dumps[2]


@pytest.mark.parametrize("project", ["sqlite"], indirect=True)
def test_a_database_with_services_is_refused_unless_told_to_append(project: Project) -> None:
    project.at_0032()
    refused = project.manage("seed_organisation", check=False)
    assert refused.returncode == 1
    assert refused.stderr == "CommandError: Il y a déjà des services ; --append en ajoute.\n"
    added = project.manage("seed_organisation", "--append", "--services", "50")
    assert added.stdout == "3 directions, 50 services, 5 agents\n"


@pytest.mark.parametrize("project", ["sqlite"], indirect=True)
def test_an_empty_database_is_refused(project: Project) -> None:
    refused = project.manage("seed_organisation", check=False)
    assert refused.returncode == 1
    assert refused.stderr == (
        "CommandError: La table des services n'existe pas : lancez d'abord « migrate ».\n"
    )
