"""Servers of their own, with what they write down of statements, and processes that migrate on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from typing import TYPE_CHECKING

import private_server
import pytest
from places import report_missing
from private_server import PrivateServer, ServerMissing

from django_runbook.databases import Database

if TYPE_CHECKING:
    from drills import Drill, Place, Reference
    from processes import Forks


@pytest.fixture(scope="session")
def start_logging_server(request: pytest.FixtureRequest) -> Iterator[Callable[[str], PrivateServer]]:
    """Call it with "mariadb" or "postgresql" to get the server that only the drills know, running."""
    from witnesses import SERVERS

    with ExitStack() as stack:

        @cache
        def start(kind: str) -> PrivateServer:
            server = SERVERS.get(kind, private_server.SERVERS[kind])
            try:
                return stack.enter_context(server(in_memory=True))
            except ServerMissing as error:
                report_missing(request.config, kind, str(error))
                raise

        yield start


@pytest.fixture(scope="session")
def find_fork_server() -> Iterator[Callable[[str, Database], Forks]]:
    """Call it with a kind, and a database of it, to get the session's fork server of that kind."""
    from drills import settings_of
    from processes import fork_server

    servers: dict[str, Forks] = {}
    with ExitStack() as stack:

        def find(kind: str, database: Database) -> Forks:
            if kind not in servers:
                servers[kind] = stack.enter_context(fork_server(settings_of(database)))
            return servers[kind]

        yield find


@pytest.fixture(scope="session")
def make_place(
    start_logging_server: Callable[[str], PrivateServer], tmp_path_factory: pytest.TempPathFactory
) -> Place:
    """A context manager: an empty database of a kind, at its usual alias, until the block ends."""
    from drills import place_of

    return lambda kind: place_of(kind, start_logging_server, tmp_path_factory.mktemp(kind))


@pytest.fixture(scope="session")
def reference(
    make_place: Place, find_fork_server: Callable[[str, Database], Forks]
) -> Callable[[str], Reference]:
    """Call it with a kind of database to know how Django's own `migrate`, undisturbed, leaves it."""
    from drills import Drill, reference_of

    @cache
    def know(kind: str) -> Reference:
        with make_place(kind) as database:
            return reference_of(Drill(find_fork_server(kind, database), database), kind)

    return know


@pytest.fixture
def make_drill(
    make_place: Place, find_fork_server: Callable[[str, Database], Forks], request: pytest.FixtureRequest
) -> Iterator[Callable[[str], Drill]]:
    """Call it with "sqlite", "mariadb" or "postgresql" to get a drill on an empty database."""
    from drills import Drill

    with ExitStack() as stack:

        def make(kind: str) -> Drill:
            database = stack.enter_context(make_place(kind))
            return Drill(find_fork_server(kind, database), database, request.node.name)

        yield make
