"""What the plan says of raw SQL that no resume can make good, shown with sessions that the server ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest
from bench import RUN, Bench, Case
from django.db import DatabaseError, migrations
from django.db.migrations.operations.base import Operation
from situations_of_migrations import alone

from django_runbook.exceptions import Refused, RunbookError
from django_runbook.schema.crashes import judge_crash
from django_runbook.schema.resuming import refuse_unsafe_resume

MakeBench = Callable[[str, Case], Bench]

GROW = "UPDATE library_author SET age = age + 1"
DIE_ONCE = {
    "mariadb": [
        "CREATE SEQUENCE deaths",
        "CREATE PROCEDURE die_once() BEGIN IF NEXTVAL(deaths) = 1 THEN KILL CONNECTION_ID(); END IF; END",
        "CREATE PROCEDURE grow_with_ddl() BEGIN"
        f" {GROW}; CREATE TABLE IF NOT EXISTS made (id INT); CALL die_once(); END",
    ],
    "postgresql": [
        "CREATE SEQUENCE deaths",
        "CREATE FUNCTION die_once() RETURNS boolean LANGUAGE sql AS"
        " 'SELECT nextval(''deaths'') = 1 AND pg_terminate_backend(pg_backend_pid())'",
    ],
}


@dataclass(frozen=True, kw_only=True)
class CutOff:
    """What came of operations whose session the server has ended in their middle."""

    meaning: str
    """What the plan says of them."""
    refused: str
    """What `resume` says before it goes on."""
    ages: list[int]
    """After going on all the same."""


def cut_off(make_bench: MakeBench, kind: str, *sql: str | Sequence[str]) -> CutOff:

    def operations() -> list[Operation]:
        return [migrations.RunSQL(it) for it in sql]

    bench = make_bench(kind, alone("raw SQL", operations))
    for statement in DIE_ONCE[kind]:
        bench.database.ask_nothing(statement)
    with bench.database.lock(), pytest.raises((DatabaseError, RunbookError)):
        bench.process()
    bench.connection.close()
    refused = ""
    try:
        refuse_unsafe_resume(bench.migration(), bench.database, RUN)
    except Refused as error:
        refused = str(error)
    bench.process()
    ages = [age for (age,) in bench.database.ask("SELECT age FROM library_author ORDER BY id")]
    judged = judge_crash(bench.migration(), rolls_back_ddl=bench.database.rolls_back_ddl)
    return CutOff(meaning=judged.meaning.value, refused=refused, ages=ages)


ONCE, TWICE, NEVER = [31, 41], [32, 42], [30, 40]
DIE = "SELECT die_once(), pg_sleep(0.1)"


@pytest.mark.parametrize(
    ("sql", "meaning", "ages"),
    [
        (
            [f"{GROW}; ALTER TABLE library_author ADD IF NOT EXISTS x INT; CALL die_once()"],
            "at least once",
            TWICE,
        ),
        ([f"START TRANSACTION; {GROW}; COMMIT; CALL die_once()"], "at least once", TWICE),
        (["CALL grow_with_ddl()"], "at least once", TWICE),
        ([f"ALTER TABLE library_author ADD x INT; CALL die_once(); {GROW}"], "not resumable", NEVER),
        (
            ["SELECT 1 INTO @n", "CALL die_once()", "UPDATE library_author SET age = age + COALESCE(@n, 0)"],
            "not resumable",
            NEVER,
        ),
        (
            ["SET @n = 1", "CALL die_once()", "UPDATE library_author SET age = age + @n"],
            "at least once",
            ONCE,
        ),
    ],
)
def test_on_mariadb(make_bench: MakeBench, sql: Sequence[str], meaning: str, ages: list[int]):
    found = cut_off(make_bench, "mariadb", sql)
    assert (found.meaning, found.ages) == (meaning, ages)
    assert bool(found.refused) is (meaning == "not resumable")


def test_the_refusal_names_the_statement_and_the_ways_out(make_bench: MakeBench):
    found = cut_off(make_bench, "mariadb", ["SELECT 1 INTO @n", "CALL die_once()", f"{GROW} WHERE id >= @n"])
    assert found.refused == (
        "Migration library.0002_tested was cut off after a part of it had been applied, and going on could "
        "end in another result: Raw SQL operation: SELECT 1 INTO @n\n"
        "Restore the run's backup with `manage.py runbook restore`. If you finish the migration by hand "
        "instead, record it with `manage.py migrate --fake library 0002_tested`, then run "
        "`manage.py runbook resume`."
    )


def test_what_was_cut_off_before_the_session_held_anything_goes_on(make_bench: MakeBench):
    keeping = ["SELECT 1 INTO @n", "UPDATE library_author SET age = age + @n"]
    found = cut_off(make_bench, "mariadb", "CALL die_once()", keeping)
    assert found == CutOff(meaning="not resumable", refused="", ages=ONCE)


def test_on_postgresql_after_a_commit_of_its_own(make_bench: MakeBench):
    found = cut_off(make_bench, "postgresql", f"{GROW}; COMMIT", DIE)
    assert found == CutOff(meaning="at least once", refused="", ages=TWICE)


def test_on_postgresql_without_one(make_bench: MakeBench):
    found = cut_off(make_bench, "postgresql", GROW, DIE)
    assert found == CutOff(meaning="all or nothing", refused="", ages=ONCE)
