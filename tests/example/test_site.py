"""The site as its users meet it: gunicorn, the API, the health page, the administration."""

from __future__ import annotations

import pytest
from example_project import Project, Site

USER = ("zoé", "motdepasse")


@pytest.fixture
def ready(project: Project) -> Project:
    """The project after the release, with a user."""
    project.at_0032().manage("migrate")
    project.move_services()
    project.manage(
        "createsuperuser",
        "--noinput",
        f"--username={USER[0]}",
        "--email=zoe@ediligence.example",
        DJANGO_SUPERUSER_PASSWORD=USER[1],
    )
    return project


def test_the_health_page_tells_a_database_behind_the_code(project: Project) -> None:
    with project.at_0032().serve() as site:
        answer = site.get("/sante/")
        assert answer.status == 503
        assert answer.json == {
            "status": "behind",
            "message": "La base de données est en retard sur le code.",
            "pending": ["core.0033_sous_direction", "core.0034_agent_sous_direction"],
        }
        project.manage("migrate")
        assert site.get("/sante/").status == 200
        assert site.get("/health/").json == {"status": "ok", "message": "Tout va bien.", "pending": []}


@pytest.mark.parametrize("project", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "url", ["sqlite:////nowhere/db.sqlite3", "mysql://u:p@127.0.0.1:1/db", "postgresql://u:p@127.0.0.1:1/db"]
)
def test_the_health_page_tells_a_database_that_does_not_answer(project: Project, url: str) -> None:
    code = "from django.test import Client; answer = Client().get('/sante/', headers={'host': 'localhost'})"
    printed = project.manage(
        "shell",
        "-v",
        "0",
        "-c",
        f"{code}; print(answer.status_code, answer.content.decode())",
        DATABASE_URL=url,
    )
    assert printed.stdout == (
        '503 {"status": "unreachable", "message": "La base de données ne répond pas.", "pending": []}\n'
    )


def test_the_api_reads_and_writes(ready: Project) -> None:
    with ready.serve() as site:
        answers_with_the_hierarchy(site)
        writes_for_authenticated_users_only(site)
        refuses_to_delete_what_is_in_use(site)


def answers_with_the_hierarchy(site: Site) -> None:
    assert site.get("/api/services/").json["count"] == 200
    service = site.get("/api/services/1/").json
    sous_direction = site.get(f"/api/sous-directions/{service['sous_direction']}/").json
    direction = site.get(f"/api/directions/{sous_direction['direction']}/").json
    assert service["direction"] == direction["id"]
    assert sous_direction["nom"] == f"Services {direction['nom']}"


def writes_for_authenticated_users_only(site: Site) -> None:
    new = {"nom": "Pôle des œuvres", "sous_direction": 1, "direction": 2}
    assert site.request("POST", "/api/services/", new).status in (401, 403)
    created = site.request("POST", "/api/services/", new, user=USER)
    assert created.status == 201
    assert created.json["direction"] == site.get("/api/sous-directions/1/").json["direction"]
    assert site.request("POST", "/api/services/", new, user=USER).status == 400
    assert site.request("POST", "/api/services/", {"nom": "Seul"}, user=USER).json == {
        "sous_direction": ["Ce champ est obligatoire."]
    }
    fields = site.request("OPTIONS", "/api/services/", user=USER).json["actions"]["POST"]
    assert fields["direction"]["read_only"]
    assert fields["direction"]["help_text"].startswith("Obsolète")


def refuses_to_delete_what_is_in_use(site: Site) -> None:
    direction = site.request("POST", "/api/directions/", {"nom": "Direction de l'été"}, user=USER).json["id"]
    new = {"nom": "Études", "direction": direction}
    sous_direction = site.request("POST", "/api/sous-directions/", new, user=USER).json["id"]
    new = {"nom": "Bureau", "sous_direction": sous_direction}
    service = site.request("POST", "/api/services/", new, user=USER).json["id"]

    refused = site.request("DELETE", f"/api/sous-directions/{sous_direction}/", user=USER)
    assert refused.status == 409
    assert refused.json == {
        "detail": "Impossible de supprimer « Études » (sous-direction) : en dépendent 1 service."
    }
    assert site.request("DELETE", f"/api/directions/{direction}/", user=USER).status == 409
    for path in (f"services/{service}", f"sous-directions/{sous_direction}", f"directions/{direction}"):
        assert site.request("DELETE", f"/api/{path}/", user=USER).status == 204


@pytest.mark.parametrize("project", ["sqlite"], indirect=True)
def test_every_page_of_the_administration_opens(ready: Project) -> None:
    printed = ready.python("""
from django.contrib.auth.models import User
from django.test import Client
client = Client(headers={"host": "localhost"})
client.force_login(User.objects.get(is_superuser=True))
for name in ("direction", "sousdirection", "service", "agent"):
    for page in ("", "add/", "1/change/", "?q=santé"):
        print(client.get(f"/admin/core/{name}/{page}").status_code)
""")
    assert set(printed.split()) == {"200"}
