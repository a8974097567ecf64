"""The example project in the state before its release, for tests of the command line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from drill import Drill, HealthPage, at_start
from example_project import Project


@pytest.fixture(params=["sqlite", "mariadb", "postgresql"])
def at_0032(request: pytest.FixtureRequest, make_project: Callable[[str], Project]) -> Project:
    """The project at core.0032 with a hundred services, on each kind of database."""
    return at_start(make_project(request.param))


@pytest.fixture
def on_sqlite(make_project: Callable[[str], Project]) -> Project:
    """The same on SQLite only, for what does not depend on the database."""
    return at_start(make_project("sqlite"))


@pytest.fixture
def start_drill(health_page: HealthPage) -> Iterator[Callable[[Project], Drill]]:
    """Call it with a project to get the drill runbook in it; its processes end with the test."""
    drills: list[Drill] = []

    def start(project: Project) -> Drill:
        drills.append(Drill(project, health_page))
        return drills[-1]

    yield start
    for drill in drills:
        drill.end()


@pytest.fixture
def health_page() -> Iterator[HealthPage]:
    """A page that answers what the test wants."""
    with _serving() as page:
        yield page


@contextmanager
def _serving() -> Iterator[HealthPage]:
    page = HealthPage()
    try:
        yield page
    finally:
        page.close()
