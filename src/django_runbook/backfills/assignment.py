"""What a worker elsewhere has to know to take part in a backfill: as JSON, in the ledger."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from importlib import import_module
from operator import attrgetter
from typing import Self

from django.utils.translation import gettext as _

from django_runbook.backfills.task import Task
from django_runbook.backfills.worker import Pace
from django_runbook.exceptions import RunbookError
from django_runbook.schema.history import Key

_SOURCES: dict[type[Task], str] = {}
"""SHA-256 of each task's source when this process first met it: what it runs, though the file changes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """One task at one place of a plan."""

    task: str
    """"module:Class"."""
    source: str
    """SHA-256 of its source."""
    migrations: tuple[Key, ...]
    """Those whose state has the models that match the database."""
    pace: Pace
    window: str
    workers: int
    """How many are to take part."""

    @classmethod
    def of(
        cls, task: type[Task], migrations: Iterable[Key], *, pace: Pace, window: str, workers: int
    ) -> Self:
        return cls(
            task=f"{task.__module__}:{task.__qualname__}",
            source=_source_of(task),
            migrations=tuple(sorted(migrations)),
            pace=pace,
            window=window,
            workers=workers,
        )

    @classmethod
    def from_text(cls, text: str) -> Self:
        facts = json.loads(text)
        migrations = tuple((app_label, name) for app_label, name in facts.pop("migrations"))
        return cls(**facts | {"pace": Pace(**facts["pace"]), "migrations": migrations})

    def to_text(self) -> str:
        return json.dumps(asdict(self))

    def load_task(self) -> Task:
        """The task as this process has it. Raise RunbookError if it is not there, or reads differently."""
        module, _colon, name = self.task.partition(":")
        try:
            task: type[Task] = attrgetter(name)(import_module(module))
        except (ImportError, AttributeError) as error:
            raise RunbookError(
                _("A worker does not find the task %(task)s: %(error)s")
                % {"task": self.task, "error": error},
                _("Bring the same release to every machine that has workers, restart them, then resume."),
            ) from error
        if _source_of(task) != self.source:
            raise RunbookError(
                _("A worker has another version of the task %(task)s.") % {"task": self.task},
                _("Bring the same release to every machine that has workers, restart them, then resume."),
            )
        return task()


def _source_of(task: type[Task]) -> str:
    if task not in _SOURCES:
        _SOURCES[task] = hashlib.sha256(inspect.getsource(task).encode()).hexdigest()
    return _SOURCES[task]
