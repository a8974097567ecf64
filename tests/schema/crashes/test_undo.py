"""What a migration did is taken back from wherever it died, to exactly what was, or not touched at all."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import pytest
from bench import Bench, Case
from deaths import Watch
from django.db import migrations, models
from sampling import some_in_ci
from situations_of_migrations import AUTHORS, add, alter, authors, cases_on, text
from undone import plan_of_undo, undo

from django_runbook.exceptions import RunbookError
from django_runbook.ledger import LedgerOperation, LedgerStatement

VENDORS = {"mariadb": "mysql", "postgresql": "postgresql", "sqlite": "sqlite"}
EVERYWHERE = [
    pytest.param(kind, case, id=f"{kind}-{case}")
    for kind, vendor in VENDORS.items()
    for case in cases_on(vendor)
]
NO_WAY_BACK = re.compile(
    "RunPython|RunSQL|what is deferred waits for the data|many operations|a migration that is not atomic"
    "|AddIndexConcurrently|concurrent indexes and data in one RunSQL|SeparateDatabaseAndState$"
)
"""Names of cases with an operation that its author did not make reversible."""
LOSING = re.compile(
    r"DeleteModel|RemoveField|AlterOrderWithRespectTo to none"
    r"|AlterField \((null to not null|one-off default|column and all)\)"
    r"|tables that are pointed at, in a migration that is not atomic"
)
"""Names of cases that drop what rows hold."""
FORMATTED = {("sqlite", "AddField (default)")}
"""On SQLite Django takes the %s in a default for a parameter: the column does not hold the default."""

MakeBench = Callable[[str, Case], Bench]


def may_be_refused(kind: str, case: Case) -> bool:
    return bool(NO_WAY_BACK.match(case.name) or LOSING.match(case.name) or (kind, case.name) in FORMATTED)


@pytest.mark.parametrize(("kind", "case"), EVERYWHERE)
def test_what_died_at_any_moment_is_undone_exactly_or_refused_for_a_reason(
    make_bench: MakeBench, kind: str, case: Case
):
    bench = make_bench(kind, case)
    bench.reset()
    before, definitions = bench.outcome, bench.database.all_definitions()
    whole = bench.process()
    for moment in [*some_in_ci(moments(bench, whole), one_in=36), None]:
        bench.reset()
        died = bench.process(die_at=moment)
        assert died.dead == (moment is not None)
        where = f"killed at moment {moment} of {whole.moments}, {died.last}"
        if refused(bench, where):
            assert may_be_refused(kind, case), where
        else:
            assert moment or not may_be_refused(kind, case)
            undo(bench, definitions)
            assert bench.outcome == before, where
            assert nothing_on_the_ledger(bench)


@pytest.mark.parametrize(("kind", "case"), [it for it in EVERYWHERE if not may_be_refused(*it.values)])
def test_an_undo_killed_at_any_moment_is_gone_on_with(make_bench: MakeBench, kind: str, case: Case):
    bench = make_bench(kind, case)
    bench.reset()
    before, definitions = bench.outcome, bench.database.all_definitions()
    bench.process()
    whole = undo(bench, definitions)
    for moment in some_in_ci(moments(bench, whole), one_in=36):
        bench.reset()
        bench.process()
        killed = undo(bench, definitions, die_at=moment)
        assert killed.dead
        where = f"killed at moment {moment} of {whole.moments}, {killed.last}"
        assert not refused(bench, where), where
        undo(bench, definitions)
        assert bench.outcome == before, where
        assert nothing_on_the_ledger(bench)


def moments(bench: Bench, whole: Watch) -> Sequence[int]:
    """All; but some where all of them are in one transaction, of which a death leaves nothing."""
    if bench.is_one_transaction:
        return sorted({1, max(1, whole.moments // 2), max(1, whole.moments - 1), whole.moments} - {0})
    return range(1, whole.moments + 1)


def refused(bench: Bench, where: str) -> bool:
    """Is there anything against an undo? Looking for it changes nothing."""
    outcome = bench.outcome
    plan = plan_of_undo(bench)
    assert bench.outcome == outcome, where
    return bool(plan.lost or plan.irreversible)


def nothing_on_the_ledger(bench: Bench) -> bool:
    rows = [model.objects.using(bench.database.alias) for model in (LedgerOperation, LedgerStatement)]
    return not any(found.exists() for found in rows)


TWO_OF_A_NAME = "INSERT INTO library_author (id, name, slug, age) VALUES (3, 'Ann', NULL, 3)"


@pytest.mark.parametrize("kind", VENDORS)
def test_a_migration_that_failed_is_undone(make_bench: MakeBench, kind: str):
    """At its last operation, with two operations before it done."""
    one_name = models.UniqueConstraint(fields=["name"], name="one_name")
    case = Case(
        name="fails at the end",
        setup=authors,
        rows=[*AUTHORS, TWO_OF_A_NAME],
        operations=lambda: [
            add("note", text(null=True, db_index=True)),
            alter("name", text(200, null=True)),
            migrations.AddConstraint("author", one_name),
        ],
    )
    bench = make_bench(kind, case)
    bench.reset()
    before, definitions = bench.outcome, bench.database.all_definitions()
    with pytest.raises(RunbookError, match=r"one_name|UNIQUE"):
        bench.process()
    assert (bench.outcome == before) == (kind != "mariadb")
    assert not refused(bench, "failed")
    undo(bench, definitions)
    assert bench.outcome == before
    assert nothing_on_the_ledger(bench)


@pytest.mark.parametrize("kind", VENDORS)
def test_values_that_the_column_of_before_cannot_hold_stand_against_an_undo(make_bench: MakeBench, kind: str):
    case = Case(
        name="wider",
        setup=authors,
        rows=AUTHORS,
        operations=lambda: [
            alter("name", text(200, null=True)),
            alter("age", models.BigIntegerField(default=0)),
            add("note", text(default="none")),
        ],
    )
    bench = make_bench(kind, case)
    bench.process()
    assert plan_of_undo(bench).lost == ()
    for change, loses in (
        ("name = NULL", "which values of library_author.name were NULL"),
        (f"name = '{'x' * 81}'", "the values of library_author.name"),
        (f"age = {2**40}", "the values of library_author.age"),
        ("note = 'None'", "the values of library_author.note"),
    ):
        bench.database.ask_nothing(f"UPDATE library_author SET {change} WHERE id = 1")
        fits = kind == "sqlite" and change.startswith("age")  # whose integers all have the same range
        assert plan_of_undo(bench).lost == (() if fits else (loses,)), change
        bench.database.ask_nothing(
            "UPDATE library_author SET name = 'Ann', age = 30, note = 'none' WHERE id = 1"
        )
        assert plan_of_undo(bench).lost == ()


def test_an_operation_that_was_edited_since_is_not_taken_back_by_what_it_says_now(make_bench: MakeBench):
    sql = ["UPDATE library_author SET age = age + 1"]
    case = Case(
        name="counts and counts back",
        setup=authors,
        rows=AUTHORS,
        operations=lambda: [migrations.RunSQL(sql[0], "UPDATE library_author SET age = age - 1")],
    )
    bench = make_bench("mariadb", case)
    bench.reset()
    before, definitions = bench.outcome, bench.database.all_definitions()
    bench.process()
    sql[0] = "UPDATE library_author SET age = age + 2"
    assert plan_of_undo(bench).irreversible == (
        "operation 'Raw SQL operation' of migration library.0002_tested was edited after it was applied",
    )
    sql[0] = "UPDATE library_author SET age = age + 1"
    assert plan_of_undo(bench).irreversible == ()
    undo(bench, definitions)
    assert bench.outcome == before
