"""Runs of the crew's upgrade in this process, with a kill wherever a test wants one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from unittest.mock import patch

from django.db.models import F, Q, QuerySet

from django_runbook.backfill_ledger import BackfillLedger
from django_runbook.databases import Database
from django_runbook.engine import execute, open_run, prepare_resume, reopen_run
from django_runbook.interrupts import Interrupts
from django_runbook.journal import Entry, RunState
from django_runbook.ledger import Ledger
from django_runbook.plan import Plan, make_plan
from django_runbook.planning import load_place
from django_runbook.runbooks import NamedRunbook
from django_runbook.runs import find_run
from django_runbook.schema import applied_migrations
from django_runbook.steps import (
    Backfill,
    Backup,
    Command,
    Export,
    Migrate,
    NoRows,
    RowCount,
    Step,
    Verify,
)

SAILORS = ("Aé", "Bo", "Cy", "Di", "Ed", "Fa", "Gu")


class Killed(BaseException):
    """Stands for a SIGKILL: nothing above may catch it."""


class CountVoyages(Backfill):
    """Not idempotent on purpose: a row that is done twice shows it."""

    model = "crew.Sailor"
    rows = Q(slug__isnull=True) | Q(slug__isnull=False)
    fills = ("slug",)
    batch_size = 2

    def batch(self, rows: QuerySet[Any]) -> None:
        rows.update(slug=F("name"), voyages=F("voyages") + 1)


STEPS: tuple[Step, ...] = (
    Backup(),
    Migrate("crew", "0002"),
    Backfill(CountVoyages),
    Verify(NoRows("crew.Sailor", slug__isnull=True), RowCount("crew.Sailor", unchanged=True)),
    Export("crew.Sailor"),
    Migrate("crew", "0003"),
    Command(["true"], repeatable=True),
)


class Voyage:
    """One database with the crew, and runs on it."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.entries: list[Entry] = []

    def plan(self, steps: Sequence[Step] = STEPS, applied: Any = None) -> Plan:
        runbook = NamedRunbook(app_label="crew", name="voyage", steps=tuple(steps))
        return make_plan(runbook, load_place(self.database, applied))

    def run(self, steps: Sequence[Step] = STEPS, announce: Callable[[Entry], None] | None = None) -> None:
        with open_run(self.plan(steps), self.database, announce or self.entries.append) as journal:
            execute(journal=journal, plan=self.plan(steps), database=self.database, interrupts=Interrupts())

    def resume(self, steps: Sequence[Step] = STEPS, **words: bool) -> None:
        run = find_run("", self.database)
        with reopen_run(run.path, self.database, self.entries.append) as journal:
            plan = self.plan(steps, journal.state.applied)
            prepare_resume(plan, journal, self.database, **words)
            execute(plan, journal, self.database, Interrupts())

    @property
    def state(self) -> RunState:
        return find_run("", self.database).state

    @property
    def outcome(self) -> dict[str, Any]:
        """All that must be the same however often the run was killed."""
        connection = self.database.connection
        with connection.cursor() as cursor:
            cursor.execute("SELECT name, slug, voyages FROM crew_sailor ORDER BY id")
            rows = cursor.fetchall()
            columns = connection.introspection.get_table_description(cursor, "crew_sailor")
        return {
            "rows": [tuple(row) for row in rows],
            "columns": [(column.name, column.null_ok) for column in columns],
            "applied": sorted(name for app, name in applied_migrations(connection) if app == "crew"),
            "completed": list(Ledger(connection).completed()),
        }


UPGRADED = {
    "rows": [(name, name, 1) for name in SAILORS],
    "columns": [("id", False), ("name", False), ("voyages", False), ("slug", False)],
    "applied": ["0001_initial", "0002_slug", "0003_slug_required"],
    "completed": ["crew.voyage"],
}


def killed_after_line(number: int) -> Callable[[Entry], None]:
    """Die when the journal has this many lines, before the ledger hears of the last one."""

    def announce(entry: Entry) -> None:
        if entry.seq == number:
            raise Killed

    return announce


def killed_around_note(number: int, *, after: bool) -> Any:
    """Die before or after the ledger's note number `number`."""
    note, calls = Ledger.note, []

    def dying(self: Ledger, *args: Any, **kwargs: Any) -> None:
        calls.append(args)
        if len(calls) == number and not after:
            raise Killed
        note(self, *args, **kwargs)
        if len(calls) == number:
            raise Killed

    return patch.object(Ledger, "note", dying)


def killed_in_batch(number: int) -> Any:
    """Die in a batch's transaction, behind its cursor and its rows."""
    add_rows, calls = BackfillLedger.add_rows, []

    def dying(self: BackfillLedger, *args: Any) -> None:
        calls.append(args)
        add_rows(self, *args)
        if len(calls) == number:
            raise Killed

    return patch.object(BackfillLedger, "add_rows", dying)


def killed_around_write(number: int) -> Any:
    """Die behind a change of the backfill's own row, in its transaction if it has one."""
    write, calls = BackfillLedger.write, []

    def dying(self: BackfillLedger, **changes: Any) -> None:
        calls.append(changes)
        write(self, **changes)
        if len(calls) == number:
            raise Killed

    return patch.object(BackfillLedger, "write", dying)
