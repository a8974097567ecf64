"""Several worker processes on one backfill, which are killed, stopped and brought back."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from children import start_child
from crewed import POISON, WITHOUT_FENCE, Brief, Deadly, Marked, Picky
from gangs import Marksman, exists, make_crewed, set_up_for_children, until
from harvest import counts, fill, make_run, rows
from places import ALIASES
from sampling import some_cases_in_ci

from django_runbook.backfill_ledger import Control
from django_runbook.backfills.runner import BackfillRun
from django_runbook.backfills.throttle import Cancelled
from django_runbook.backfills.worker import Pace
from django_runbook.databases import Database
from django_runbook.exceptions import Interrupted, RunbookError

ROWS = 600 if os.environ.get("CI") else 1200
SIZE = 10
BURIED = 2
"""So often a worker sleeps between two batches: the transaction of the next may have just begun."""
MakeCrewed = Callable[..., BackfillRun]
RUN = """
from crewed import Marked
from gangs import make_crewed
make_crewed(get_database({alias!r}), Marked, size={size}).execute()
"""


@pytest.fixture
def marksman(tmp_path: Path) -> Marksman:
    return Marksman(marks=tmp_path / "marks")


@pytest.fixture
def crewed(harvest: Database, marksman: Marksman, monkeypatch: pytest.MonkeyPatch) -> MakeCrewed:
    """Call it with a task to get its backfill, on which processes work."""
    set_up_for_children(monkeypatch, harvest, marksman.marks)
    return lambda task=Marked, **more: make_crewed(harvest, task, **more)


def test_each_row_is_done_once_by_one_of_them(harvest: Database, crewed: MakeCrewed, marksman: Marksman):
    told: list[dict[str, Any]] = []
    fill(harvest, ROWS)
    several_seconds = Pace(target=None, size=SIZE, max_rate=200)
    run = crewed(progress=lambda **facts: told.append(facts), pace=several_seconds)
    assert run.execute() == {"rows": ROWS, "batches": ROWS // SIZE}
    assert counts(harvest) == [1] * ROWS
    assert len(marksman.where()) > 1
    assert not marksman.seen()
    assert max(facts["workers"] for facts in told) > 1
    assert run.ledger.row.conducted_until == 0


def test_each_row_is_done_once_however_often_workers_are_killed(
    harvest: Database, crewed: MakeCrewed, marksman: Marksman
):
    fill(harvest, 2 * ROWS)
    with marksman.shooting(0.8, Marksman.kill_one):
        done = crewed().execute()
    assert counts(harvest) == [1] * 2 * ROWS
    assert done == {"rows": 2 * ROWS, "batches": 2 * ROWS // SIZE}
    assert marksman.hits


@pytest.mark.parametrize("database", ["mariadb", "postgresql"], indirect=True)
def test_a_worker_that_is_stopped_in_a_batch_keeps_nobody_waiting_for_ever(
    harvest: Database, crewed: MakeCrewed, marksman: Marksman
):
    """Its session is ended by the server, so that others can do the rows; when it wakes, it does nothing."""
    fill(harvest, ROWS)

    def stop_one(marksman: Marksman) -> None:
        if not marksman.hits and (there := marksman.seen()):
            marksman.shoot(signal.SIGSTOP, there[0])
            if not marksman.hits:
                marksman.wake()

    def wake_when_all_is_done() -> None:
        if marksman.hits and sum(counts(harvest)) == ROWS:
            marksman.wake()

    with marksman.shooting(0.1, stop_one):
        crewed(workers=2, safe_point=wake_when_all_is_done).execute()
    assert counts(harvest) == [1] * ROWS
    assert marksman.hits


@pytest.mark.parametrize(
    ("database", "fenced"),
    some_cases_in_ci([(kind, fenced) for kind in ALIASES for fenced in (True, False)]),
    indirect=["database"],
)
def test_a_worker_that_comes_back_from_the_dead_changes_nothing(
    harvest: Database, crewed: MakeCrewed, marksman: Marksman, monkeypatch: pytest.MonkeyPatch, fenced: bool
):
    """It slept between two batches until its range was another's; without the fence it does rows again."""
    if not fenced:
        monkeypatch.setenv(WITHOUT_FENCE, "1")
    fill(harvest, 600)
    run = crewed(Brief, workers=2, pace=Pace(target=None, size=5, max_rate=100))
    taken_over = 0

    def bury_alive(marksman: Marksman) -> None:
        nonlocal taken_over
        if len(marksman.misses) >= BURIED or not (there := marksman.seen()):
            return
        before = len(marksman.misses)
        marksman.shoot(signal.SIGSTOP, there[0])
        if len(marksman.misses) > before:
            time.sleep(3)
            taken_over = sum(it.fence > 1 for it in run.ledger.ranges)
        marksman.wake()
        if len(marksman.misses) >= BURIED:
            run.ledger.write(max_rate=100_000)

    with marksman.shooting(0.3, bury_alive):
        run.execute()
    assert taken_over
    assert (counts(harvest) == [1] * 600) is fenced


def test_rows_that_cannot_be_done_are_set_aside_by_whoever_meets_them(harvest: Database, crewed: MakeCrewed):
    fill(harvest, 200)
    rows(harvest).filter(pk__in=[1, 77, 78, 200]).update(label=POISON)
    done = crewed(Picky, pace=Pace(target=None, size=SIZE, tolerate=4)).execute()
    assert done["rows"] == 196
    assert done["quarantined"] == 4
    assert list(rows(harvest).filter(n=0).values_list("pk", flat=True).order_by("pk")) == [1, 77, 78, 200]


def test_more_of_them_than_are_tolerated_end_it(harvest: Database, crewed: MakeCrewed, marksman: Marksman):
    fill(harvest, 100)
    rows(harvest).filter(pk__in=[1, 100]).update(label=POISON)
    with pytest.raises(RunbookError, match=f"ValueError: {POISON}"):
        crewed(Picky).execute()
    assert sum(counts(harvest)) == 98
    assert not marksman.seen()


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_workers_that_die_whatever_is_done_are_not_replaced_for_ever(harvest: Database, crewed: MakeCrewed):
    fill(harvest, 10)
    with pytest.raises(RunbookError, match="the last words of a worker"):
        crewed(Deadly, workers=1).execute()


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_what_a_worker_cannot_go_on_for_ends_the_run(harvest: Database, crewed: MakeCrewed):
    """Here another version of the task than the run has."""
    fill(harvest, 10)
    run = crewed()
    run.ledger.write(assignment=run.ledger.row.assignment.replace('"source": "', '"source": "0'))
    with pytest.raises(RunbookError, match="another version of the task crewed:Marked") as caught:
        run.execute()
    assert "Bring the same release" in caught.value.hint
    assert sum(counts(harvest)) == 0


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_cancelling_lets_them_finish_their_batches(harvest: Database, crewed: MakeCrewed, marksman: Marksman):
    fill(harvest, ROWS)
    run = crewed()

    def cancel_soon() -> None:
        if run.ledger.totals()["batches"] > 5:
            run.ledger.write(control=Control.CANCEL)

    run.safe_point = cancel_soon
    with pytest.raises(Cancelled):
        run.execute()
    left_alone(harvest, run, marksman)


@pytest.mark.parametrize("database", ["mariadb"], indirect=True)
def test_ctrl_c_lets_them_finish_their_batches(harvest: Database, crewed: MakeCrewed, marksman: Marksman):
    fill(harvest, ROWS)
    run = crewed()

    def stop_soon() -> None:
        if run.ledger.totals()["batches"] > 5:
            raise Interrupted("")

    run.safe_point = stop_soon
    with pytest.raises(Interrupted):
        run.execute()
    left_alone(harvest, run, marksman)


def left_alone(harvest: Database, run: BackfillRun, marksman: Marksman) -> None:
    """All have left, between batches, and what they have done is counted; alone it goes on."""
    assert set(marksman.where().values()) == {">"}
    assert not any(exists(pid) for pid in marksman.where())
    done = run.ledger.totals()
    assert 0 < sum(counts(harvest)) == done["rows"] < ROWS
    assert done["rows"] == SIZE * done["batches"]
    make_run(harvest).execute()
    assert counts(harvest) == [1] * ROWS


def test_they_leave_when_their_run_is_killed(harvest: Database, crewed: MakeCrewed, marksman: Marksman):
    fill(harvest, ROWS)
    with start_child(RUN.format(alias=harvest.alias, size=SIZE), harvest) as run:
        until(lambda: len(marksman.seen()) > 1)
        workers = marksman.seen()
        run.kill()
    until(lambda: not any(exists(pid) for pid in workers))
    assert 0 < sum(counts(harvest)) < ROWS
    crewed().execute()
    assert counts(harvest) == [1] * ROWS
