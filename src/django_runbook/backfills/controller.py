"""How large the next batch is to be: as large as fits into the target duration. Pure."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable

RECENT = 10
"""Batches that are looked at."""
GROWTH = 1.5
"""The most by which a batch is larger than the one before."""
OVERRUN = 5
"""A batch that takes so many times the target makes the next one a tenth."""
FIRST = 500
LARGEST = 100_000


class Controller:
    """Learns from what batches took. Without a target the size stays as it is."""

    def __init__(self, target: float | None, size: int = FIRST) -> None:
        self.target = target
        """Seconds that a batch is to take."""
        self.size = size
        self._recent: deque[float] = deque(maxlen=RECENT)
        """Seconds that a row took."""

    def learn(self, rows: int, seconds: float) -> None:
        """Take in what a batch of `rows` took, and choose the size of the next one.

        The slow ones decide, by the ninetieth percentile: a mean hides the batch that somebody waited for.
        """
        if self.target is None or not rows:
            return
        if seconds > OVERRUN * self.target:
            self._recent.clear()
            self.size = max(1, self.size // 10)
            return
        self._recent.append(seconds / rows)
        slow = percentile(self._recent, 0.9)
        wanted = self.target / slow if slow else math.inf
        self.size = int(max(1, min(wanted, math.ceil(self.size * GROWTH), LARGEST)))


def percentile(values: Iterable[float], part: float) -> float:
    """The smallest value that is at least as large as `part` of them. Raise IndexError if there is none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(part * len(ordered)) - 1)]
