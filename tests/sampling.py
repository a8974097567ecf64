"""Which of many like moments a test visits: all of them; in continuous integration a part, which changes."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from typing import TypeVar

Case = TypeVar("Case")


def some_in_ci(every: Sequence[int], *, one_in: int = 2) -> Sequence[int]:
    """All; in continuous integration, which has twenty minutes, each second one (or third, …).

    Where it begins the seed of the test run decides, which pytest prints, and takes with `-p randomly
    --randomly-seed`: over many runs every moment is visited.
    """
    if not os.environ.get("CI"):
        return every
    step = min(one_in, len(every)) or 1
    return every[random.randrange(step) :: step]


def some_cases_in_ci(every: Sequence[Case], *, one_in: int = 2) -> Sequence[Case]:
    """As `some_in_ci`, of the cases that tests are made of: all processes of a test run agree on them."""
    if not os.environ.get("CI"):
        return every
    drawn = random.Random(os.environ.get("PYTEST_XDIST_TESTRUNUID"))
    return every[drawn.randrange(one_in) :: one_in]
