"""Tasks for workers in processes of their own, and what these leave behind for the test to see."""

from __future__ import annotations

import os
import time
from functools import partial
from typing import Any

from django.db import transaction
from django.db.models import Q, QuerySet
from harvest import AddOne

from django_runbook.backfill_ledger import BackfillLedger

MARKS = "TEST_MARKS"
"""The environment variable with the file in which tasks mark where they are."""
WITHOUT_FENCE = "TEST_WITHOUT_FENCE"
"""The environment variable that takes the mechanism away: who comes back from the dead goes on writing."""
POISON = "poison"


def mark(sign: str) -> None:
    with open(os.environ[MARKS], "a") as file:  # noqa: PTH123 - one write, of several processes
        file.write(f"{sign}{os.getpid()}\n")


class Marked(AddOne):
    """Long enough in its transaction for a signal to find it there."""

    seconds = 0.03

    def batch(self, rows: QuerySet[Any]) -> int:
        mark("<")
        changed = super().batch(rows)
        time.sleep(self.seconds)
        transaction.on_commit(partial(mark, ">"), using=rows.db)
        return changed


class Brief(Marked):
    """Most of the time between two transactions, if the rate is low."""

    seconds = 0.0


class Picky(Marked):
    def batch(self, rows: QuerySet[Any]) -> int:
        if rows.filter(Q(label=POISON)).exists():
            raise ValueError(POISON)
        return super().batch(rows)


class Deadly(AddOne):
    def batch(self, rows: QuerySet[Any]) -> int:
        os.write(2, b"the last words of a worker")
        os._exit(9)


def move_without_fence(self: BackfillLedger, owned: Any, *, lease: Any, **changes: Any) -> None:
    changes["leased_until"] = self.now() + lease.total_seconds()
    self.ranges.filter(pk=owned.pk).update(**changes)


if os.environ.get(WITHOUT_FENCE):
    BackfillLedger.move = move_without_fence  # type: ignore[method-assign]
