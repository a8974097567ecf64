"""What others did to the database between a death and the resume is seen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from bench import Bench, Case
from django.db import migrations
from situations_of_migrations import AUTHORS, ORGANISATION_GAINS_A_LEVEL, authors

from django_runbook.exceptions import RunbookError

MakeBench = Callable[[str, Case], Bench]


@pytest.mark.parametrize("kind", ["mariadb", "postgresql", "sqlite"])
def test_a_migration_that_was_unapplied_by_hand_is_applied_anew(make_bench: MakeBench, kind: str):
    bench = make_bench(kind, ORGANISATION_GAINS_A_LEVEL)
    bench.process()
    outcome = bench.outcome
    bench.plain().unapply_migration(bench.before.clone(), bench.migration())
    assert bench.outcome != outcome
    bench.process()
    assert bench.outcome == outcome


def test_a_table_that_is_neither_as_before_nor_as_after_stops_the_resume(make_bench: MakeBench):
    """Killed right after a statement on a table, to which somebody then adds a column of their own."""
    bench = make_bench("mariadb", ORGANISATION_GAINS_A_LEVEL)
    moment = next(
        number
        for number in range(1, 40)
        if (bench.reset(), "ADD COLUMN `sous_direction_id`" in bench.process(die_at=number).last)[1]
    )
    bench.reset()
    assert bench.process(die_at=moment).dead
    bench.database.ask_nothing("ALTER TABLE library_service ADD COLUMN shoes int NULL")
    with pytest.raises(RunbookError) as caught:
        bench.process()
    assert "what that touches was changed by somebody else since" in caught.value.message
    assert "    `shoes` int(11) DEFAULT NULL\n" in caught.value.message
    assert (
        "The statement was: ALTER TABLE `library_service` ADD COLUMN `sous_direction_id`"
        in caught.value.message
    )
    bench.database.ask_nothing("ALTER TABLE library_service DROP COLUMN shoes")
    bench.process()
    resumed = bench.outcome
    bench.reset()
    bench.process()
    assert bench.outcome == resumed


def test_a_statement_that_was_decided_about_is_in_doubt_no_more(make_bench: MakeBench):
    """Killed after adding a column, and the resume after dropping it: the table is as at first again."""
    there_and_back = [
        "ALTER TABLE `library_author` ADD COLUMN `note` int NULL",
        "ALTER TABLE `library_author` DROP COLUMN `note`",
    ]
    case = Case(
        name="there and back",
        setup=authors,
        rows=AUTHORS,
        operations=lambda: [migrations.RunSQL(there_and_back)],
    )
    bench = make_bench("mariadb", case)
    die_after(bench, "ADD COLUMN")
    die_after(bench, "DROP COLUMN")
    resumed = bench.process()
    assert not any("COLUMN" in sql for sql in resumed.done)
    assert bench.database.definition("library_author").count("`note`") == 0


def die_after(bench: Bench, words: str) -> None:
    """A process that dies right after the statement with these words."""
    sent = "die"

    def watch(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        result = execute(sql, params, many, context)
        if words in sql and "django_runbook_" not in sql:
            raise KeyboardInterrupt(sent)
        return result

    with bench.connection.execute_wrapper(watch), pytest.raises(KeyboardInterrupt, match=sent):
        bench.process()
    bench.connection.close()
