"""When a backfill holds back, and what it says."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import time as clock_time
from typing import Any

import pytest
from django.db import DatabaseError
from harvest import NO_LIMITS, AddOne, counts, fill, make_run

from django_runbook.backfill_ledger import BackfillLedger, Control
from django_runbook.backfills.standing import give_word, standing_of
from django_runbook.backfills.throttle import Cancelled, Limits, Window
from django_runbook.backfills.worker import Pace
from django_runbook.databases import Database
from django_runbook.exceptions import Interrupted

ONE_BY_ONE = Pace(target=None, size=1)
SLOW = Pace(target=None, size=1, max_rate=20)


@pytest.fixture(autouse=True)
def _looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django_runbook.backfills.throttle.LOOK_EVERY", 0.02)


class Ended(Exception):
    """The test has seen what it wanted."""


def halts(database: Database, **options: Any) -> list[str]:
    """The reasons that a backfill gives, until the first one stands for the third time."""
    said: list[str] = []

    def progress(**facts: Any) -> None:
        said.extend([facts["halted"]] if "halted" in facts else [])
        if len(said) == 3:
            raise Ended

    fill(database, 3)
    with pytest.raises(Ended):
        make_run(database, pace=ONE_BY_ONE, progress=progress, **options).execute()
    assert counts(database) == [0, 0, 0]
    assert BackfillLedger.begin(database, "r", "1-backfill").row.halted == said[0]
    return said


def limits(**changed: Any) -> Limits:
    values = {"lag": 5, "running": 10_000, "waiting": 10_000, **changed}
    return Limits(**values)


def test_the_projects_own_signal_is_heeded(harvest: Database):
    assert halts(harvest, limits=limits(ask=lambda: "the queue is full"))[0] == "the queue is full"


def test_a_signal_that_cannot_be_read_is_a_reason(harvest: Database):
    def broken() -> None:
        raise OSError("no route")

    assert "a signal of health cannot be read: no route" in halts(harvest, limits=limits(ask=broken))[0]


def test_vitals_that_cannot_be_read_are_a_reason(harvest: Database, monkeypatch: pytest.MonkeyPatch):
    def denied(self: Database) -> None:
        raise DatabaseError("access denied")

    monkeypatch.setattr(type(harvest), "vitals", denied)
    assert "cannot be read: access denied" in halts(harvest)[0]


@pytest.mark.parametrize("database", ["mariadb", "postgresql"], indirect=True)
def test_sessions_at_work_are_counted(harvest: Database):
    with slow_query(harvest):
        reason = halts(harvest, limits=limits(running=0))[0]
    assert "1 sessions are at work on the server, more than 0" in reason


@pytest.mark.parametrize("database", ["mariadb", "postgresql"], indirect=True)
def test_a_database_that_is_no_replica_is_no_healthy_one(harvest: Database):
    reason = halts(harvest, limits=limits(replicas=(harvest.alias,)))[0]
    assert reason == f"a signal of health cannot be read: database '{harvest.alias}' is no replica"


def test_outside_of_its_hours_it_waits(harvest: Database):
    never = Window(clock_time(0), clock_time(0))
    assert halts(harvest, window=never)[0] == "outside of its hours, 00:00-00:00"


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("22:00-06:00", ("22:00", "23:59", "05:59"), ("06:00", "21:59")),
        ("09:30-17:00", ("09:30",), ("17:00",)),
    ],
)
def test_hours_may_reach_into_the_next_day(text: str, inside: tuple[str, ...], outside: tuple[str, ...]):
    window = Window.parse(text)
    assert all(window.holds(clock_time.fromisoformat(it)) for it in inside)
    assert not any(window.holds(clock_time.fromisoformat(it)) for it in outside)


def test_a_pause_holds_until_it_ends(harvest: Database):
    fill(harvest, 40)
    seen: list[tuple[float, int]] = []

    def talk(ledger: BackfillLedger) -> None:
        give_word([ledger], control=Control.PAUSE)
        until(lambda: ledger.reload().halted.startswith("paused"))
        seen.append((time.monotonic(), standing_of(ledger).seen))
        time.sleep(0.3)
        seen.append((time.monotonic(), standing_of(ledger).seen))
        give_word([ledger], control=Control.GO_ON)

    with meanwhile(harvest, talk):
        make_run(harvest, pace=SLOW).execute()
    assert seen[0][1] == seen[1][1] < 40
    assert counts(harvest) == [1] * 40


def test_a_cancelled_one_goes_on_with_the_next_attempt(harvest: Database):
    fill(harvest, 40)
    with (
        meanwhile(harvest, lambda ledger: give_word([ledger], control=Control.CANCEL)),
        pytest.raises(Cancelled),
    ):
        make_run(harvest, pace=SLOW).execute()
    assert 0 < sum(counts(harvest)) < 40
    make_run(harvest, pace=ONE_BY_ONE).execute()
    assert counts(harvest) == [1] * 40


def test_the_target_changes_while_it_runs(harvest: Database):
    fill(harvest, 60)
    with meanwhile(harvest, lambda ledger: give_word([ledger], target=30.0, max_rate=1_000_000)):
        done = make_run(harvest, pace=Pace(target=0.000_001, size=1, max_rate=20)).execute()
    assert done["batches"] < 50


def test_the_rate_is_kept(harvest: Database):
    fill(harvest, 30)
    began = time.monotonic()
    make_run(harvest, pace=Pace(target=None, size=10, max_rate=100)).execute()
    assert time.monotonic() - began >= 0.3


def test_an_operator_who_stops_it_while_it_waits_stops_it_at_once(harvest: Database):
    def stop() -> None:
        if counts(harvest)[0]:
            raise Interrupted("")

    fill(harvest, 3)
    began = time.monotonic()
    with pytest.raises(Interrupted):
        make_run(harvest, pace=Pace(target=None, size=1, max_rate=1), safe_point=stop).execute()
    assert time.monotonic() - began < 0.9
    make_run(harvest, AddOne, pace=ONE_BY_ONE, limits=NO_LIMITS).execute()
    assert counts(harvest) == [1] * 3


class meanwhile:
    """Do something from another session once the backfill has begun to move."""

    def __init__(self, database: Database, action: Callable[[BackfillLedger], object]) -> None:
        self.database = database
        self.action = action
        self.thread = threading.Thread(target=self._act)
        self.errors: list[BaseException] = []

    def _act(self) -> None:
        try:
            until(lambda: any(standing_of(it).seen > 2 for it in BackfillLedger.of_run(self.database, "r")))
            [ledger] = BackfillLedger.of_run(self.database, "r")
            self.action(ledger)
        except BaseException as error:
            self.errors.append(error)
        finally:
            self.database.connection.close()

    def __enter__(self) -> None:
        self.thread.start()

    def __exit__(self, *exc_info: object) -> None:
        self.thread.join()
        assert not self.errors


class slow_query(meanwhile):
    """Another session that executes one statement all the time."""

    def __init__(self, database: Database) -> None:
        super().__init__(database, lambda ledger: None)

    def _act(self) -> None:
        sleep = "pg_sleep" if self.database.connection.vendor == "postgresql" else "SLEEP"
        self.database.ask(f"SELECT {sleep}(1)")
        self.database.connection.close()

    def __enter__(self) -> None:
        super().__enter__()
        until(lambda: self.database.vitals().running > 0)


def until(condition: Callable[[], bool]) -> None:
    """Raise AssertionError if it does not come true in ten seconds."""
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)
