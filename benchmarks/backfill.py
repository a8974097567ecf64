"""Migration core 0033 with its data and its indexes, whole: the runbook against what people write.

On a million services (`--services`), while a second client updates one row after the other, all the time; how
long it had to wait is printed for each way. Ours is `runbook run` of the example's runbook up to the step
after which data and indexes are there, by the journal's times, without the backup before it. The rivals apply
core 0033 with plain `migrate` and then move the data. Of the script that saves each object only the first
rows are measured (`--saved`), and the rest is reckoned from them.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from comparison import Comparison, compare
from example_site import DATABASES, Project, example
from provision import ROOT, Failed, say

NAMES = {"sqlite": "SQLite", "mariadb": "MariaDB", "postgresql": "PostgreSQL"}
CHILDREN = ROOT / "benchmarks/children"
RIVALS = ("save", "bulk_update", "batches", "directions", "single")
RUNBOOK = '''
from core.backfills import MoveServicesToSousDirections
from django_runbook import Backfill, Backup, Migrate, Runbook


class Measured(Runbook):
    """The part of the release that is measured."""

    steps = [
        Backup(),
        Migrate("core", "0033", defer_indexes=True),
        Backfill(MoveServicesToSousDirections, workers={workers}),
        Migrate("core", "0033"),
        Migrate.all(),
    ]
'''
LEFT = """
from core.models import Service
from core.organisation import STILL_TO_MOVE
print(Service.objects.filter(STILL_TO_MOVE).count())
"""
MEASURED_STEPS = ("2-", "3-", "4-")
"""How the keys of the steps begin that are measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One way, and what another client noticed of it."""

    seconds: float
    parts: list[tuple[str, float]]
    """What was done, and when it began, in seconds since 1970."""
    ended: float

    def part_of(self, at: float) -> str:
        """What was being done at a moment."""
        return [name for name, began in self.parts if began <= at or began == self.parts[0][1]][-1]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--services", type=int, default=1_000_000, metavar="N", help="default: 1000000")
    parser.add_argument("--saved", type=int, default=10_000, metavar="N", help="default: 10000")
    parser.add_argument(
        "--database", choices=DATABASES, action="append", help="may be repeated (default: all three)"
    )
    parser.add_argument("--workers", type=int, default=0, metavar="N", help="of ours; default: the run alone")
    parser.add_argument("--rival", choices=RIVALS, action="append", help="may be repeated (default: all)")


def measure(options: argparse.Namespace) -> Iterator[Comparison]:
    for kind in options.database or DATABASES:
        with (
            tempfile.TemporaryDirectory(prefix="bench-") as folder,
            example(kind, Path(folder) / "ediligence") as project,
        ):
            (project.folder / "core/runbooks/measured.py").write_text(RUNBOOK.format(workers=options.workers))
            (project.folder / "core/runbooks/sous_directions.py").unlink()
            for rival in options.rival or RIVALS:
                ways = {
                    "runbook": partial(timed, with_the_runbook, project, options),
                    rival: partial(timed, partial(by_hand, rival), project, options),
                }
                yield compare(f"{NAMES[kind]}: {rival}", ways, runs=options.runs)


def timed(way: Any, project: Project, options: argparse.Namespace) -> float:
    """Put everything back to the beginning, and time one way, beside the second client."""
    shutil.rmtree(project.folder / "var", ignore_errors=True)
    project.at_0032(options.services)
    with second_client(project) as waits_of:
        measured = way(project, options)
        waits = waits_of(measured.parts[0][1], measured.ended)
    refuse_unmoved(project, options)
    longest, ended = max((took, at + took) for at, took in waits)
    late = percentile([took for _at, took in waits], 0.99)
    for (part, since), (_next, until) in pairwise([*measured.parts, ("", measured.ended)]):
        say(f"    {part}: {until - since:.1f} s")
    say(
        f"  {getattr(way, 'args', ['runbook'])[0]}: {measured.seconds:.1f} s, "
        f"{options.services / measured.seconds:,.0f} rows/s; the other client waited {longest * 1000:.0f} ms "
        f"at most (until in {measured.part_of(ended)}), p99 {late * 1000:.1f} ms, of {len(waits)} updates"
    )
    return measured.seconds


def with_the_runbook(project: Project, options: argparse.Namespace) -> Measured:
    project.manage("runbook", "run", "measured", "--noinput")
    [journal] = project.runs.glob("*/journal.jsonl")
    entries = [json.loads(line) for line in journal.read_text().splitlines()]
    begun = [
        (entry["step"], datetime.fromisoformat(entry["at"]).timestamp(), entry["event"])
        for entry in entries
        if entry["step"][:2] in MEASURED_STEPS and entry["event"] in ("started", "succeeded")
    ]
    parts = [(step, at) for step, at, event in begun if event == "started"]
    return Measured(seconds=begun[-1][1] - begun[0][1], parts=parts, ended=begun[-1][1])


def by_hand(rival: str, project: Project, options: argparse.Namespace) -> Measured:
    words = [sys.executable, str(CHILDREN / "moving.py"), rival, str(options.saved)]
    ended = subprocess.run(
        words, cwd=project.folder, env=child_env(project), stdout=subprocess.PIPE, check=True
    )
    return Measured(**json.loads(ended.stdout.splitlines()[-1]))


def refuse_unmoved(project: Project, options: argparse.Namespace) -> None:
    """Raise Failed unless every service has its sous-direction; the script that saves was cut short."""
    left = int(project.python(LEFT))
    if left not in (0, options.services - options.saved):
        raise Failed(f"{left} services were not moved")


@contextmanager
def second_client(project: Project) -> Iterator[Any]:
    """Updates one row after the other. What is yielded gives when it began to wait, and how long."""
    log = project.folder / "waits"
    words = [sys.executable, str(CHILDREN / "second_client.py"), str(log)]
    process = subprocess.Popen(words, cwd=project.folder, env=child_env(project), stdin=subprocess.PIPE)
    try:
        until = time.monotonic() + 30
        while not log.exists() and time.monotonic() < until and process.poll() is None:
            time.sleep(0.05)

        def waits(began: float, ended: float) -> list[tuple[float, float]]:
            process.stdin.close()  # by which it ends
            process.wait()
            lines = (tuple(map(float, line.split())) for line in log.read_text().splitlines())
            return [(at, took) for at, took in lines if began <= at + took and at <= ended]

        yield waits
    finally:
        process.kill()
        process.wait()
        log.unlink(missing_ok=True)


def child_env(project: Project) -> dict[str, str]:
    return {**project.env, "DJANGO_SETTINGS_MODULE": "ediligence.settings", "PYTHONPATH": str(project.folder)}


def percentile(values: list[float], part: float) -> float:
    ordered = sorted(values)
    return ordered[int(part * (len(ordered) - 1))] if ordered else 0
