"""Kill a migration of the example at every point, run it again, and print what is left, as a Markdown table.

    python scripts/crash_points.py [--database mariadb]     in the environment of scripts/test
    python scripts/crash_points.py --project wagtail --points 40

Of the example it is one migration, of Wagtail the whole history, at points that are drawn from a seed.
Each point is a process of its own on a copy of the same database, killed with SIGKILL right after a statement
that changes the schema, or after the commit of a transaction that holds some. A second process then goes on:
`migrate` again, or ours. It has recovered if it ends with exit code 0 and with the schema, the rows and the
recorded migrations of a run that was never killed.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from example_site import DATABASES, Project, example
from provision import ROOT, Failed, finish, say

sys.path.insert(0, str(ROOT / "benchmarks"))
from migrate import NAMES, MakeDatabase, databases, wagtail_environment

CHILDREN = ROOT / "benchmarks/children"
SERVICES = 50
HEADINGS = (
    "",
    "points",
    "killed at",
    "`migrate` recovers",
    "stuck",
    "silently different",
    "`runbook` recovers",
)


class End(StrEnum):
    """What became of a database after the second process."""

    RECOVERED = "recovered"
    STUCK = "stuck"
    """The second process failed."""
    DIFFERENT = "different"
    """It said that all is well, and the database is another one than it should be."""


@dataclass(frozen=True, kw_only=True)
class Ended:
    """What a process said at its end; `points` and `digest` only if it came to that."""

    status: int
    points: int = 0
    digest: str = ""
    error: str = ""


class Subject(Protocol):
    """A project on one kind of database, of which a migration, or all of them, are applied."""

    kind: str

    def begin(self) -> None:
        """Put the database back to the moment before."""

    def migrate(self, way: str, point: int = 0) -> Ended:
        """Apply what there is, "plain" or by "runbook", in a process that is killed at a point."""


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--project", choices=SUBJECTS, default="example")
    parser.add_argument("--database", choices=DATABASES, action="append", help="default: all three")
    parser.add_argument("--points", type=int, metavar="N", help="only so many, drawn (default: every point)")
    parser.add_argument("--seed", type=int, default=1, help="of the drawing (default: 1)")
    options = parser.parse_args(arguments)
    rows = [row_of(kind, options) for kind in options.database or DATABASES]
    for row in (HEADINGS, ["---"] * len(HEADINGS), *rows):
        say(f"| {' | '.join(map(str, row))} |")
    return 0


def row_of(kind: str, options: argparse.Namespace) -> tuple[object, ...]:
    with SUBJECTS[options.project](kind) as subject:
        plain, ours = (undisturbed(subject, way) for way in ("plain", "runbook"))
        if ours.digest != plain.digest:
            raise Failed(f"{NAMES[kind]}: `runbook` ends in another database although nothing was killed.")
        theirs = Counter(ends(subject, "plain", plain, options))
        recovered = Counter(ends(subject, "runbook", ours, options))[End.RECOVERED]
    return (
        NAMES[kind],
        plain.points if plain.points == ours.points else f"{plain.points}, {ours.points}",
        options.points or "all",
        *(theirs[end] for end in End),
        recovered,
    )


def undisturbed(subject: Subject, way: str) -> Ended:
    subject.begin()
    ended = subject.migrate(way)
    if ended.status:
        raise Failed(f"{NAMES[subject.kind]}, {way}: it fails although nothing was killed:\n{ended.error}")
    return ended


def ends(subject: Subject, way: str, wanted: Ended, options: argparse.Namespace) -> Iterator[End]:
    """What became of it at each point, or at those that are drawn."""
    points: Sequence[int] = range(1, wanted.points + 1)
    if options.points:
        points = sorted(random.Random(options.seed).sample(points, options.points))
    for point in points:
        subject.begin()
        killed = subject.migrate(way, point)
        if killed.status != -signal.SIGKILL:
            raise Failed(f"Point {point} was not reached:\n{killed.error}")
        end = end_of(subject.migrate(way), wanted)
        say(f"{NAMES[subject.kind]}, {way}, point {point} of {wanted.points}: {end}")
        yield end


def end_of(ended: Ended, wanted: Ended) -> End:
    if ended.status:
        say(ended.error.splitlines()[-1])
        return End.STUCK
    return End.RECOVERED if ended.digest == wanted.digest else End.DIFFERENT


class Example:
    """The migration core 0033 of the example."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.kind = project.kind

    def begin(self) -> None:
        self.project.at_0032(SERVICES)

    def migrate(self, way: str, point: int = 0) -> Ended:
        ended = self.project.run(
            sys.executable, CHILDREN / "killed_migration.py", way, str(point), check=False
        )
        told = json.loads(ended.stdout.splitlines()[-1]) if not ended.returncode else {}
        return Ended(status=ended.returncode, error=ended.stderr.strip(), **told)


class Wagtail:
    """All migrations of Wagtail and Django, from an empty database."""

    def __init__(self, kind: str, make_database: MakeDatabase) -> None:
        self.kind = kind
        self.make_database = make_database
        self.database = make_database()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "killed_histories"],
            env=wagtail_environment(self.database, CHILDREN),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def begin(self) -> None:
        self.database = self.make_database()

    def migrate(self, way: str, point: int = 0) -> Ended:
        request = {"database": self.database, "way": way, "point": point}
        print(json.dumps(request), file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline() if self.process.stdout else ""
        if not answer:
            raise Failed("The process that forks the others has ended.")
        return Ended(**json.loads(answer))


@contextmanager
def the_example(kind: str) -> Iterator[Subject]:
    with (
        tempfile.TemporaryDirectory(prefix="crash-points-") as folder,
        example(kind, Path(folder) / "ediligence") as project,
    ):
        yield Example(project)


@contextmanager
def wagtail(kind: str) -> Iterator[Subject]:
    with databases(kind, in_memory=True) as make_database:
        subject = Wagtail(kind, make_database)
        with subject.process:
            yield subject


SUBJECTS = {"example": the_example, "wagtail": wagtail}

if __name__ == "__main__":
    finish(main)
