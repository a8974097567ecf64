"""The check before step one against the migrations that it checks, on a million services.

Two releases of the example: its own (a table, two columns, a unique constraint), and a strict one, in which
nearly every column is narrowed or constrained, so that all rows must be looked at. `runbook check` against
`manage.py migrate` of the same pending migrations, as whole commands. A check that finds an error, or leaves
something unchecked, stops the benchmark.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from comparison import Comparison, compare
from example_site import DATABASES, Project, example
from provision import ROOT, Failed, say

sys.path.insert(0, str(ROOT / "tests" / "breakages"))
from release import READY, write_release

NAMES = {"sqlite": "SQLite", "mariadb": "MariaDB", "postgresql": "PostgreSQL"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--services", type=int, default=1_000_000, metavar="N", help="default: 1000000")
    parser.add_argument(
        "--database", choices=DATABASES, action="append", help="may be repeated (default: all three)"
    )


def measure(options: argparse.Namespace) -> Iterator[Comparison]:
    for kind in options.database or DATABASES:
        with (
            tempfile.TemporaryDirectory(prefix="bench-") as folder,
            example(kind, Path(folder) / "ediligence") as project,
        ):
            yield compare_on(project, options, "the example", ())
            write_release(project.folder)
            yield compare_on(project, options, "a strict release", READY)


def compare_on(
    project: Project, options: argparse.Namespace, release: str, ready: tuple[str, ...]
) -> Comparison:
    case = f"{NAMES[project.kind]}: {release}"
    ways = {
        "check": partial(check, project, options.services, ready, case),
        "migrate": partial(migrate, project, case),
    }
    return compare(case, ways, runs=options.runs)


def check(project: Project, services: int, ready: tuple[str, ...], case: str) -> float:
    """On a fresh copy of the database. Raise Failed unless the release is sound and wholly checked."""
    project.at_0032(services)
    statements = f"for it in {ready!r}:\n    connection.cursor().execute(it)"
    project.python(f"from django.db import connection\n{statements}")
    began = time.monotonic()
    ended = project.manage("runbook", "check", "--format", "json")
    seconds = time.monotonic() - began
    wrong = [it for it in json.loads(ended.stdout) if it["severity"] != "warning"]
    if wrong:
        raise Failed(f"{case}: {wrong[0]['id']}: {wrong[0]['message']}")
    say(f"{case}, check: {seconds:.2f} s")
    return seconds


def migrate(project: Project, case: str) -> float:
    """On the database that was checked."""
    began = time.monotonic()
    project.manage("migrate", "-v", "0")
    seconds = time.monotonic() - began
    say(f"{case}, migrate: {seconds:.2f} s")
    return seconds
