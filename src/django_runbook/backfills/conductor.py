"""Conduct workers elsewhere: keep them at work on a round until it is done, and see to it that they leave."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Self

from django.db import Error as AnyDatabaseError

from django_runbook.backfill_ledger import BackfillLedger, Control
from django_runbook.backfills.crews import Crew
from django_runbook.backfills.throttle import cancelled
from django_runbook.backfills.worker import TooManyPoisonRows
from django_runbook.exceptions import RunbookError

LOOK_EVERY = 0.5
"""Seconds between two looks at the ledger."""
BEAT_EVERY = 2.0
SILENT = 15.0
"""Seconds without a beat after which the workers take the run for dead, and leave."""


@dataclass(slots=True, kw_only=True)
class Conductor:
    """While entered, the crew may work; afterwards none of it does."""

    ledger: BackfillLedger
    crew: Crew
    most_set_aside: int
    """Rows at which the backfill gives up."""
    safe_point: Callable[[], None]
    tell: Callable[..., None]
    """Told how far the crew is, as facts."""
    _beaten: float = field(init=False, default=0.0)
    _halted: str = field(init=False, default="")
    """What this process has said in the ledger; workers say their own reasons."""

    def __enter__(self) -> Self:
        self._beat()
        return self

    def __exit__(self, *exc_info: object) -> None:
        with suppress(AnyDatabaseError):  # then they miss the next beats
            self.ledger.write(conducted_until=0, halted="")
        self.crew.dismiss()

    def work_on_round(self) -> None:
        """Come back when the round is done. Raise RunbookError if a worker found what no other can mend;
        Cancelled; TooManyPoisonRows; what `safe_point` raises."""
        while True:
            self._look()
            if self.ledger.is_round_done():
                return
            self._say_halted(self.crew.keep_at_work())
            self._tell()
            time.sleep(LOOK_EVERY)

    def _look(self) -> None:
        self.safe_point()
        row = self.ledger.reload()
        if row.control == Control.CANCEL:
            raise cancelled()
        if row.failure:
            raise RunbookError(*json.loads(row.failure))
        if self.ledger.quarantine.count() > self.most_set_aside:
            raise TooManyPoisonRows("")
        if time.monotonic() - self._beaten >= BEAT_EVERY:
            self._beat()

    def _beat(self) -> None:
        try:
            self.ledger.write(conducted_until=self.ledger.now() + SILENT)
        except AnyDatabaseError as error:
            if not self.ledger.database.is_transient(error):
                raise
        else:
            self._beaten = time.monotonic()

    def _say_halted(self, reason: str) -> None:
        if reason != self._halted:
            self._halted = reason
            self.ledger.write(halted=reason)

    def _tell(self) -> None:
        at_work = self.ledger.at_work()
        facts: dict[str, Any] = {"workers": len(self.ledger.owners())}
        if halted := self.ledger.row.halted:
            facts["halted"] = halted
        elif size := max((it.size for it in at_work), default=0):
            facts["batch_size"] = size
        self.tell(**facts)
