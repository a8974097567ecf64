"""Wagtail's whole history, on a server that is killed with SIGKILL in the midst of it and started again.

Its settings are durable, but its files are in memory: what has been written is there after the death of the
process, synced or not. That what a commit has synced survives a power cut too, is the server's own promise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from drills import Drill, Reference
from private_server import PrivateServer
from sampling import some_cases_in_ci
from witnesses import WITNESSES

REACH = {"mariadb": 1200, "postgresql": 600}
"""Moments that each process has at most until the server dies."""


@pytest.mark.parametrize("kind", some_cases_in_ci(list(REACH)))
def test_a_history_on_a_killed_server_ends_as_if_it_had_not_been(
    make_drill: Callable[[str], Drill],
    reference: Callable[[str], Reference],
    start_logging_server: Callable[[str], PrivateServer],
    kind: str,
):
    """By what the server witnessed of effects, which it brings over its death, none took place twice."""
    wanted, drill, server = reference(kind), make_drill(kind), start_logging_server(kind)
    witness = WITNESSES[kind](drill.database)
    drill.database.connection.close()
    with started_at_the_end(server):
        while drill.disturb(REACH[kind], server.kill):
            server.start()
    drill.finish()
    print(drill)  # noqa: T201 - for pytest -rP
    wanted.assert_same(drill, witness.effects())
    assert len(drill.cuts) >= 3


@contextmanager
def started_at_the_end(server: PrivateServer) -> Iterator[None]:
    try:
        yield
    finally:
        if server.process is None:
            server.start()
