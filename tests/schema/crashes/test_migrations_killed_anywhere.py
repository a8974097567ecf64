"""A migration that dies at any moment and is gone on with ends as if it had not died."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence

import pytest
from bench import Bench, Case
from deaths import Watch
from sampling import some_in_ci
from situations_of_migrations import CASES, ORGANISATION_GAINS_A_LEVEL, cases_on

VENDORS = {"mariadb": "mysql", "postgresql": "postgresql", "sqlite": "sqlite"}
EVERYWHERE = [
    pytest.param(kind, case, id=f"{kind}-{case}")
    for kind, vendor in VENDORS.items()
    for case in cases_on(vendor)
]
IDEMPOTENT = r"ALTER COLUMN \S+ DROP DEFAULT$|DROP CONSTRAINT IF EXISTS|^TRUNCATE"
"""What may leave the definition as it is, in which case it also may be sent again."""
COMPANY = [
    ORGANISATION_GAINS_A_LEVEL,
    *(case for case in CASES if case.name in {"many operations", "RunSQL that counts"}),
]

MakeBench = Callable[[str, Case], Bench]


@pytest.mark.parametrize(("kind", "case"), EVERYWHERE)
def test_a_migration_killed_at_any_moment_ends_as_if_it_had_not(make_bench: MakeBench, kind: str, case: Case):
    bench = make_bench(kind, case)
    whole = uninterrupted(bench)
    outcome = bench.outcome
    for moment in some_in_ci(range(1, whole.moments + 1), one_in=16 if bench.is_one_transaction else 6):
        bench.reset()
        killed = bench.process(die_at=moment)
        assert killed.dead
        resumed = bench.process()
        where = f"killed at moment {moment} of {whole.moments}, {killed.last}"
        assert bench.outcome == outcome, where
        assert once([killed, resumed], case) == once([whole], case), where


def uninterrupted(bench: Bench) -> Watch:
    """Apply it without a crash. It sends what Django's own executor sends, and leaves what that leaves."""
    django = bench.process(executor=bench.plain)
    outcome = bench.outcome
    bench.reset()
    whole = bench.process()
    assert [text.strip() for text in whole.done] == [text.strip() for text in django.done]
    assert bench.outcome == outcome
    assert whole.moments > len(whole.done)
    return whole


@pytest.mark.parametrize("kind", VENDORS)
@pytest.mark.parametrize("case", COMPANY, ids=str)
def test_a_migration_killed_again_and_again_ends_as_if_it_had_not(
    make_bench: MakeBench, kind: str, case: Case
):
    """Each process has one moment more than it takes to get anywhere."""
    bench = make_bench(kind, case)
    whole = uninterrupted(bench)
    outcome = bench.outcome
    for patience in (4, 6):
        bench.reset()
        processes = []
        while not processes or processes[-1].dead:
            stuck = bench.is_one_transaction and len(processes) > 3
            processes.append(bench.process(die_at=None if stuck else patience))
        assert len(processes) > 2 or whole.moments <= patience
        assert bench.outcome == outcome
        assert once(processes, case) == once([whole], case)


@pytest.mark.parametrize("kind", ["mariadb"])
def test_a_resume_killed_at_any_moment_ends_as_if_it_had_not(make_bench: MakeBench, kind: str):
    case = ORGANISATION_GAINS_A_LEVEL
    bench = make_bench(kind, case)
    whole = uninterrupted(bench)
    outcome = bench.outcome
    for first in range(2, whole.moments, 7):
        second, resumed = 1, None
        while resumed is None or resumed.dead:
            bench.reset()
            killed = bench.process(die_at=first)
            resumed = bench.process(die_at=second)
            last = bench.process()
            where = f"killed at moments {first}, {killed.last}, and {second}, {resumed.last}"
            assert bench.outcome == outcome, where
            assert once([killed, resumed, last], case) == once([whole], case), where
            second += 2
        assert second > 2 * (whole.moments - first) // 3


def once(processes: Sequence[Watch], case: Case) -> Counter[str]:
    """How often each statement took effect; those that may repeat are left out."""
    may_repeat = re.compile("|".join(filter(None, [IDEMPOTENT, case.repeats])))
    statements = [statement for process in processes for statement in process.done]
    return Counter(statement for statement in statements if not may_repeat.search(statement))
