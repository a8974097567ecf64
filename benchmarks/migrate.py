"""Wagtail's whole history of migrations: through the crash-safe executor against plain `manage.py migrate`.

On an empty database each time, which is made before and is not counted; nor is the start of Python and
Django, which would hide the difference. Ours is what the step `Migrate.all()` does within a run, and makes
the tables of the ledger too. A run that ends in another schema than the first one stops the benchmark.
Planning is `runbook plan` against `showmigrations --plan` of the same, as whole commands.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

from comparison import Comparison, compare
from private_server import PrivateServer, private_server
from provision import ROOT, Failed, say

NAMES = {"sqlite": "SQLite", "mariadb": "MariaDB", "postgresql": "PostgreSQL"}
ENGINES = {"mariadb": "mysql", "postgresql": "postgresql"}
OPTIONS = {"mariadb": {"charset": "utf8mb4", "collation": "utf8mb4_unicode_ci"}}
"""One collation everywhere: a migration of Wagtail compares a column with a literal."""

MakeDatabase = Callable[[], dict[str, Any]]
"""Makes an empty database, the one before is dropped; returns its entry of DATABASES."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--database", choices=NAMES, action="append", help="may be repeated (default: all three)"
    )


def measure(options: argparse.Namespace) -> Iterator[Comparison]:
    for kind in options.database or NAMES:
        with databases(kind) as make_database:
            digests: set[str] = set()
            ways = {
                "runbook": partial(migrate, "runbook", kind, make_database, digests),
                "Django": partial(migrate, "plain", kind, make_database, digests),
            }
            yield compare(f"{NAMES[kind]}: migrate", ways, runs=options.runs)
            database = make_database()
            commands = {
                "runbook": partial(seconds_of, database, "runbook", "plan"),
                "Django": partial(seconds_of, database, "showmigrations", "--plan"),
            }
            yield compare(f"{NAMES[kind]}: plan", commands, runs=options.runs)


def migrate(way: str, kind: str, make_database: MakeDatabase, digests: set[str]) -> float:
    """Raise Failed if it ends in another schema than the runs before it."""
    ended = python(make_database(), "-m", "wagtail_site.migrating", way)
    result = json.loads(ended.splitlines()[-1])
    seconds, cpu_seconds = result["seconds"], result["cpu_seconds"]
    say(f"{NAMES[kind]}, {way}: {seconds:.2f} s, of which {cpu_seconds:.2f} s in this process")
    digests.add(result["digest"])
    if len(digests) > 1:
        raise Failed(f"{NAMES[kind]}: {way} has ended in another schema than the runs before it.")
    return float(result["seconds"])


def seconds_of(database: dict[str, Any], *command: str) -> float:
    began = time.monotonic()
    python(database, "-m", "django", *command)
    return time.monotonic() - began


def python(database: dict[str, Any], *arguments: str) -> str:
    """Run Python for the site, and return what it printed. Raise Failed, with its last words, if it fails."""
    ended = subprocess.run(
        [sys.executable, *arguments],
        env=wagtail_environment(database),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode:
        raise Failed(f"{' '.join(arguments)} failed:\n{ended.stdout[-2000:]}\n{ended.stderr[-4000:]}")
    return ended.stdout


def wagtail_environment(database: dict[str, Any], *paths: Path) -> dict[str, str]:
    """In which Python finds the site, what digests it, and `paths`.

    It may write bytecode, as pip does: where it must not, only this package would be compiled each time.
    """
    inherited = filter(None, [os.environ.get("PYTHONPATH")])
    return {
        **{name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
        "PYTHONPATH": os.pathsep.join(map(str, [ROOT / "benchmarks", ROOT / "tests", *paths, *inherited])),
        "DJANGO_SETTINGS_MODULE": "wagtail_site.settings",
        "BENCH_DATABASE": json.dumps(database),
    }


@contextmanager
def databases(kind: str, *, in_memory: bool = False) -> Iterator[MakeDatabase]:
    if kind == "sqlite":
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            yield partial(sqlite_database, Path(folder))
        return
    with private_server(kind, in_memory=in_memory) as server:
        yield partial(server_database, kind, server)


def sqlite_database(folder: Path) -> dict[str, Any]:
    for file in folder.iterdir():
        file.unlink()
    return {"ENGINE": "django.db.backends.sqlite3", "NAME": str(folder / f"{uuid4().hex}.sqlite3")}


def server_database(kind: str, server: PrivateServer) -> dict[str, Any]:
    server.drop_database(server.database)
    server.create_database(server.database)
    return {
        "ENGINE": f"django.db.backends.{ENGINES[kind]}",
        "HOST": server.host,
        "PORT": str(server.port),
        "USER": server.user,
        "PASSWORD": server.password,
        "NAME": server.database,
        "OPTIONS": OPTIONS.get(kind, {}),
    }
