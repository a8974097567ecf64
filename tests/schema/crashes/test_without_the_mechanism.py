"""What the drills are worth: without intent and fingerprint, or with Django's own executor, they fail."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator

import pytest
from bench import Bench, Case
from deaths import Watch
from django.db import DatabaseError, migrations
from situations_of_migrations import CASES, ORGANISATION_GAINS_A_LEVEL, alone, poems
from undone import undo

from django_runbook.databases import MySQLDatabase
from django_runbook.exceptions import RunbookError
from django_runbook.ledger import LedgerOperation
from django_runbook.schema import stepwise
from django_runbook.schema.stepwise import StepwiseMigration

MakeBench = Callable[[str, Case], Bench]


@pytest.fixture
def bench(make_bench: MakeBench) -> Bench:
    return make_bench("mariadb", ORGANISATION_GAINS_A_LEVEL)


def recoveries(bench: Bench, *, plain: bool = False) -> Iterator[tuple[Watch, bool]]:
    """For each moment after a statement of the migration: the death there, and whether a second try helps."""
    executor = bench.plain if plain else None
    whole = bench.process(executor=executor)
    outcome = bench.outcome
    done = 0
    for moment in range(1, whole.moments):
        bench.reset()
        killed = bench.process(die_at=moment, executor=executor)
        if len(killed.done) == done:
            continue
        done = len(killed.done)
        try:
            bench.process(executor=executor)
        except (DatabaseError, RunbookError):
            yield killed, False
        else:
            yield killed, bench.outcome == outcome


def test_with_djangos_executor_few_crashes_recover_and_with_this_one_all(
    bench: Bench, capsys: pytest.CaptureFixture[str]
):
    django = list(recoveries(bench, plain=True))
    bench.reset()
    ours = list(recoveries(bench))
    with capsys.disabled():
        print(f"\n{'killed after':110} migrate  runbook")  # noqa: T201
        for (killed, by_django), (_killed, by_us) in zip(django, ours, strict=True):
            print(f"{killed.done[-1][:109]:110} {by_django!s:8} {by_us}")  # noqa: T201
    assert len(django) == len(ours) == 9
    assert sum(recovered for _killed, recovered in django) <= 2
    assert all(recovered for _killed, recovered in ours)


def test_without_deciding_what_took_effect_a_resume_sends_it_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(StepwiseMigration, "_took_effect", lambda self, statement: False)
    assert sum(recovered for _killed, recovered in recoveries(bench)) <= 2


def test_with_a_fingerprint_that_never_changes_a_resume_sends_it_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(stepwise, "digest", lambda definitions: "the same")
    assert sum(recovered for _killed, recovered in recoveries(bench)) <= 2


def test_with_a_fingerprint_that_always_changes_a_resume_leaves_statements_out(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
):
    bench.process()
    outcome = bench.outcome
    bench.reset()
    numbers = iter(range(1000))
    monkeypatch.setattr(stepwise, "digest", lambda definitions: str(next(numbers)))
    assert bench.process(die_at=2).dead
    with pytest.raises(RunbookError):
        bench.process()
    assert bench.outcome != outcome


def test_with_only_the_text_of_what_is_deferred_a_resume_still_sends_it(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
):
    """If Django's own statements cannot be made again, those in the ledger go before a renaming."""
    case = alone("renamed", lambda: [poems(), migrations.RenameModel("poem", "verse")])
    bench = make_bench("mariadb", case)
    whole = bench.process()
    outcome = without_made_names(bench)
    monkeypatch.setattr(StepwiseMigration, "_defer_again", restore_text)
    for moment in range(1, whole.moments + 1):
        bench.reset()
        assert bench.process(die_at=moment).dead
        bench.process()
        assert without_made_names(bench) == outcome


def restore_text(self: StepwiseMigration, unit: object, planned: LedgerOperation) -> None:
    self.editor.deferred_sql = json.loads(planned.deferred)


def without_made_names(bench: Bench) -> list[str]:
    """Names that Django makes from the table's are those of the time."""
    return sorted(re.sub(r"`library_(poem|verse)_\w+`", "`made`", line) for line in bench.outcome)


def test_without_the_definitions_from_before_an_undo_takes_nothing_back(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
):
    before, definitions = bench.outcome, bench.database.all_definitions()
    bench.process()
    monkeypatch.setattr(MySQLDatabase, "way_back", lambda self, sql, before: [])
    undo(bench, definitions)
    assert bench.outcome != before


@pytest.mark.parametrize("kind", ["postgresql", "sqlite"])
def test_without_the_details_an_undo_ends_in_a_schema_that_is_only_alike(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch, kind: str
):
    case = next(it for it in CASES if it.name == "AlterField (not unique)")
    bench = make_bench(kind, case)
    before, definitions = bench.outcome, bench.database.all_definitions()
    bench.process()
    monkeypatch.setattr(type(bench.database), "restore_details", lambda self, before: None)
    undo(bench, definitions)
    assert bench.outcome != before
