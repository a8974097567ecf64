"""The measures of a rehearsal: taken as its journal is written, and by a session beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Event as Signal
from threading import Lock, Thread
from typing import Any

from django.db import DatabaseError, connections

from django_runbook.databases import Database, get_database
from django_runbook.databases.gauges import Gauge
from django_runbook.exceptions import RunbookError
from django_runbook.journal import Entry, Event
from django_runbook.rehearsals.certificates import StepMeasure

INTERVAL = 0.05
"""Seconds between two looks."""


class Sampler:
    """Looks, in a thread of its own, at what a session keeps others from and at what the database takes."""

    def __init__(self, alias: str, gauge: Gauge) -> None:
        self.alias = alias
        self.gauge = gauge
        self._locks: dict[str, None] = {}
        self._peak = 0
        self._lock = Lock()
        self._over = Signal()
        self._thread = Thread(target=self._watch, daemon=True)

    def take(self) -> tuple[tuple[str, ...], int]:
        """What was seen since the last call: locks, and the most bytes."""
        with self._lock:
            seen = tuple(self._locks), self._peak
            self._locks, self._peak = {}, 0
        return seen

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        """Django opens a connection of this thread's own under the alias."""
        watcher = get_database(self.alias)
        try:
            while not self._over.wait(INTERVAL):
                with suppress(DatabaseError, RunbookError):
                    self._look(watcher)
        finally:
            connections[self.alias].close()

    def _look(self, watcher: Database) -> None:
        locks, size = self.gauge.locks(watcher), self.gauge.disk(watcher)
        with self._lock:
            self._locks.update(dict.fromkeys(locks))
            self._peak = max(self._peak, size)


class Measures:
    """Takes in the journal's entries, passes them on, and knows what each step that ended took."""

    def __init__(self, database: Database, sampler: Sampler, announce: Callable[[Entry], None]) -> None:
        self.steps: list[StepMeasure] = []
        self._titles: dict[str, str] = {}
        self._database = database
        self._sampler = sampler
        self._announce = announce
        self._began: Entry | None = None
        self._storage: dict[str, Any] = {}

    def __call__(self, entry: Entry) -> None:
        self._announce(entry)
        match entry.event:
            case Event.OPENED:
                self._titles = {step["key"]: step["title"] for step in entry.facts["steps"]}
            case Event.STARTED:
                self._storage = self._sampler.gauge.storage(self._database)
                self._sampler.take()
                self._began = entry
            case Event.SUCCEEDED if self._began:
                self.steps.append(self._measured(self._began, entry))

    def _measured(self, began: Entry, ended: Entry) -> StepMeasure:
        locks, peak = self._sampler.take()
        now = self._sampler.gauge.storage(self._database)
        rows = ended.facts.get("rows")
        return StepMeasure(
            key=ended.step,
            title=self._titles[ended.step],
            seconds=(ended.at - began.at).total_seconds(),
            rows=rows if isinstance(rows, int) else None,
            locks=locks,
            rebuilt=tuple(
                sorted(name for name, mark in self._storage.items() if name in now and now[name] != mark)
            ),
            peak_bytes=peak,
        )


@contextmanager
def measuring(database: Database, announce: Callable[[Entry], None]) -> Iterator[Measures]:
    """Within the block, measure what the session of `database` does."""
    sampler = Sampler(database.alias, database.gauge())
    sampler.start()
    try:
        yield Measures(database, sampler, announce)
    finally:
        sampler.stop()
