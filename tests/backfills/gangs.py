"""What the drills of several workers share: their setting, and signals that are known to have hit."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from crewed import MARKS, Marked
from django.db import connections
from harvest import make_run
from settings import DATABASES_FROM_PARENT, INSTALLED_APPS, SETTINGS_FROM_PARENT

from django_runbook.backfills.assignment import Assignment
from django_runbook.backfills.crews import LocalCrew
from django_runbook.backfills.runner import BackfillRun
from django_runbook.backfills.task import Task
from django_runbook.backfills.worker import Pace
from django_runbook.databases import Database

SEED = int(os.environ.get("RUNBOOK_DRILL_SEED", "20260102"))
MIGRATIONS = [("harvest", "0001_initial")]
PLACE = ("HOST", "PORT", "USER", "PASSWORD", "NAME", "OPTIONS")


def set_up_for_children(
    monkeypatch: pytest.MonkeyPatch, database: Database, marks: Path, *, lease: float = 1.0, **settings: Any
) -> None:
    """Let processes that are started from here on find the database, and mark where they are."""
    place = {name: database.connection.settings_dict[name] for name in PLACE}
    there = {
        "INSTALLED_APPS": [*INSTALLED_APPS, "sheaves.apps.SheavesConfig"],
        "RUNBOOK": {"BACKFILL": {"LEASE": lease}},
        **settings,
    }
    marks.write_text("")
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "settings")
    monkeypatch.setenv(DATABASES_FROM_PARENT, json.dumps({database.alias: place}))
    monkeypatch.setenv(SETTINGS_FROM_PARENT, json.dumps(there))
    monkeypatch.setenv(MARKS, str(marks))


def make_crewed(
    database: Database,
    task: type[Task] = Marked,
    *,
    workers: int = 3,
    pace: Pace | None = None,
    size: int = 10,
    **more: Any,
) -> BackfillRun:
    """A backfill on which processes work."""
    pace = pace or Pace(target=None, size=size)
    run = make_run(database, task, pace=pace, **more)
    assignment = Assignment.of(task, MIGRATIONS, pace=pace, window="", workers=workers)
    run.ledger.write(assignment=assignment.to_text())
    run.crew = LocalCrew(ledger=run.ledger, count=workers)
    return run


@dataclass(kw_only=True)
class Marksman:
    """Sends signals to workers, and knows which of them hit a batch under way."""

    marks: Path
    random: random.Random = field(default_factory=lambda: random.Random(SEED))
    hits: list[int] = field(default_factory=list)
    """Workers that were within a batch."""
    misses: list[int] = field(default_factory=list)

    def where(self) -> dict[int, str]:
        """The last mark of each worker."""
        lines = [line for line in self.marks.read_text().split("\n") if len(line) > 1]
        return {int(line[1:]): line[0] for line in lines}

    def seen(self) -> list[int]:
        """Workers that have begun a batch and are there."""
        return [pid for pid in self.where() if is_alive(pid)]

    def shoot(self, number: int, pid: int) -> None:
        """Look where it is when it stands still."""
        os.kill(pid, signal.SIGSTOP)
        until(lambda: state_of(pid) in "Tt")
        (self.hits if self.where().get(pid) == "<" else self.misses).append(pid)
        if number != signal.SIGSTOP:
            os.kill(pid, number)

    @contextmanager
    def shooting(self, every: float, act: Callable[[Marksman], object]) -> Iterator[None]:
        """Do it again and again, beside the block."""
        over = threading.Event()

        def go_on() -> None:
            while not over.wait(every * self.random.uniform(0.5, 1.5)):
                with suppress(ProcessLookupError):
                    act(self)
            connections.close_all()  # this thread's own

        thread = threading.Thread(target=go_on)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def kill_one(self) -> None:
        if there := self.seen():
            self.shoot(signal.SIGKILL, self.random.choice(there))

    def wake(self) -> None:
        for pid in {*self.hits, *self.misses}:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def state_of(pid: int) -> str:
    """One letter, as the kernel tells it. Raise ProcessLookupError."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError as error:
        raise ProcessLookupError from error


def exists(pid: int) -> bool:
    """Does it run, or is it stopped?"""
    with suppress(ProcessLookupError):
        return state_of(pid) not in "ZX"
    return False


def is_alive(pid: int) -> bool:
    try:
        return state_of(pid) not in "ZXTt"
    except ProcessLookupError:
        return False


def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    """Raise AssertionError if it does not come true in time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)
