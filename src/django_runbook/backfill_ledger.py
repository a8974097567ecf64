"""What the ledger knows of backfills: their ranges of keys, who works on which, and the rows set aside.

A range is worked on by who has its fence: a number that goes up with every new owner. Each batch moves its
range's cursor under that number, in the transaction of its rows, so an owner who was thought dead and comes
back changes nothing any more.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from typing import Any

from django.apps.registry import Apps
from django.db import models, transaction
from django.db.models import F, Q, Sum

from django_runbook.databases import Database
from django_runbook.exceptions import RunbookError

TABLE_PREFIX = "django_runbook_"


class Control(models.TextChoices):
    """What the operator wants of a backfill that is under way."""

    GO_ON = "go on"
    PAUSE = "pause"
    CANCEL = "cancel"


class LedgerBackfill(models.Model):
    """One backfill of one run."""

    id = models.BigAutoField(primary_key=True)
    run_id = models.CharField(max_length=100)
    step = models.CharField(max_length=150)
    assignment = models.TextField(default="{}")
    """JSON: what a worker elsewhere has to know to take part."""
    prepared = models.BooleanField(default=False)
    round = models.IntegerField(default=0)
    """How often the row set was closed; 0 before the first time."""
    frontier = models.TextField(null=True)  # noqa: DJ001 - null is "before the first row"
    """Key behind which no range was made yet in this round; keys are JSON, as `Keys.to_text` writes them."""
    upto = models.TextField(null=True)  # noqa: DJ001 - null is "there is no row"
    """The last key of the round."""
    expected = models.BigIntegerField(default=0)
    """Rows of the table, as its server estimates them."""
    done = models.BooleanField(default=False)
    control = models.CharField(max_length=10, choices=Control.choices, default=Control.GO_ON)
    target = models.FloatField(null=True)
    """Seconds that a batch is to take, if the operator wants another duration than the runbook says."""
    max_rate = models.IntegerField(null=True)
    """Rows a second, if the operator wants another limit than the runbook says."""
    halted = models.TextField(default="")
    """Why nothing moves now, in words; empty if it does."""
    conducted_until = models.FloatField(default=0)
    """Seconds since 1970, by the server's clock, after which workers elsewhere take the run for dead."""
    failure = models.TextField(default="")
    """JSON: what a worker elsewhere could not go on for, and what to do about it; empty if nothing."""

    class Meta:
        apps = Apps()
        app_label = "django_runbook"
        db_table = f"{TABLE_PREFIX}backfill"
        unique_together = [("run_id", "step")]

    def __str__(self) -> str:
        return f"{self.run_id} {self.step}"


class LedgerRange(models.Model):
    """The keys behind `after` up to `upto`, and how far they are done."""

    id = models.BigAutoField(primary_key=True)
    backfill_id = models.BigIntegerField(db_index=True)
    after = models.TextField(null=True)  # noqa: DJ001 - null is "before the first row"
    upto = models.TextField()
    cursor = models.TextField(null=True)  # noqa: DJ001 - null is "before the first row"
    """The last key done."""
    seen = models.BigIntegerField(default=0)
    """Keys behind which the cursor has moved."""
    rows = models.BigIntegerField(default=0)
    """Rows that were changed."""
    batches = models.BigIntegerField(default=0)
    size = models.IntegerField(default=0)
    """Keys in the latest batch."""
    owner = models.CharField(max_length=100, default="")
    fence = models.IntegerField(default=0)
    leased_until = models.FloatField(default=0)
    """Seconds since 1970, by the server's clock, after which others may take it over."""
    done = models.BooleanField(default=False)

    class Meta:
        apps = Apps()
        app_label = "django_runbook"
        db_table = f"{TABLE_PREFIX}range"

    def __str__(self) -> str:
        return f"{self.after} … {self.upto}"


class LedgerQuarantine(models.Model):
    """A row that its batch could not do, set aside with the reason."""

    id = models.BigAutoField(primary_key=True)
    backfill_id = models.BigIntegerField(db_index=True)
    key = models.TextField()
    error = models.TextField()

    class Meta:
        apps = Apps()
        app_label = "django_runbook"
        db_table = f"{TABLE_PREFIX}quarantine"

    def __str__(self) -> str:
        return f"{self.key}: {self.error}"


BACKFILL_TABLES = (LedgerBackfill, LedgerRange, LedgerQuarantine)


class Fenced(RunbookError):
    """Somebody else has taken the range over; nothing of the batch was kept."""


class BackfillLedger:
    """The rows of one backfill."""

    def __init__(self, database: Database, row: LedgerBackfill) -> None:
        self.database = database
        self.row = row
        self._ahead: float | None = None
        """Seconds by which the server's clock is ahead of this process's monotonic one."""

    @classmethod
    def begin(cls, database: Database, run_id: str, step: str) -> BackfillLedger:
        """The one of this step, made if it is not there yet."""
        rows = _rows(LedgerBackfill, database)
        return cls(database, rows.get_or_create(run_id=run_id, step=step)[0])

    @classmethod
    def find(cls, database: Database, run_id: str, step: str) -> BackfillLedger | None:
        """The one of this step, or None if it has not begun."""
        return next((it for it in cls.of_run(database, run_id) if it.row.step == step), None)

    @classmethod
    def load(cls, database: Database, run_id: str, pk: int) -> BackfillLedger | None:
        """The one of that number; None if there is none in this database, which may not be the run's."""
        return next((it for it in cls.of_run(database, run_id) if it.row.pk == pk), None)

    @classmethod
    def of_run(cls, database: Database, run_id: str) -> list[BackfillLedger]:
        """Those that the run has begun, in their order."""
        if LedgerBackfill._meta.db_table not in database.connection.introspection.table_names():
            return []
        rows = _rows(LedgerBackfill, database).filter(run_id=run_id).order_by("id")
        return [cls(database, row) for row in rows]

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """What is done to rows and what is written about it: both or neither."""
        with transaction.atomic(using=self.database.alias):
            yield

    def reload(self) -> LedgerBackfill:
        self.row.refresh_from_db(using=self.database.alias)
        return self.row

    def write(self, **changes: Any) -> None:
        for name, value in changes.items():
            setattr(self.row, name, value)
        self.row.save(using=self.database.alias, update_fields=list(changes))

    def totals(self) -> dict[str, int]:
        """Keys seen, rows changed and batches done in all ranges."""
        found = self.ranges.aggregate(seen=Sum("seen"), rows=Sum("rows"), batches=Sum("batches"))
        return {name: value or 0 for name, value in found.items()}

    def at_work(self) -> list[LedgerRange]:
        """Ranges whose owners are at work, as far as their leases tell."""
        return list(self.ranges.filter(done=False, leased_until__gte=self.now()).order_by("id"))

    def owners(self) -> list[str]:
        """Who is at work, who has the oldest range first."""
        return list(dict.fromkeys(it.owner for it in self.at_work()))

    def is_work_free(self) -> bool:
        """Is there anything that nobody works on?"""
        row = self.row
        if row.upto is not None and row.frontier != row.upto:
            return True
        return self.ranges.filter(done=False, leased_until__lt=self.now()).exists()

    def is_round_done(self) -> bool:
        """Are all keys of the closed row set in ranges, and all ranges done?"""
        row = self.row
        closed = row.upto is None or row.frontier == row.upto
        return closed and not self.ranges.filter(done=False).exists()

    def add_range(self, after: str | None, upto: str) -> bool:
        """Make a range of what begins at the frontier, unless another worker was faster."""
        with self.transaction():
            here = Q(frontier=after) if after is not None else Q(frontier__isnull=True)
            moved = _rows(LedgerBackfill, self.database).filter(here, pk=self.row.pk).update(frontier=upto)
            if moved:
                self.ranges.create(backfill_id=self.row.pk, after=after, upto=upto, cursor=after)
        return bool(moved)

    def claim(self, owner: str, lease: timedelta) -> LedgerRange | None:
        """Take a range that nobody works on, or whose owner has not been heard of for so long.

        One whose owner is within a batch at this moment is locked, and passed over.
        """
        now = self.now()
        locks_rows = self.database.connection.features.has_select_for_update_skip_locked
        with self.transaction() if locks_rows else nullcontext():
            free = self.ranges.filter(done=False, leased_until__lt=now).order_by("id")
            found = free.select_for_update(skip_locked=True).first()
            if found is None or not self._take(found, owner, now, lease):
                return None
        return found

    def _take(self, found: LedgerRange, owner: str, now: float, lease: timedelta) -> bool:
        """Under a new fence; where there are no row locks, unless another was faster."""
        same = self.ranges.filter(pk=found.pk, fence=found.fence, done=False)
        won = same.update(owner=owner, fence=F("fence") + 1, leased_until=now + lease.total_seconds())
        if won:
            found.refresh_from_db(using=self.database.alias)
        return bool(won)

    def renew(self, owner: str, lease: timedelta) -> None:
        """Keep the ranges of a worker that waits."""
        self.ranges.filter(owner=owner, done=False).update(leased_until=self.now() + lease.total_seconds())

    def release(self, owner: str | None = None) -> None:
        """Take the ranges of a worker that is gone, or of all, away from it: whoever comes may have them."""
        left = self.ranges.filter(done=False)
        if owner is not None:
            left = left.filter(owner=owner)
        left.update(fence=F("fence") + 1, leased_until=0, owner="")

    def move(self, owned: LedgerRange, *, lease: timedelta, **changes: Any) -> None:
        """Change a range under its fence, at the beginning of a batch's transaction. Raise Fenced.

        It is the first statement, so that two owners of one range wait for each other here, before they
        touch a row; and on SQLite, so that the transaction begins as a writer.
        """
        changes["leased_until"] = self.now() + lease.total_seconds()
        if not self.ranges.filter(pk=owned.pk, fence=owned.fence, done=False).update(**changes):
            raise Fenced(f"range {owned.pk} of backfill {self.row.pk}")

    def add_rows(self, owned: LedgerRange, rows: int) -> None:
        """Count what the batch has changed, in its transaction."""
        self.ranges.filter(pk=owned.pk).update(rows=F("rows") + rows)

    def fail(self, error: Exception) -> None:
        """Let the run know what one of its workers could not go on for."""
        words = [getattr(error, "message", f"{type(error).__name__}: {error}"), getattr(error, "hint", "")]
        self.write(failure=json.dumps(words))

    def set_aside(self, key: str, error: str) -> None:
        self.quarantine.create(backfill_id=self.row.pk, key=key, error=error)

    def now(self) -> float:
        """Seconds since 1970 by a clock that all workers share, which is asked once."""
        if self._ahead is None:
            clock = self.database.surroundings.clock()
            self._ahead = (time.time() if clock is None else clock) - time.monotonic()
        return time.monotonic() + self._ahead

    @property
    def ranges(self) -> models.QuerySet[LedgerRange]:
        return _rows(LedgerRange, self.database).filter(backfill_id=self.row.pk)

    @property
    def quarantine(self) -> models.QuerySet[LedgerQuarantine]:
        return _rows(LedgerQuarantine, self.database).filter(backfill_id=self.row.pk).order_by("id")


def _rows(model: type[Any], database: Database) -> models.QuerySet[Any]:
    return models.QuerySet(model, using=database.alias)
