"""A migration that dies at any moment and is gone on with ends as if it had not died."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable

import pytest
from bench import Bench, Case
from situations_of_migrations import cases_on

VENDORS = {"mariadb": "mysql", "postgresql": "postgresql", "sqlite": "sqlite"}
EVERYWHERE = [
    pytest.param(kind, case, id=f"{kind}-{case}")
    for kind, vendor in VENDORS.items()
    for case in cases_on(vendor)
]


IDEMPOTENT = r"ALTER COLUMN \S+ DROP DEFAULT$|DROP CONSTRAINT IF EXISTS|^TRUNCATE"
"""What may leave the definition as it is, in which case it also may be sent again."""


@pytest.mark.parametrize(("kind", "case"), EVERYWHERE)
def test_a_migration_killed_at_any_moment_ends_as_if_it_had_not(
    make_bench: Callable[[str, Case], Bench], kind: str, case: Case
):
    bench = make_bench(kind, case)
    bench.process(executor=bench.plain)
    outcome = bench.outcome
    bench.reset()
    whole = bench.process()
    assert bench.outcome == outcome, "applied without a crash, by Django and by us"
    for moment in range(1, whole.moments + 1):
        bench.reset()
        killed = bench.process(die_at=moment)
        assert killed.dead
        resumed = bench.process()
        where = f"killed at moment {moment} of {whole.moments}, {killed.last}"
        assert bench.outcome == outcome, where
        assert once(killed.done + resumed.done, case) == once(whole.done, case), where


def once(statements: list[str], case: Case) -> Counter[str]:
    """How often each statement took effect; those that may repeat are left out."""
    may_repeat = re.compile("|".join(filter(None, [IDEMPOTENT, case.repeats])))
    return Counter(statement for statement in statements if not may_repeat.search(statement))
