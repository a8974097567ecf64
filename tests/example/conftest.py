"""The example project for a test, on each kind of database or on one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from example_project import ExampleProjects, Project
from private_server import PrivateServer


@pytest.fixture(scope="session")
def example_projects(
    tmp_path_factory: pytest.TempPathFactory, start_server: Callable[[str], PrivateServer]
) -> ExampleProjects:
    return ExampleProjects(tmp_path_factory.mktemp("ediligence"), start_server)


@pytest.fixture
def make_project(example_projects: ExampleProjects) -> Iterator[Callable[[str], Project]]:
    """Call it with "sqlite", "mariadb" or "postgresql" to get the project on an empty database."""
    with ExitStack() as stack:
        yield lambda kind: stack.enter_context(example_projects.make_project(kind))


@pytest.fixture(params=["sqlite", "mariadb", "postgresql"])
def project(request: pytest.FixtureRequest, make_project: Callable[[str], Project]) -> Project:
    """The project on each kind of database; one of them with `indirect=True`."""
    return make_project(request.param)
