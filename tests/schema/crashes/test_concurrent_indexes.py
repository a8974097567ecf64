"""CREATE INDEX CONCURRENTLY that was cut off leaves an index that is never used, under the wanted name."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from bench import Bench, Case
from django.contrib.postgres.operations import AddIndexConcurrently, RemoveIndexConcurrently
from django.db import IntegrityError, migrations, models
from situations_of_migrations import alone, indexed

from django_runbook.exceptions import RunbookError
from django_runbook.ledger import LedgerStatement, StatementStatus

UNIQUE = "CREATE UNIQUE INDEX CONCURRENTLY one_age ON library_author (age)"
DUPLICATE = "INSERT INTO library_author (id, name, age) VALUES (3, 'Eve', 30)"

MakeBench = Callable[[str, Case], Bench]


def unique_ages() -> Case:
    return alone("unique", lambda: [migrations.RunSQL(UNIQUE)], atomic=False)


def indexes(bench: Bench) -> dict[str, bool]:
    """Each index of the authors but the primary key's, and whether it is valid."""
    rows = bench.database.ask(
        "SELECT relname, indisvalid FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid"
        " WHERE indrelid = 'library_author'::regclass AND NOT indisprimary"
    )
    return dict(rows)


def test_an_index_that_failed_is_dropped_and_built_again(make_bench: MakeBench):
    bench = make_bench("postgresql", unique_ages())
    bench.database.ask_nothing(DUPLICATE)
    with pytest.raises(RunbookError, match=r"failed at 'Raw SQL operation'.*could not create unique index"):
        bench.process()
    assert indexes(bench) == {}
    bench.database.ask_nothing("UPDATE library_author SET age = 31 WHERE id = 3")
    bench.process()
    assert indexes(bench) == {"one_age": True}


def test_an_index_that_was_cut_off_does_not_count_as_built(make_bench: MakeBench):
    """A killed client says nothing of its failure: the ledger has the statement as started."""
    bench = make_bench("postgresql", unique_ages())
    assert bench.process(die_at=2).dead
    assert status(bench) == StatementStatus.STARTED
    leave_invalid_index(bench)
    bench.process()
    assert indexes(bench) == {"one_age": True}


def test_an_index_that_was_being_dropped_does_not_count_as_gone(make_bench: MakeBench):
    case = alone(
        "dropped",
        lambda: [RemoveIndexConcurrently("author", "one_age")],
        indexed(indexes=[models.Index(fields=["age"], name="one_age")]),
        atomic=False,
    )
    bench = make_bench("postgresql", case)
    assert bench.process(die_at=2).dead
    assert status(bench) == StatementStatus.STARTED
    bench.database.ask_nothing(
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'one_age'::regclass"
    )
    bench.process()
    assert indexes(bench) == {}


def test_an_invalid_index_of_an_earlier_release_is_dropped_before_its_name_is_used(make_bench: MakeBench):
    """With every death after that, too."""
    operations = [AddIndexConcurrently("author", models.Index(fields=["age"], name="one_age"))]
    bench = make_bench("postgresql", alone("again", lambda: operations, atomic=False))
    leave_invalid_index(bench)
    whole = bench.process()
    assert indexes(bench) == {"one_age": True}
    for moment in range(1, whole.moments + 1):
        bench.reset()
        leave_invalid_index(bench)
        assert bench.process(die_at=moment).dead
        bench.process()
        assert indexes(bench) == {"one_age": True}


def status(bench: Bench) -> str:
    return LedgerStatement.objects.using(bench.database.alias).get().status


def leave_invalid_index(bench: Bench) -> None:
    bench.database.ask_nothing(DUPLICATE)
    with pytest.raises(IntegrityError):
        bench.database.ask_nothing(UNIQUE)
    bench.database.ask_nothing("DELETE FROM library_author WHERE id = 3")
    assert indexes(bench) == {"one_age": False}
