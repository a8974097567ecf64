"""The worked example runs with exactly the rights that the check asks for, and is refused without one."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from example_project import Ended, Project

LEAST = ("SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "ALTER", "INDEX", "EVENT")
"""On MariaDB, for the whole database."""
PASSWORD = "little"
Run = Callable[..., Ended]


@pytest.fixture
def run_as(request: pytest.FixtureRequest, make_project: Callable[[str], Project]) -> Iterator[Run]:
    """Call it with what a new user gets, and a command, which then runs as that user."""
    project = make_project(request.param).at_0032()
    server, name = project.place.server, project.place.name
    user = f"u{name[-8:]}"
    host = "@'%'" if request.param == "mariadb" else ""

    def run(statements: list[str], *command: str, check: bool = True) -> Ended:
        password = f"IDENTIFIED BY '{PASSWORD}'" if host else f"PASSWORD '{PASSWORD}'"
        server.sql(f"CREATE USER {user}{host} {password}")
        for statement in statements:
            server.sql(statement.format(user=user, name=name))
        with project.serve() as site:
            url = f"{server.scheme}://{user}:{PASSWORD}@{server.host}:{server.port}/{name}"
            return project.manage(
                "runbook", *command, check=check, DATABASE_URL=url, HEALTH_URL=f"{site.url}/sante/"
            )

    yield run
    project.place.drop()
    server.sql(f"DROP USER {user}{host}")


def granted(*rights: str) -> list[str]:
    return [f"GRANT {', '.join(rights)} ON `{{name}}`.* TO {{user}}@'%'"]


@pytest.mark.parametrize("run_as", ["mariadb"], indirect=True)
def test_the_release_runs_with_the_least_rights(run_as: Run) -> None:
    ended = run_as(granted(*LEAST), "run", "sous_directions", "--noinput")
    assert ended.returncode == 0


@pytest.mark.parametrize("run_as", ["mariadb"], indirect=True)
def test_without_one_of_them_the_release_is_refused(run_as: Run) -> None:
    rest = (it for it in LEAST if it != "INDEX")
    ended = run_as(granted(*rest), "run", "sous_directions", "--noinput", check=False)
    assert ended.returncode == 2
    assert "runbook.P112" in ended.stderr
    assert "GRANT INDEX ON" in ended.stderr
