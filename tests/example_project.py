"""The worked example as a real project in a test: its own copy, its own database, real processes.

    def test_…(project):
        project.at_0032(services=200)
        project.manage("migrate", "core", "0033")
        with project.serve() as site:
            assert site.get("/sante/").status == 503

The `project` and `make_project` fixtures are in tests/conftest.py.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from http.client import HTTPConnection
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit
from uuid import uuid4

from private_server import PrivateServer, free_port
from warm_python import Forked, WarmPython, starts_alike

EXAMPLE = Path(__file__).parent.parent / "examples" / "ediligence"
START_SECONDS = 30
TO_0032 = """
from django.core.management import call_command
for target in (["contenttypes"], ["auth"], ["admin"], ["sessions"], ["core", "0032"]):
    call_command("migrate", *target, verbosity=0)
call_command("seed_organisation", services={services})
"""

Ended = subprocess.CompletedProcess[str]
Process = subprocess.Popen[str] | Forked


class Place(ABC):
    """Where a database lies: a file, or a name on a server."""

    url: str

    @abstractmethod
    def create(self) -> None:
        """Make it, empty."""

    @abstractmethod
    def copy_from(self, template: Any) -> None:
        """Replace it by a copy of another place of the same kind, which nobody is connected to."""

    @abstractmethod
    def drop(self) -> None:
        """Remove it, if it is there."""


class SQLitePlace(Place):
    def __init__(self, path: Path) -> None:
        self.path = path
        self.url = f"sqlite:///{path}"

    def create(self) -> None:
        """SQLite makes the file when the first connection writes."""

    def copy_from(self, template: SQLitePlace) -> None:
        self.drop()
        shutil.copyfile(template.path, self.path)

    def drop(self) -> None:
        for file in self.path.parent.glob(f"{self.path.name}*"):
            file.unlink()


class ServerPlace(Place):
    def __init__(self, server: Any, name: str) -> None:
        self.server = server
        self.name = name
        self.url = server.url_of(name)

    def create(self) -> None:
        self.server.create_database(self.name)

    def drop(self) -> None:
        self.server.drop_database(self.name)


class PostgreSQLPlace(ServerPlace):
    def copy_from(self, template: PostgreSQLPlace) -> None:
        self.drop()
        source, target = (self.server.quoted(place.name) for place in (template, self))
        self.server.sql(f"CREATE DATABASE {target} TEMPLATE {source}")


class MariaDBPlace(ServerPlace):
    def copy_from(self, template: MariaDBPlace) -> None:
        self.drop()
        self.create()
        self.client("mariadb", input=template.dump)

    @cached_property
    def dump(self) -> bytes:
        return self.client("mariadb-dump", "--single-transaction")

    def client(self, program: str, *options: str, input: bytes | None = None) -> bytes:
        return subprocess.run(
            [
                self.server.program(program),
                "--no-defaults",
                f"--socket={self.server.socket}",
                f"--user={self.server.user}",
                *options,
                self.name,
            ],
            env={**os.environ, "MYSQL_PWD": self.server.password},
            input=input,
            stdout=subprocess.PIPE,
            check=True,
        ).stdout


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the site said to one request."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """The project's gunicorn, running."""

    url: str
    pid: int

    def get(self, path: str) -> Answer:
        return self.request("GET", path)

    def request(
        self, method: str, path: str, data: Any = None, *, user: tuple[str, str] | None = None
    ) -> Answer:
        """Send `data` as JSON, with a user's name and password if given."""
        headers = {"Content-Type": "application/json"}
        if user:
            headers["Authorization"] = f"Basic {b64encode(':'.join(user).encode()).decode()}"
        connection = HTTPConnection(urlsplit(self.url).netloc, timeout=START_SECONDS)
        try:
            connection.request(method, path, None if data is None else json.dumps(data), headers)
            response = connection.getresponse()
            return Answer(status=response.status, headers=dict(response.headers), body=response.read())
        finally:
            connection.close()


@dataclass(frozen=True, kw_only=True)
class Project:
    """A copy of examples/ediligence on a database of its own."""

    kind: str
    """"sqlite", "mariadb" or "postgresql"."""
    folder: Path
    place: Place
    template: Callable[[int], Place]
    """Give a place at 0032 with that many services, made once per session."""
    warm_python: Callable[[], WarmPython] | None = None
    """Forks the project's processes; without it each is a Python of its own, as an operator starts it."""

    @property
    def database_url(self) -> str:
        return self.place.url

    @property
    def runs(self) -> Path:
        """RUNBOOK["DIR"]."""
        return self.folder / "var" / "runbook"

    @property
    def pid_file(self) -> Path:
        return self.folder / "var" / "gunicorn.pid"

    @property
    def env(self) -> dict[str, str]:
        programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
        return {
            **os.environ,
            "PATH": programs,
            "DJANGO_SETTINGS_MODULE": "ediligence.settings",
            "DATABASE_URL": self.database_url,
            "RUNBOOK_DIR": str(self.runs),
            "GUNICORN_PID_FILE": str(self.pid_file),
        }

    def at_0032(self, services: int = 200) -> Project:
        """Put the database where the release starts: core at 0032, seeded, the rest up to date."""
        self.place.copy_from(self.template(services))
        return self

    def start(self, *words: str, log: IO[bytes] | None = None, **env: str) -> Process:
        """Start Python in the project's folder, with a script of it, or -m and a module."""
        env = {**self.env, **env}
        if self.warm_python and starts_alike(env):
            return self.warm_python().start(words, self.folder, env, log=log)
        output = log or subprocess.PIPE
        return subprocess.Popen(
            [sys.executable, *words],
            cwd=self.folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            encoding="utf-8",
        )

    def run(self, *words: str, check: bool = True, **env: str) -> Ended:
        """Run Python to its end. Raise AssertionError, with what it said, if it fails."""
        process = self.start(*words, **env)
        stdout, stderr = process.communicate()
        return ended_well(Ended(words, process.wait(), stdout, stderr), check)

    def manage(self, *arguments: str, check: bool = True, **env: str) -> Ended:
        """Run a management command."""
        return self.run("manage.py", *arguments, check=check, **env)

    def python(self, code: str) -> str:
        """Run code in the project's `shell` and return what it printed."""
        return self.manage("shell", "-v", "0", "-c", code).stdout

    def move_services(self, *, check: bool = True) -> Ended:
        """Run the hand script."""
        return self.run("migrate_services_to_sous_directions.py", check=check)

    def by_hand(self, *, check: bool = True) -> Ended:
        """Run the whole hand procedure; its files go to `var/sauvegardes`."""
        ended = subprocess.run(
            ["./procedure.sh"],
            cwd=self.folder,
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        return ended_well(ended, check)

    @contextmanager
    def serve(self) -> Iterator[Site]:
        """Run gunicorn on a free port for the length of the block."""
        address = f"127.0.0.1:{free_port()}"
        with (self.folder / "gunicorn.log").open("ab") as log:
            process = self.start("-m", "gunicorn", log=log, GUNICORN_BIND=address)
        site = Site(url=f"http://{address}", pid=process.pid)
        try:
            self._wait_for(site, process)
            yield site
        finally:
            process.terminate()
            process.wait(START_SECONDS)

    def _wait_for(self, site: Site, process: Process) -> None:
        deadline = time.monotonic() + START_SECONDS
        while process.poll() is None and time.monotonic() < deadline:
            try:
                site.get("/sante/")
            except OSError:
                time.sleep(0.05)
            else:
                return
        raise AssertionError(f"gunicorn does not answer:\n{(self.folder / 'gunicorn.log').read_text()}")


def ended_well(ended: Ended, check: bool) -> Ended:
    """Raise AssertionError, with what it said, if `check` and it failed."""
    words = f"{ended.stdout[-2000:]}\n{ended.stderr[-4000:]}"
    assert not (check and ended.returncode), f"{ended.args} ended with {ended.returncode}:\n{words}"
    return ended


class ExampleProjects:
    """Makes projects, and keeps one seeded database per kind and size for the session."""

    def __init__(
        self,
        folder: Path,
        start_server: Callable[[str], PrivateServer],
        warm_python: Callable[[], WarmPython] | None = None,
    ) -> None:
        self.folder = folder
        self.start_server = start_server
        self.warm_python = warm_python
        self.templates: dict[tuple[str, int], Place] = {}

    @contextmanager
    def make_project(self, kind: str, folder: Path | None = None) -> Iterator[Project]:
        """Copy the example to `folder`, on an empty database that is dropped at the end."""
        folder = folder or self.folder / f"project_{uuid4().hex[:8]}"
        shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("var", "__pycache__", "*.sqlite3*"))
        place = self.new_place(kind)
        place.create()
        try:
            yield Project(
                kind=kind,
                folder=folder,
                place=place,
                template=lambda services: self.template(kind, services),
                warm_python=self.warm_python,
            )
        finally:
            place.drop()

    def new_place(self, kind: str) -> Place:
        name = f"ediligence_{uuid4().hex[:12]}"
        if kind == "sqlite":
            return SQLitePlace(self.folder / f"{name}.sqlite3")
        kinds = {"mariadb": MariaDBPlace, "postgresql": PostgreSQLPlace}
        return kinds[kind](self.start_server(kind), name)

    def template(self, kind: str, services: int) -> Place:
        if (kind, services) not in self.templates:
            with self.make_project(kind) as project:
                project.python(TO_0032.format(services=services))
                kept = self.new_place(kind)
                kept.create()
                kept.copy_from(project.place)
            self.templates[kind, services] = kept
        return self.templates[kind, services]
