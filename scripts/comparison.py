"""Two ways to do the same, measured side by side: A B A B, so that a slow minute of the machine meets both.

A benchmark is a module in benchmarks/ with

    add_arguments(parser)    its own options
    measure(options)         an iterator of Comparison, one per case; options.runs says how often
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The seconds of both ways in one case, run by run."""

    case: str
    ours: str
    """What the first way is called."""
    theirs: str
    our_seconds: Sequence[float]
    their_seconds: Sequence[float]

    @property
    def ratios(self) -> list[float]:
        """Ours to theirs, pair by pair: below 1 ours is faster."""
        return [a / b for a, b in zip(self.our_seconds, self.their_seconds, strict=True)]

    def to_json(self) -> dict[str, Any]:
        return {
            "case": self.case,
            "seconds": {self.ours: self.our_seconds, self.theirs: self.their_seconds},
            "medians": {self.ours: median(self.our_seconds), self.theirs: median(self.their_seconds)},
            "ratios": self.ratios,
            "median_ratio": median(self.ratios),
        }


def compare(case: str, ways: Mapping[str, Callable[[], float]], *, runs: int) -> Comparison:
    """Run the two ways in turn. Each restores its own beginning, and returns only the seconds that count."""
    pairs = [tuple(way() for way in ways.values()) for _ in range(runs)]
    our_seconds, their_seconds = zip(*pairs, strict=True)
    ours, theirs = ways
    return Comparison(
        case=case, ours=ours, theirs=theirs, our_seconds=our_seconds, their_seconds=their_seconds
    )
