"""Processes that migrate a database through Wagtail's history, as the drills see them from outside."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
ROOT = FOLDER.parent.parent
LONGEST = 65536
PATIENCE = 30
"""Seconds for which a process waits for the lock of the one before it."""
LONGEST_SILENCE = 120
"""Seconds until a handshake has failed."""
KILLED = -signal.SIGKILL


@dataclass(frozen=True, kw_only=True)
class Order:
    """What a process is to do."""

    way: str = "runbook"
    """Or "plain": Django's own `migrate`."""
    stop_at: int = 0
    """The moment at which it stops and waits; 0 is never."""
    before: str = ""
    """A regular expression: stop only before a statement, or COMMIT, that it is found in."""
    patience: int = PATIENCE
    """Seconds for which it waits for the lock."""
    lock_timeout: int = 5
    """Seconds for which a statement waits for its locks."""
    without: str = ""
    """A part of the mechanism; see `fork_server.py`."""


@dataclass(kw_only=True)
class Process:
    """A forked process. It has stopped, or ended, when `hear` returns."""

    handle: int
    """A file descriptor that stands for it: a process id would be given to another one after its end."""
    forks: Forks
    channel: socket.socket
    status: int | None = None
    """Its exit code, or the negative number of the signal that killed it; None while it lives."""
    heard: list[dict[str, Any]] = field(default_factory=list)

    def hear(self) -> dict[str, Any]:
        """The next that it says: a stop, that it waits for the lock, or its end; {} if it was killed."""
        said = self.channel.recv(LONGEST)
        self.heard.append(json.loads(said) if said else {})
        return self.heard[-1]

    def hear_the_stop(self) -> dict[str, Any]:
        """Skip what it says of waiting."""
        while "waiting" in (said := self.hear()):
            pass
        return said

    def hear_the_end(self) -> dict[str, Any]:
        """As `hear_the_stop`, and wait for its end. Raise AssertionError if it stops instead of ending."""
        said = self.hear_the_stop()
        assert "moment" not in said, said
        self.wait()
        return said

    def go_on(self) -> None:
        self.channel.send(b"!")

    def kill(self) -> None:
        """SIGKILL; it may have ended before."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.handle, signal.SIGKILL)

    def wait(self) -> int:
        if self.status is None:
            self.status = self.forks.hear_status()
        return self.status


class Forks:
    """The server that forks them, for one kind of database. One process lives at a time."""

    def __init__(self, control: socket.socket) -> None:
        self.control = control

    @contextmanager
    def process(self, database: dict[str, Any], order: Order) -> Iterator[Process]:
        """Start a process; if it lives when the block ends, it is killed."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with closing(ours):
            with closing(theirs):
                request = json.dumps({"database": database, **vars(order)}).encode()
                socket.send_fds(self.control, [request], [theirs.fileno()])
                handle = os.pidfd_open(int(self.control.recv(LONGEST)))
            ours.settimeout(LONGEST_SILENCE)
            process = Process(handle=handle, forks=self, channel=ours)
            try:
                yield process
            finally:
                if process.status is None:
                    process.kill()
                    process.wait()
                os.close(handle)

    def hear_status(self) -> int:
        return int(self.control.recv(LONGEST))


@contextmanager
def fork_server(database: dict[str, Any]) -> Iterator[Forks]:
    """Run the server that forks processes for databases as this one: an entry of DATABASES."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with closing(ours):
        with closing(theirs):
            server = subprocess.Popen(
                [sys.executable, str(FOLDER / "fork_server.py"), str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env={
                    **os.environ,
                    "PYTHONPATH": os.pathsep.join([str(ROOT / "benchmarks"), *sys.path]),
                    "DJANGO_SETTINGS_MODULE": "wagtail_site.settings",
                    "BENCH_DATABASE": json.dumps(database),
                },
            )
        with server:
            try:
                assert ours.recv(LONGEST) == b"ready", "The fork server has ended."
                yield Forks(ours)
            finally:
                ours.close()  # by which it ends
