"""The procedure by hand: what it warns of, and what it does."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from example_project import Project

UNKNOWN_COLUMN = {
    "sqlite": "no such column: core_service.sous_direction_id",
    "mariadb": "(1054, \"Unknown column 'core_service.sous_direction_id'",
    "postgresql": "column core_service.sous_direction_id does not exist",
}
BACKUP = {"sqlite": "base.sqlite3", "mariadb": "base.sql", "postgresql": "base.dump"}


def test_an_export_before_the_migrations_fails(project: Project) -> None:
    ended = project.at_0032().manage("dumpdata", "core.Service", check=False)
    assert ended.returncode == 1
    assert UNKNOWN_COLUMN[project.kind] in ended.stderr


def test_the_procedure_moves_every_service(project: Project) -> None:
    ended = project.at_0032(services=200).by_hand()
    assert "Sous-directions créées : 4. Services déplacés : 200." in ended.stdout
    assert "→ Services Direction" in ended.stdout
    backups = project.folder / "var/sauvegardes"
    assert (backups / BACKUP[project.kind]).stat().st_size > 10_000
    services = json.loads((backups / "backup_services.json").read_text(encoding="utf-8"))
    assert len(services) == 200
    assert all(service["fields"]["sous_direction"] for service in services)
    assert len(json.loads((backups / "backup_sousdirections.json").read_text(encoding="utf-8"))) == 4


@pytest.mark.parametrize("project", ["sqlite"], indirect=True)
def test_the_script_run_twice_changes_nothing_more(project: Project) -> None:
    project.at_0032().manage("migrate")
    assert "Services déplacés : 200." in project.move_services().stdout
    again = project.move_services().stdout
    assert "Sous-directions créées : 0. Services déplacés : 0." in again


@pytest.mark.parametrize("project", ["sqlite"], indirect=True)
def test_the_script_before_the_migrations_fails_and_says_so(project: Project) -> None:
    ended = project.at_0032().move_services(check=False)
    assert ended.returncode == 1
    assert ended.stderr.startswith("Échec, rien n'a été changé : ")
    assert ended.stdout == ""


@pytest.mark.parametrize("project", ["mariadb"], indirect=True)
def test_the_script_failing_half_way_changes_nothing(project: Project) -> None:
    """Two services of one name under one direction cannot both go under its default sous-direction."""
    project.at_0032().manage("migrate")
    project.python("""
from core.models import Service
service = Service.objects.first()
service.pk = None
service.save()
""")
    ended = project.move_services(check=False)
    assert ended.returncode == 1
    assert "Échec, rien n'a été changé" in ended.stderr
    assert project.python("from core.models import *; print(SousDirection.objects.count())") == "0\n"


def test_the_procedure_stops_at_the_first_failure(project: Project) -> None:
    project.at_0032()
    (project.folder / "core/migrations/0033_sous_direction.py").unlink()
    ended = project.by_hand(check=False)
    assert ended.returncode == 1
    assert "== 3." not in ended.stdout


@pytest.mark.parametrize("project", ["sqlite"], indirect=True)
def test_the_procedure_restarts_gunicorn(project: Project) -> None:
    with project.at_0032().serve() as site:
        old = workers(site.pid)
        project.by_hand()
        deadline = time.monotonic() + 30
        while workers(site.pid) & old and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not workers(site.pid) & old
        assert site.get("/api/services/").json["count"] == 200


def workers(pid: int) -> set[str]:
    return set(Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
