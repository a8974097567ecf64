"""A private PgBouncer in front of a private PostgreSQL server, for tests.

    with private_server("postgresql") as server, private_pooler(server, "transaction") as pooler:
        ...  # pooler.host, pooler.port; user, password and databases are the server's

It listens on 127.0.0.1 only, and ends with the block (or with the process).
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from private_server import (
    START_SECONDS,
    STOP_SECONDS,
    PrivateServer,
    ServerError,
    ends_with_its_parent,
    find_program,
    free_port,
    own,
    short_temporary_directory,
)


class PgBouncer:
    """One PgBouncer process; `with` starts and stops it."""

    package: ClassVar[str] = "pgbouncer"
    folders: ClassVar[list[Path]] = [Path("/usr/sbin")]
    host = "127.0.0.1"

    def __init__(self, server: PrivateServer, mode: str, **settings: object) -> None:
        self.server = server
        self.port = int(str(settings.get("listen_port", free_port())))
        self.settings = {"pool_mode": mode, "listen_port": self.port, **settings}
        self.directory = Path()
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> PgBouncer:
        self.directory = short_temporary_directory()
        try:
            self.prepare()
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)

    def prepare(self) -> None:
        """Write its configuration; the password is known to it, because it logs in for its clients."""
        users = self.directory / "users.txt"
        password = self.server.password.replace('"', '""')
        users.touch(0o600)
        users.write_text(f'"{self.server.user}" "{password}"\n')
        settings = {
            "listen_addr": self.host,
            "unix_socket_dir": "",
            "auth_type": "scram-sha-256",
            "auth_file": users,
            **self.settings,
        }
        (self.directory / "pgbouncer.ini").write_text(
            f"[databases]\n* = host={self.server.host} port={self.server.port}\n"
            "[pgbouncer]\n" + "".join(f"{name} = {value}\n" for name, value in settings.items())
        )
        for path in (self.directory, *self.directory.iterdir()):
            own(path, self.server.system_user())

    def start(self) -> None:
        program = find_program("pgbouncer", self, self.folders)
        with (self.directory / "pooler.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*ends_with_its_parent(), program, str(self.directory / "pgbouncer.ini")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.directory,
                start_new_session=True,
                user=self.server.system_user(),
            )
        deadline = time.monotonic() + START_SECONDS
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                said = (self.directory / "pooler.log").read_text(errors="replace")
                raise ServerError(f"PgBouncer did not start. Its last words:\n{said[-2000:]}")
            time.sleep(0.02)

    def answers(self) -> bool:
        """Does it take connections?"""
        try:
            with socket.create_connection((self.host, self.port), timeout=2):
                return True
        except OSError:
            return False


@contextmanager
def private_pooler(server: PrivateServer, mode: str, **settings: object) -> Iterator[PgBouncer]:
    """Run a PgBouncer in `mode` ("session", "transaction" or "statement") for the length of the block.

    `settings` are more lines of its configuration. It runs as the account that the server runs as.
    """
    with PgBouncer(server, mode, **settings) as pooler:
        yield pooler
