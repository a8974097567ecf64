"""What every test may ask for: an empty database on each server.

`database` runs a test three times, on SQLite, MariaDB and PostgreSQL. A test for some of them says which:

    @pytest.mark.parametrize("database", ["mariadb", "postgresql"], indirect=True)

The servers are private to the test session and start when the first test asks. One that is not installed
skips its tests and is named at the end of the session; with CI in the environment it is an error.

`project` is the worked example on each of them, to be run by real processes; see example_project.py.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import django
import pytest
from example_project import ExampleProjects, Project
from places import ALIASES, empty_database, missing_servers, pointed_at, report_missing
from private_pooler import PgBouncer, private_pooler
from private_server import PrivateServer, ServerMissing, private_server
from warm_python import warm_python

from django_runbook.databases import Database


def pytest_configure() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings")
    django.setup()


@pytest.fixture(params=list(ALIASES))
def database(request: pytest.FixtureRequest, make_database: Callable[[str], Database]) -> Database:
    """An empty database of each kind, for this test alone."""
    return make_database(request.param)


@pytest.fixture
def make_database(
    start_server: Callable[[str], PrivateServer], tmp_path: Path
) -> Iterator[Callable[[str], Database]]:
    """Call it with "sqlite", "mariadb" or "postgresql" to get an empty database, at its usual alias."""
    with ExitStack() as stack:

        def make(kind: str) -> Database:
            if kind == "sqlite":
                place: dict[str, Any] = {"NAME": str(tmp_path / "db.sqlite3")}
            else:
                place = stack.enter_context(empty_database(start_server(kind)))
            return stack.enter_context(pointed_at(ALIASES[kind], place))

        yield make


@pytest.fixture(scope="session")
def start_server(request: pytest.FixtureRequest) -> Iterator[Callable[[str], PrivateServer]]:
    """Call it with "mariadb" or "postgresql" to get the session's server of that kind, running."""
    servers: dict[str, PrivateServer] = {}
    with ExitStack() as stack:

        def start(kind: str) -> PrivateServer:
            if kind not in servers:
                try:
                    servers[kind] = stack.enter_context(private_server(kind, in_memory=True))
                except ServerMissing as error:
                    report_missing(request.config, kind, str(error))
            return servers[kind]

        yield start


@pytest.fixture
def start_pooler(
    request: pytest.FixtureRequest, start_server: Callable[[str], PrivateServer]
) -> Iterator[Callable[..., PgBouncer]]:
    """Call it with a pool mode, and settings, to get a PgBouncer before the session's PostgreSQL server."""
    with ExitStack() as stack:

        def start(mode: str, **settings: object) -> PgBouncer:
            try:
                return stack.enter_context(private_pooler(start_server("postgresql"), mode, **settings))
            except ServerMissing as error:
                report_missing(request.config, "pgbouncer", str(error))
                raise

        yield start


@pytest.fixture(params=list(ALIASES))
def project(request: pytest.FixtureRequest, make_project: Callable[[str], Project]) -> Project:
    """The example project on each kind of database; on some of them with `indirect=True`."""
    return make_project(request.param)


@pytest.fixture
def make_project(example_projects: ExampleProjects) -> Iterator[Callable[[str], Project]]:
    """Call it with "sqlite", "mariadb" or "postgresql" to get the example project on an empty database."""
    with ExitStack() as stack:
        yield lambda kind: stack.enter_context(example_projects.make_project(kind))


@pytest.fixture(scope="session")
def example_projects(
    tmp_path_factory: pytest.TempPathFactory, start_server: Callable[[str], PrivateServer]
) -> Iterator[ExampleProjects]:
    with ExitStack() as stack:
        python = cache(lambda: stack.enter_context(warm_python()))
        yield ExampleProjects(tmp_path_factory.mktemp("ediligence"), start_server, python)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for kind, why in config.stash.get(missing_servers, {}).items():
        terminalreporter.write_sep("!", f"NOT TESTED: {kind}", red=True, bold=True)
        terminalreporter.write_line(why, red=True)


@pytest.fixture(autouse=True)
def signals_as_before() -> Iterator[None]:
    """No test leaves signals blocked or handled otherwise: the next one that sends some would hang."""
    before = signal_state()
    yield
    assert signal_state() == before


def signal_state() -> tuple[object, ...]:
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    return *handlers, signal.pthread_sigmask(signal.SIG_BLOCK, [])
