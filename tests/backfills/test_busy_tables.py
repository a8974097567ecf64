"""A backfill beside clients that insert, update and delete all the time, and keep their own books."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import DatabaseError, transaction
from django.db.models import F
from harvest import AddOne, Label, fill, make_run, rows

from django_runbook.backfills.worker import Pace
from django_runbook.databases import Database

ROWS = 2000
STEP = 1000
"""What a client adds to a row: so many backfills would be needed to be taken for one of its updates."""


class Client(threading.Thread):
    """Updates, deletes and inserts rows, and books what was committed."""

    def __init__(self, database: Database, seed: int) -> None:
        super().__init__()
        self.database = database
        self.random = random.Random(seed)
        self.updates: Counter[int] = Counter()
        self.deleted: set[int] = set()
        self.inserted: set[int] = set()
        self.stop = threading.Event()
        self.errors: list[Exception] = []

    def run(self) -> None:
        try:
            while not self.stop.is_set():
                self.act()
        except Exception as error:
            self.errors.append(error)
        finally:
            self.database.connection.close()

    def act(self) -> None:
        """One of three things, each a transaction; what a deadlock rolls back is not booked."""
        pk = self.random.randint(1, ROWS)
        try:
            match self.random.choice(("update", "update", "delete", "insert")):
                case "update":
                    with transaction.atomic(using=self.database.alias):
                        changed = rows(self.database).filter(pk=pk).update(n=F("n") + STEP)
                    self.updates[pk] += changed
                case "delete":
                    with transaction.atomic(using=self.database.alias):
                        gone = rows(self.database).filter(pk=pk).delete()[0]
                    self.deleted |= {pk} if gone else set()
                case "insert":
                    with transaction.atomic(using=self.database.alias):
                        new = rows(self.database).create()
                    self.inserted.add(new.pk)
        except DatabaseError as error:
            if not self.database.is_transient(error):
                raise


@contextmanager
def clients(database: Database, count: int) -> Iterator[list[Client]]:
    at_work = [Client(database, seed) for seed in range(count)]
    for client in at_work:
        client.start()
    try:
        yield at_work
    finally:
        for client in at_work:
            client.stop.set()
            client.join()
    assert not [error for client in at_work for error in client.errors]


@pytest.fixture
def books(harvest: Database) -> dict[str, object]:
    """What the clients have done during a backfill of every row."""
    fill(harvest, ROWS)
    with clients(harvest, 2) as at_work:
        done = make_run(harvest, AddOne, pace=Pace(target=None, size=40, max_rate=8000)).execute()
    return {
        "done": done,
        "updates": sum((client.updates for client in at_work), Counter()),
        "deleted": set().union(*(client.deleted for client in at_work)),
        "inserted": set().union(*(client.inserted for client in at_work)),
    }


def test_each_row_was_done_once_and_nobodys_update_was_lost(harvest: Database, books: dict):
    found = dict(rows(harvest).values_list("pk", "n"))
    old = set(range(1, ROWS + 1)) - books["deleted"]
    assert set(found) == old | books["inserted"]
    assert {pk: found[pk] for pk in old} == {pk: 1 + STEP * books["updates"][pk] for pk in old}
    too_late = [pk for pk in books["inserted"] if found[pk] == 0]
    assert {found[pk] for pk in books["inserted"]} <= {0, 1}  # some before the row set was closed
    assert 0 < books["done"]["left"] <= len(too_late)
    assert all(found[pk] == 0 for pk in books["inserted"] if pk > min(too_late))
    assert min(len(books["updates"]), len(books["deleted"]), len(books["inserted"])) > 10


def test_rows_that_come_all_the_time_are_found_if_the_task_can_tell_them(harvest: Database):
    fill(harvest, ROWS)
    with clients(harvest, 2) as at_work:
        make_run(harvest, Label, pace=Pace(target=None, size=40, max_rate=8000)).execute()
    make_run(harvest, Label).ledger.write(done=False, round=0)
    make_run(harvest, Label).execute()  # the clients have stopped: what had come too late
    inserted = set().union(*(client.inserted for client in at_work))
    done = dict(rows(harvest).values_list("pk", "n"))
    assert not rows(harvest).filter(label=None).exists()
    assert {done[pk] % STEP for pk in done} == {1}
    assert inserted <= set(done)
