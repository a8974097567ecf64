"""A private MariaDB or PostgreSQL server on a temporary directory, for tests, drills and benchmarks.

    with private_server("mariadb") as server:
        ...  # server.url, server.create_database("shop"), server.kill(), server.start()

    python scripts/private_server.py postgresql -- python manage.py migrate   # finds DATABASE_URL

It listens on 127.0.0.1 and on a unix socket in its own directory, syncs to disk as a production server
does, touches no other server on the machine, and ends with the block (or with the process).
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar, Protocol
from urllib.parse import quote

START_SECONDS = 60
STOP_SECONDS = 30
MEMORY = Path("/dev/shm")  # noqa: S108 - a file system, and mkdtemp makes the name
LONGEST_SOCKET_PATH = 100
"""Unix sockets take 107 bytes; the rest is for the file's name."""


class ServerError(Exception):
    """The private server could not be started or asked; the message says why."""


class ServerMissing(ServerError):
    """The server's program is not installed; the message names the package that has it."""


class PrivateServer(ABC):
    """One server process with its own data directory; `with` starts and stops it."""

    product: ClassVar[str]
    scheme: ClassVar[str]
    package: ClassVar[str]
    """The Debian package with the server's programs."""
    stop_signal: ClassVar[signal.Signals]
    quote_mark: ClassVar[str]

    host = "127.0.0.1"
    user = "runbook"
    database = "runbook"

    def __init__(self, *, in_memory: bool = False) -> None:
        self.in_memory = in_memory
        self.port = free_port()
        self.password = secrets.token_urlsafe(9) + "@:/?#%&$;|'\"\\ `*"
        self.directory = Path()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """For DATABASE_URL; the password is percent-encoded."""
        return self.url_of(self.database)

    def url_of(self, database: str) -> str:
        return (
            f"{self.scheme}://{self.user}:{quote(self.password, safe='')}@{self.host}:{self.port}/{database}"
        )

    @property
    def pid(self) -> int:
        if self.process is None:
            raise ServerError(f"{self.product} is not running; call start() first.")
        return self.process.pid

    @property
    @abstractmethod
    def socket(self) -> str:
        """What a client gives to connect through the unix socket: a file, or a directory for PostgreSQL."""

    @abstractmethod
    def prepare(self) -> None:
        """Make the data directory, the user and its password."""

    @abstractmethod
    def command(self) -> list[str]:
        """The server in the foreground."""

    @abstractmethod
    def answers(self) -> bool:
        """Does the server take connections?"""

    @abstractmethod
    def create_database(self, name: str) -> None:
        """Create an empty database with the server's default character set."""

    @abstractmethod
    def drop_database(self, name: str) -> None:
        """Drop a database if it exists, with whoever is connected to it."""

    def __enter__(self) -> PrivateServer:
        self.directory = short_temporary_directory(MEMORY if self.in_memory else None)
        try:
            own(self.directory, self.system_user())
            self.prepare()
            self.start()
            self.create_database(self.database)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def start(self) -> None:
        """Start on the existing data directory and wait until it answers. Raise ServerError if it ends."""
        if self.process is not None:
            raise ServerError(f"{self.product} is running already, as process {self.process.pid}.")
        with (self.directory / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*ends_with_its_parent(), *self.command()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.directory,
                start_new_session=True,
                user=self.system_user(),
            )
        deadline = time.monotonic() + START_SECONDS
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise ServerError(f"{self.product} did not start. Its last words:\n{self.log_tail()}")
            time.sleep(0.05)

    def stop(self) -> None:
        """Ask the server to end, and wait; kill it if it does not. Nothing to do if it is not running."""
        if self.process is None:
            return
        self.process.send_signal(self.stop_signal)
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
        self.process = None

    def kill(self) -> None:
        """SIGKILL the server and the processes it has started: what a power cut does. start() recovers."""
        if self.process is None:
            return
        children = children_of(self.process.pid)
        self.process.kill()
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        self.process.wait()
        self.process = None

    def log_tail(self, size: int = 2000) -> str:
        """The end of the server's log."""
        return (self.directory / "server.log").read_text(errors="replace")[-size:]

    def system_user(self) -> str | None:
        """The account the server runs as; None is the caller's own."""
        return None

    def quoted(self, name: str) -> str:
        """A name as an SQL identifier."""
        return self.quote_mark + name.replace(self.quote_mark, self.quote_mark * 2) + self.quote_mark

    def run(self, *command: str, env: Mapping[str, str] | None = None) -> str:
        """Run a client program to its end and return what it printed. Raise ServerError if it fails."""
        ended = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            cwd=self.directory,
            user=self.system_user(),
            env={**os.environ, **(env or {})},
        )
        if ended.returncode:
            words = (ended.stderr or ended.stdout).strip()
            raise ServerError(f"{Path(command[0]).name} ended with exit code {ended.returncode}: {words}")
        return ended.stdout


class MariaDB(PrivateServer):
    """MariaDB, utf8mb4, InnoDB with a redo log synced at every commit."""

    folders: ClassVar[list[Path]] = [Path("/usr/sbin"), Path("/usr/local/sbin")]
    """Where else than on PATH its programs may be."""

    product = "MariaDB"
    scheme = "mysql"
    package = "mariadb-server"
    stop_signal = signal.SIGTERM
    quote_mark = "`"

    @property
    def socket(self) -> str:
        return str(self.directory / "mariadb.sock")

    @property
    def init_file(self) -> Path:
        """SQL that the first start runs before it takes connections."""
        return self.directory / "init.sql"

    def prepare(self) -> None:
        self.run(
            self.program("mariadb-install-db"),
            "--no-defaults",
            f"--datadir={self.directory / 'data'}",
            f"--tmpdir={self.directory}",
            "--skip-test-db",
            *self.run_as(),
        )
        password = self.password.replace("\\", "\\\\").replace("'", "\\'")
        self.init_file.write_text(
            "".join(
                f"CREATE USER '{self.user}'@'{host}' IDENTIFIED BY '{password}';\n"
                f"GRANT ALL PRIVILEGES ON *.* TO '{self.user}'@'{host}' WITH GRANT OPTION;\n"
                for host in ("localhost", self.host)
            )
        )

    def start(self) -> None:
        super().start()
        self.init_file.unlink(missing_ok=True)

    def command(self) -> list[str]:
        init_file = [f"--init-file={self.init_file}"] if self.init_file.exists() else []
        return [
            self.program("mariadbd"),
            "--no-defaults",
            f"--datadir={self.directory / 'data'}",
            f"--socket={self.socket}",
            f"--tmpdir={self.directory}",  # another server that starts on the same one would clear it
            f"--pid-file={self.directory / 'mariadb.pid'}",
            f"--port={self.port}",
            f"--bind-address={self.host}",
            "--skip-name-resolve",
            "--character-set-server=utf8mb4",
            "--collation-server=utf8mb4_unicode_ci",
            "--innodb-flush-log-at-trx-commit=1",
            "--innodb-buffer-pool-size=128M",
            "--max-allowed-packet=64M",
            *self.run_as(),
            *init_file,
        ]

    def answers(self) -> bool:
        """Has it sent its greeting? It listens before it has run the init file, and greets after."""
        try:
            with socket.create_connection((self.host, self.port), timeout=2) as client:
                return bool(client.recv(1))
        except OSError:
            return False

    def create_database(self, name: str) -> None:
        self.sql(f"CREATE DATABASE {self.quoted(name)}")

    def drop_database(self, name: str) -> None:
        self.sql(f"DROP DATABASE IF EXISTS {self.quoted(name)}")

    def sql(self, statement: str) -> str:
        """Run a statement as the user, without a database."""
        return self.run(
            self.program("mariadb"),
            "--no-defaults",
            f"--socket={self.socket}",
            f"--user={self.user}",
            "--batch",
            f"--execute={statement}",
            env={"MYSQL_PWD": self.password},
        )

    def program(self, name: str) -> str:
        return find_program(name, self, self.folders)

    def run_as(self) -> list[str]:
        """Allow the server to run as root; it refuses unless told to."""
        return ["--user=root"] if os.geteuid() == 0 else []


class PostgreSQL(PrivateServer):
    """PostgreSQL, the highest version installed, UTF-8, fsync on; the user is a superuser."""

    product = "PostgreSQL"
    scheme = "postgresql"
    package = "postgresql"
    stop_signal = signal.SIGINT
    """"Fast" shutdown: SIGTERM would wait for the clients to leave."""
    quote_mark = '"'

    @property
    def socket(self) -> str:
        return str(self.directory)

    def prepare(self) -> None:
        password_file = self.directory / "password"
        password_file.touch(0o600)
        password_file.write_text(self.password)
        own(password_file, self.system_user())
        self.run(
            self.program("initdb"),
            f"--pgdata={self.directory / 'data'}",
            f"--username={self.user}",
            f"--pwfile={password_file}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--no-sync",
        )
        password_file.unlink()

    def command(self) -> list[str]:
        options = {
            "listen_addresses": self.host,
            "port": self.port,
            "unix_socket_directories": self.socket,
            "shared_buffers": "64MB",
        }
        return [
            self.program("postgres"),
            "-D",
            str(self.directory / "data"),
            *(f"--{name}={value}" for name, value in options.items()),
        ]

    def answers(self) -> bool:
        try:
            self.run(self.program("pg_isready"), "--quiet", f"--host={self.host}", f"--port={self.port}")
        except ServerError:
            return False
        return True

    def create_database(self, name: str) -> None:
        self.sql(f"CREATE DATABASE {self.quoted(name)}")

    def drop_database(self, name: str) -> None:
        self.sql(f"DROP DATABASE IF EXISTS {self.quoted(name)} WITH (FORCE)")

    def sql(self, statement: str) -> str:
        """Run a statement as the user, in the maintenance database."""
        return self.run(
            self.program("psql"),
            "--no-psqlrc",
            "--quiet",
            f"--host={self.host}",
            f"--port={self.port}",
            f"--username={self.user}",
            f"--command={statement}",
            "postgres",
            env={"PGPASSWORD": self.password},
        )

    def program(self, name: str) -> str:
        versions = Path("/usr/lib/postgresql").glob("*/bin")
        return find_program(name, self, sorted(versions, key=version_of, reverse=True), first=True)

    def system_user(self) -> str | None:
        """PostgreSQL refuses to run as root: then the account that its package creates."""
        if os.geteuid() != 0:
            return None
        try:
            return pwd.getpwnam("postgres").pw_name
        except KeyError:
            raise ServerMissing(
                "PostgreSQL refuses to run as root, and there is no account 'postgres' to run it as. "
                f"Install the Debian package {self.package}, which creates it, or run this as another user."
            ) from None


SERVERS: dict[str, type[PrivateServer]] = {"mariadb": MariaDB, "postgresql": PostgreSQL}


@contextmanager
def private_server(kind: str, *, in_memory: bool = False) -> Iterator[PrivateServer]:
    """Run a "mariadb" or "postgresql" server for the length of the block.

    `in_memory` puts its files on a file system in memory, if there is one: as durable as before against a
    killed server, but fsync costs nothing; not for benchmarks. Start it from the main thread: the server
    ends with the thread that started it.
    """
    with SERVERS[kind](in_memory=in_memory) as server:
        yield server


class Packaged(Protocol):
    """What comes with a Debian package."""

    package: ClassVar[str]


def find_program(name: str, server: Packaged, folders: Sequence[Path], *, first: bool = False) -> str:
    """Find a program on PATH and in `folders`, which go before PATH if `first`. Raise ServerMissing."""
    path = os.environ.get("PATH", os.defpath).split(os.pathsep)
    places = [str(folder) for folder in folders]
    found = shutil.which(name, path=os.pathsep.join([*places, *path] if first else [*path, *places]))
    if found is None:
        raise ServerMissing(
            f"The program {name} was not found on PATH nor in {', '.join(places) or 'its usual folders'}. "
            f"Install the Debian package {server.package}."
        )
    return found


def free_port() -> int:
    """Pick a free loopback port below the range that the kernel hands out to clients.

    So that no client takes it while the server is down between kill() and start().
    """
    while True:
        port = 15000 + secrets.randbelow(15000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def short_temporary_directory(parent: Path | None = None) -> Path:
    """Make a directory, 0700, short enough for a unix socket in it; in `parent` if that can be written."""
    usable = parent if parent and os.access(parent, os.W_OK) else None
    directory = Path(tempfile.mkdtemp(prefix="private-server-", dir=usable))
    if len(str(directory)) <= LONGEST_SOCKET_PATH - len("/.s.PGSQL.65535.lock"):
        return directory
    directory.rmdir()
    return Path(tempfile.mkdtemp(prefix="private-server-", dir="/tmp"))


def own(path: Path, user: str | None) -> None:
    """Give a path to the account that a server runs as."""
    if user is not None:
        shutil.chown(path, user)


def ends_with_its_parent() -> list[str]:
    """A prefix that has the kernel end the command when its parent dies, where there is one."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "TERM"] if setpriv else []


def children_of(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def version_of(folder: Path) -> float:
    """The number in /usr/lib/postgresql/15/bin."""
    try:
        return float(folder.parent.name)
    except ValueError:
        return 0


def main(arguments: Sequence[str]) -> int:
    """Start a server, run a command with DATABASE_URL, stop the server; return the command's exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("kind", choices=sorted(SERVERS))
    parser.add_argument("command", nargs="+", help="what to run, after --")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        with private_server(options.kind) as server:
            env = {**os.environ, "DATABASE_URL": server.url}
            return subprocess.run(options.command, env=env, check=False).returncode
    except ServerError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
