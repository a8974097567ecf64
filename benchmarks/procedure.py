"""The whole release of the example: `runbook run sous_directions` against the hand procedure.

Both begin from the same seeded database at core 0032 (restored from a template, which is not counted), back
it up, migrate, move the services, count, export, and restart a real gunicorn; only `runbook run` then waits
for its health. Wall-clock time from the command's start to its end. A run that ends in another state than the
first one stops the benchmark.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from comparison import Comparison, compare
from example_site import DATABASES, Project, Site, end_state, example, health_url
from provision import Failed, say

NAMES = {"sqlite": "SQLite", "mariadb": "MariaDB", "postgresql": "PostgreSQL"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--services", type=int, default=100_000, metavar="N", help="default: 100000")
    parser.add_argument(
        "--database", choices=DATABASES, action="append", help="may be repeated (default: all three)"
    )


def measure(options: argparse.Namespace) -> Iterator[Comparison]:
    for database in options.database or DATABASES:
        with (
            tempfile.TemporaryDirectory(prefix="bench-") as folder,
            example(database, Path(folder) / "ediligence") as project,
        ):
            yield compare_on(project, options)


def compare_on(project: Project, options: argparse.Namespace) -> Comparison:
    states: set[str] = set()
    ways = {name: partial(seconds_of, name, project, options.services, states) for name in WAYS}
    return compare(NAMES[project.kind], ways, runs=options.runs)


def seconds_of(name: str, project: Project, services: int, states: set[str]) -> float:
    """Put everything back to the beginning, and time one way. Raise Failed if it ends in another state."""
    shutil.rmtree(project.folder / "var", ignore_errors=True)
    project.at_0032(services)
    with project.serve() as site:
        began = time.monotonic()
        WAYS[name](project, site)
        seconds = time.monotonic() - began
    states.add(end_state(project))
    if len(states) > 1:
        raise Failed(f"{NAMES[project.kind]}: {name} has ended in another state than the runs before it.")
    say(f"{NAMES[project.kind]}, {services} services, {name}: {seconds:.2f} s")
    return seconds


def with_the_runbook(project: Project, site: Site) -> None:
    project.manage("runbook", "run", "sous_directions", "--noinput", HEALTH_URL=health_url(site))


def by_hand(project: Project, site: Site) -> None:
    project.by_hand()


WAYS: dict[str, Callable[[Project, Site], None]] = {
    "runbook run": with_the_runbook,
    "procedure.sh": by_hand,
}
