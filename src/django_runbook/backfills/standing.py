"""Where the backfills of a run stand, and the operator's word on them, from any terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django_runbook.backfill_ledger import BackfillLedger, Control, LedgerBackfill


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantined:
    """A row that was set aside."""

    key: str
    """Its primary key, as JSON."""
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BackfillStanding:
    """Of one backfill, as the ledger has it."""

    step: str
    done: bool
    control: Control
    halted: str
    """Why nothing moves; empty if it does."""
    seen: int
    """Rows that were looked at."""
    expected: int
    """Rows of the table, about."""
    rows: int
    """Rows that were changed."""
    batches: int
    batch_size: int
    workers: int
    """How many work on it, by their leases."""
    quarantined: Sequence[Quarantined]


def standing_of(ledger: BackfillLedger) -> BackfillStanding:
    row, totals = ledger.row, ledger.totals()
    at_work = ledger.at_work()
    return BackfillStanding(
        step=row.step,
        done=row.done,
        control=Control(row.control),
        halted=row.halted,
        seen=totals["seen"],
        expected=max(row.expected, totals["seen"]),
        rows=totals["rows"],
        batches=totals["batches"],
        batch_size=max((it.size for it in at_work), default=0),
        workers=len(ledger.owners()),
        quarantined=[Quarantined(key=it.key, error=it.error) for it in ledger.quarantine],
    )


def give_word(ledgers: Sequence[BackfillLedger], **word: Any) -> list[LedgerBackfill]:
    """Write what the operator wants of the backfills that are not done; their workers read it soon."""
    open_ones = [ledger for ledger in ledgers if not ledger.row.done]
    for ledger in open_ones:
        ledger.write(**word)
    return [ledger.row for ledger in open_ones]
