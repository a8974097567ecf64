"""`n = n + 1` over many rows, on a server that is killed with SIGKILL in its midst and started again."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from harvest import Pace, make_run
from places import ALIASES, empty_database, pointed_at, report_missing
from private_server import PrivateServer, ServerMissing, private_server
from test_killed_backfills import SESSION_KILLED, drill, fill_sheaves, outcome

from django_runbook.databases import Database

ROWS, KILLS = (6000, 3) if os.environ.get("CI") else (60_000, 30)
MOST = 4
"""Times KILLS."""


@pytest.fixture(params=["mariadb", "postgresql"])
def server(request: pytest.FixtureRequest) -> Iterator[PrivateServer]:
    """A server of its own: the session's has other databases."""
    try:
        with private_server(request.param, in_memory=True) as server:
            yield server
    except ServerMissing as error:
        report_missing(request.config, request.param, str(error))


@pytest.fixture
def mortal(server: PrivateServer, request: pytest.FixtureRequest) -> Iterator[Database]:
    kind = request.node.callspec.params["server"]
    with empty_database(server) as place, pointed_at(ALIASES[kind], place) as database:
        yield database


def test_every_row_is_done_once_however_often_the_server_is_killed(
    mortal: Database, server: PrivateServer, tmp_path: Path
):
    """As often as it takes to hit a batch, too: the process stands still while its server dies."""
    fill_sheaves(mortal, ROWS)
    mortal.connection.close()

    def kill_server(pid: int, session: str) -> None:
        os.kill(pid, signal.SIGSTOP)
        server.kill()
        os.kill(pid, signal.SIGCONT)

    with drill(mortal, tmp_path, rows=ROWS, kills=MOST * KILLS) as lives:
        while lives.cuts < KILLS or not lives.killed_in_batches:
            assert lives.cuts < MOST * KILLS
            lives.live(kill_server, SESSION_KILLED)
            server.start()
    make_run(mortal, pace=Pace(target=0.1)).execute()
    assert outcome(mortal) == {1: ROWS}
