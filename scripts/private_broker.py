"""A private Redis or RabbitMQ on a temporary directory, for tests of Celery's workers.

    with private_broker("rabbitmq") as broker:
        ...  # broker.url, broker.kill(), broker.start()

It listens on 127.0.0.1 only, and ends with the block (or with the process).
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import ClassVar

from private_server import (
    START_SECONDS,
    ServerError,
    ends_with_its_parent,
    find_program,
    free_port,
    short_temporary_directory,
)


class PrivateBroker(ABC):
    """Processes with a directory of their own; `with` starts and stops them."""

    package: ClassVar[str]
    """The Debian package with the broker's programs."""
    scheme: ClassVar[str]

    host = "127.0.0.1"

    def __init__(self) -> None:
        self.port = free_port()
        self.directory = Path()
        self.processes: list[subprocess.Popen[bytes]] = []

    @property
    def url(self) -> str:
        """For Celery's `broker_url`."""
        return f"{self.scheme}://{self.host}:{self.port}//"

    @abstractmethod
    def commands(self) -> list[list[str]]:
        """What runs in the foreground."""

    @abstractmethod
    def greets(self, connection: socket.socket) -> bool:
        """Does what listens there answer as a broker that is ready?"""

    def environment(self) -> dict[str, str]:
        """Changes to that of this process."""
        return {}

    def __enter__(self) -> PrivateBroker:
        self.directory = short_temporary_directory()
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def start(self) -> None:
        """Start on what is in the directory and wait until it answers. Raise ServerError if it ends."""
        with (self.directory / "broker.log").open("ab") as log:
            for command in self.commands():
                self.processes.append(
                    subprocess.Popen(
                        [*ends_with_its_parent(), *command],
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=log,
                        cwd=self.directory,
                        start_new_session=True,
                        env={**os.environ, **self.environment()},
                    )
                )
        deadline = time.monotonic() + START_SECONDS
        while not self.answers():
            if self.processes[-1].poll() is not None or time.monotonic() > deadline:
                said = (self.directory / "broker.log").read_text(errors="replace")
                raise ServerError(f"{type(self).__name__} did not start. Its last words:\n{said[-2000:]}")
            time.sleep(0.05)

    def kill(self) -> None:
        """SIGKILL all that was started; start() goes on with what was kept."""
        for process in self.processes:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self.processes.clear()

    def answers(self) -> bool:
        """Does it take connections?"""
        try:
            with socket.create_connection((self.host, self.port), timeout=2) as connection:
                return self.greets(connection)
        except OSError:
            return False


class Redis(PrivateBroker):
    """Redis; what it holds is lost with it."""

    package = "redis-server"
    scheme = "redis"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.host}:{self.port}/0"

    def commands(self) -> list[list[str]]:
        settings = {
            "bind": self.host,
            "port": self.port,
            "dir": self.directory,
            "save": "",
            "daemonize": "no",
        }
        program = find_program("redis-server", self, [])
        return [[program, *(word for name, value in settings.items() for word in (f"--{name}", str(value)))]]

    def greets(self, connection: socket.socket) -> bool:
        connection.sendall(b"PING\r\n")
        return connection.recv(16).startswith(b"+PONG")


class RabbitMQ(PrivateBroker):
    """RabbitMQ, with an Erlang port mapper of its own; what it holds it still has after a kill."""

    package = "rabbitmq-server"
    scheme = "amqp"

    def __init__(self) -> None:
        super().__init__()
        self.ports = {"dist": free_port(), "epmd": free_port()}

    def commands(self) -> list[list[str]]:
        epmd = find_program("epmd", self, list(Path("/usr/lib/erlang").glob("erts-*/bin")))
        # The program on PATH is a wrapper that changes to the account and the folders of the machine's own.
        server = find_program("rabbitmq-server", self, [Path("/usr/lib/rabbitmq/bin")], first=True)
        return [[epmd, "-address", self.host, "-port", str(self.ports["epmd"])], [server]]

    def environment(self) -> dict[str, str]:
        for name in ("enabled_plugins", "rabbitmq.conf", "rabbitmq-env.conf"):
            (self.directory / name).touch()
        loopback = self.host.replace(".", ",")
        return {
            "HOME": str(self.directory),
            "ERL_EPMD_PORT": str(self.ports["epmd"]),
            "ERL_EPMD_ADDRESS": self.host,
            "RABBITMQ_NODENAME": "private@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": self.host,
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self.ports["dist"]),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": f"-kernel inet_dist_use_interface {{{loopback}}}",
            "RABBITMQ_CONF_ENV_FILE": str(self.directory / "rabbitmq-env.conf"),
            "RABBITMQ_CONFIG_FILE": str(self.directory / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.directory / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(self.directory / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.directory / "log"),
            "RABBITMQ_PID_FILE": str(self.directory / "pid"),
        }

    def greets(self, connection: socket.socket) -> bool:
        connection.sendall(b"AMQP\x00\x00\x09\x01")
        return connection.recv(1) == b"\x01"  # a method frame: Connection.Start


BROKERS: dict[str, type[PrivateBroker]] = {"redis": Redis, "rabbitmq": RabbitMQ}


@contextmanager
def private_broker(kind: str) -> Iterator[PrivateBroker]:
    """Run a "redis" or "rabbitmq" broker for the length of the block. Raise ServerMissing; ServerError."""
    with BROKERS[kind]() as broker:
        yield broker
