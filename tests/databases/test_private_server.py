from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

import private_server as module
import pytest
from private_server import SERVERS, MariaDB, ServerMissing, private_server

KINDS = pytest.mark.parametrize("kind", sorted(SERVERS))


@KINDS
def test_a_killed_server_starts_again_with_what_was_committed(kind: str) -> None:
    with private_server(kind) as server:
        server.create_database("kept")
        pid = server.pid
        server.kill()
        assert not Path(f"/proc/{pid}").exists()
        server.start()
        with pytest.raises(module.ServerError, match="kept"):
            server.create_database("kept")


@KINDS
def test_nothing_is_left_of_a_server(kind: str) -> None:
    with private_server(kind) as server:
        pid, directory = server.pid, server.directory
        assert unquote(urlsplit(server.url).password or "") == server.password
    assert not Path(f"/proc/{pid}").exists()
    assert not directory.exists()


@KINDS
def test_the_command_line_runs_a_command_against_a_server(kind: str) -> None:
    ended = subprocess.run(
        [sys.executable, module.__file__, kind, "--", "sh", "-c", "echo $DATABASE_URL; exit 3"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 3
    assert urlsplit(ended.stdout.strip()).scheme == SERVERS[kind].scheme


def test_a_server_that_is_not_installed_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "PATH", "/nowhere")
    monkeypatch.setattr(MariaDB, "folders", [])
    with (
        pytest.raises(ServerMissing, match="Install the Debian package mariadb-server"),
        private_server("mariadb"),
    ):
        pass
