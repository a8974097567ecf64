"""Kill a migration of the example at every point, run it again, and print what is left, as a Markdown table.

    python scripts/crash_points.py [--database mariadb]     in the environment of scripts/test

Each point is a process of its own on a copy of the same database, killed with SIGKILL right after a statement
that changes the schema, or after the commit of a transaction that holds some. A second process then goes on:
`migrate` again, or ours. It has recovered if it ends with exit code 0 and with the schema, the rows and the
recorded migrations of a run that was never killed.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

from example_site import DATABASES, Project, example
from provision import ROOT, Failed, finish, say

NAMES = {"sqlite": "SQLite", "mariadb": "MariaDB", "postgresql": "PostgreSQL"}
KILLED = ROOT / "benchmarks/children/killed_migration.py"
SERVICES = 50
HEADINGS = ("", "points", "`migrate` recovers", "stuck", "silently different", "`runbook` recovers")


class End(StrEnum):
    """What became of a database after the second process."""

    RECOVERED = "recovered"
    STUCK = "stuck"
    """The second process failed."""
    DIFFERENT = "different"
    """It said that all is well, and the database is another one than it should be."""


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--database", choices=DATABASES, action="append", help="default: all three")
    options = parser.parse_args(arguments)
    rows = list(map(row_of, options.database or DATABASES))
    for row in (HEADINGS, ["---"] * len(HEADINGS), *rows):
        say(f"| {' | '.join(map(str, row))} |")
    return 0


def row_of(kind: str) -> tuple[object, ...]:
    with (
        tempfile.TemporaryDirectory(prefix="crash-points-") as folder,
        example(kind, Path(folder) / "ediligence") as project,
    ):
        _points, wanted = migrate(project.at_0032(SERVICES), "plain")
        plain = list(ends(project, "plain", wanted))
        ours = list(ends(project, "runbook", wanted))
    counts = Counter(plain)
    if len(plain) != len(ours):
        raise Failed(f"{NAMES[kind]}: {len(plain)} points by `migrate`, {len(ours)} by `runbook`.")
    return (
        NAMES[kind],
        len(plain),
        *(counts[end] for end in End),
        Counter(ours)[End.RECOVERED],
    )


def ends(project: Project, way: str, wanted: str) -> Iterator[End]:
    """What became of it at each point. Raise Failed if it ends otherwise without any kill."""
    points, digest = migrate(project.at_0032(SERVICES), way)
    if digest != wanted:
        raise Failed(f"{NAMES[project.kind]}: {way} ends in another database although nothing was killed.")
    for point in range(1, points + 1):
        killed = project.at_0032(SERVICES).run(sys.executable, KILLED, way, str(point), check=False)
        if killed.returncode != -signal.SIGKILL:
            raise Failed(f"Point {point} was not reached:\n{killed.stderr}")
        end = went_on(project, way, wanted)
        say(f"{NAMES[project.kind]}, {way}, point {point} of {points}: {end}")
        yield end


def went_on(project: Project, way: str, wanted: str) -> End:
    ended = project.run(sys.executable, KILLED, way, "0", check=False)
    if ended.returncode:
        say(ended.stderr.strip().splitlines()[-1])
        return End.STUCK
    return End.RECOVERED if json.loads(ended.stdout.splitlines()[-1])["digest"] == wanted else End.DIFFERENT


def migrate(project: Project, way: str) -> tuple[int, str]:
    """Migrate without a kill; return the number of points and the digest of the database."""
    result = json.loads(project.run(sys.executable, KILLED, way, "0").stdout.splitlines()[-1])
    return result["points"], result["digest"]


if __name__ == "__main__":
    finish(main)
