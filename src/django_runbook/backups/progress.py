"""How far a backup is, told while it is taken."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from enum import StrEnum

PERIOD = timedelta(seconds=0.5)
"""Between two reports; a dump that is done sooner makes none."""


class Stage(StrEnum):
    """What is done."""

    DUMPING = "dumping"
    PROVING = "proving"
    COPYING = "copying"


Report = Callable[[Stage, int], None]
"""Called with the bytes so far, before compression; 0 where they are not counted."""


def report_nothing(stage: Stage, size: int) -> None:
    pass


class Meter:
    """Reports the size of a dump now and then while it grows."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.last = time.monotonic()

    def __call__(self, size: int) -> None:
        now = time.monotonic()
        if now - self.last >= PERIOD.total_seconds():
            self.last = now
            self.report(Stage.DUMPING, size)
