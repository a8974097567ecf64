"""Several worker processes on one backfill, which are killed, stopped and brought back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from crewed import Marked
from gangs import MIGRATIONS, Marksman, set_up_for_children
from harvest import counts, fill, make_run

from django_runbook.backfills.assignment import Assignment
from django_runbook.backfills.crews import LocalCrew
from django_runbook.backfills.runner import BackfillRun
from django_runbook.backfills.task import Task
from django_runbook.backfills.worker import Pace
from django_runbook.databases import Database

ROWS = 3000
MakeCrewed = Callable[..., BackfillRun]


@pytest.fixture
def marksman(tmp_path: Path) -> Marksman:
    return Marksman(marks=tmp_path / "marks")


@pytest.fixture
def crewed(harvest: Database, marksman: Marksman, monkeypatch: pytest.MonkeyPatch) -> MakeCrewed:
    """Call it with a task to get its backfill, on which processes work."""
    set_up_for_children(monkeypatch, harvest, marksman.marks)

    def make(task: type[Task] = Marked, *, workers: int = 3, pace: Pace | None = None, **more: Any) -> Any:
        pace = pace or Pace(target=None, size=10)
        run = make_run(harvest, task, pace=pace, **more)
        assignment = Assignment.of(task, MIGRATIONS, pace=pace, window="", workers=workers)
        run.ledger.write(assignment=assignment.to_text())
        run.crew = LocalCrew(ledger=run.ledger, count=workers)
        return run

    return make


def test_each_row_is_done_once_by_one_of_them(harvest: Database, crewed: MakeCrewed, marksman: Marksman):
    told: list[dict[str, Any]] = []
    fill(harvest, ROWS)
    run = crewed(progress=lambda **facts: told.append(facts))
    assert run.execute() == {"rows": ROWS, "batches": ROWS // 10}
    assert counts(harvest) == [1] * ROWS
    assert len(marksman.where()) == 3
    assert not marksman.seen()
    assert max(facts["workers"] for facts in told) == 3
    assert run.ledger.row.conducted_until == 0
