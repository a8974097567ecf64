"""A statement that fails is no crash: nothing is in doubt, and what is mended can go on."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Any
from unittest.mock import patch

import pytest
from bench import APP, Bench, Case
from django.db import OperationalError, migrations, models
from situations_of_migrations import ORGANISATION_GAINS_A_LEVEL, add, alone, alter, text

from django_runbook.exceptions import Refused, RunbookError
from django_runbook.ledger import LedgerOperation, LedgerStatement, StatementStatus

TWICE = "INSERT INTO library_author (id, name, slug, age) VALUES (3, 'Ann', NULL, 3)"
NOTHING_IN_DOUBT = (
    "Nothing is in doubt: what came before is done, this is not. Mend the data, or this operation, and run "
    "`manage.py runbook resume`; or go back with `manage.py runbook undo`."
)

MakeBench = Callable[[str, Case], Bench]


def unique_names() -> migrations.AddConstraint:
    return migrations.AddConstraint("author", models.UniqueConstraint(fields=["name"], name="one_name"))


def growing() -> migrations.RunSQL:
    return migrations.RunSQL("UPDATE library_author SET age = age + 1")


FAILING = alone("duplicates", lambda: [add("note", text(null=True)), growing(), unique_names(), growing()])


@pytest.fixture
def failed(make_bench: MakeBench, request: pytest.FixtureRequest) -> tuple[Bench, RunbookError]:
    """A migration that has failed half way on duplicates."""
    bench = make_bench(request.param, FAILING)
    execute(bench, TWICE)
    with pytest.raises(RunbookError) as caught:
        bench.process()
    return bench, caught.value


def execute(bench: Bench, sql: str) -> None:
    bench.database.ask_nothing(sql)


def ages(bench: Bench) -> list[int]:
    return [age for (age,) in bench.database.ask("SELECT age FROM library_author ORDER BY id")]


mariadb = pytest.mark.parametrize("failed", ["mariadb"], indirect=True)
rolling_back = pytest.mark.parametrize("failed", ["postgresql", "sqlite"], indirect=True)


@mariadb
def test_the_error_names_migration_operation_statement_and_the_servers_words(
    failed: tuple[Bench, RunbookError],
):
    assert failed[1].message == (
        "Migration library.0002_tested failed at 'Create constraint one_name on model author': "
        "(1062, \"Duplicate entry 'Ann' for key 'one_name'\")\n"
        "The statement was: ALTER TABLE `library_author` ADD CONSTRAINT `one_name` UNIQUE (`name`)"
    )
    assert failed[1].hint == NOTHING_IN_DOUBT


def end_own_session(apps: object, schema_editor: Any) -> None:
    schema_editor.execute("SELECT pg_terminate_backend(pg_backend_pid())")


def test_a_migration_whose_session_is_lost_is_not_said_to_have_been_rolled_back(make_bench: MakeBench):
    """If it is lost at the commit, that may have taken place. Django opens another session, unasked."""
    lost = alone("lost", lambda: [growing(), migrations.RunPython(end_own_session)])
    with pytest.raises(OperationalError, match="terminating connection"):
        make_bench("postgresql", lost).process()


@rolling_back
def test_where_ddl_rolls_back_the_error_says_so_and_names_the_same(failed: tuple[Bench, RunbookError]):
    bench, error = failed
    assert error.message.startswith(
        "Migration library.0002_tested failed at 'Create constraint one_name on model author', and was "
        "rolled back whole: "
    )
    assert "The statement was: " in error.message
    assert "library_author" in error.message.splitlines()[-1]
    assert error.hint == (
        "Mend the data, or the migration, and run `manage.py runbook resume`; or go back with "
        "`manage.py runbook undo`."
    )
    assert ages(bench) == [30, 40, 3]


@mariadb
def test_nothing_is_in_doubt_after_a_failure(failed: tuple[Bench, RunbookError]):
    operations = LedgerOperation.objects.using("mariadb").order_by("id")
    assert [operation.done for operation in operations] == [True, True, False]
    failed_one = LedgerStatement.objects.using("mariadb").get(operation_id=operations[2].pk)
    assert failed_one.status == StatementStatus.PLANNED


@pytest.mark.parametrize("failed", ["mariadb", "postgresql", "sqlite"], indirect=True)
def test_mending_the_data_and_applying_again_completes(failed: tuple[Bench, RunbookError]):
    bench, _error = failed
    execute(bench, "UPDATE library_author SET name = 'Ann 2' WHERE id = 3")
    bench.process()
    assert ages(bench) == [32, 42, 5]
    assert f"('{APP}', '0002_tested')" in bench.outcome


@mariadb
def test_mending_the_operation_that_failed_completes(failed: tuple[Bench, RunbookError]):
    bench, _error = failed
    mended = alone("mended", lambda: [add("note", text(null=True)), growing(), growing(), growing()])
    with patch.object(bench, "case", mended):
        bench.process()
    assert ages(bench) == [33, 43, 6]


@mariadb
def test_editing_an_operation_that_is_done_is_refused(failed: tuple[Bench, RunbookError]):
    bench, _error = failed
    edited = alone("edited", lambda: [add("note", text(90, null=True)), growing(), unique_names(), growing()])
    before = bench.outcome
    with (
        patch.object(bench, "case", edited),
        pytest.raises(
            Refused,
            match=r"Operation 'Add field note to author' of migration library\.0002_tested was edited after "
            "it had been applied",
        ),
    ):
        bench.process()
    assert bench.outcome == before


HALF = alone(
    "half",
    lambda: [
        migrations.RunSQL(["UPDATE library_author SET age = age + 1", "UPDATE no_such_table SET x = 1"])
    ],
)


def test_editing_an_operation_that_is_half_done_is_refused(make_bench: MakeBench):
    bench = make_bench("mariadb", HALF)
    with pytest.raises(RunbookError, match="no_such_table"):
        bench.process()
    with (
        patch.object(bench, "case", alone("edited", lambda: [growing()])),
        pytest.raises(Refused, match="was edited after a part of it had been applied"),
    ):
        bench.process()
    assert ages(bench) == [31, 41]


def test_an_operation_killed_before_its_first_statement_may_be_edited(make_bench: MakeBench):
    bench = make_bench("mariadb", alone("added", lambda: [add("note", text(null=True))]))
    killed = bench.process(die_at=2)
    assert killed.dead
    assert killed.done == []
    with patch.object(bench, "case", alone("edited", lambda: [add("remark", text(null=True))])):
        assert len(bench.process().done) == 2


def test_an_operation_killed_after_its_first_statement_may_not_be_edited(make_bench: MakeBench):
    bench = make_bench("mariadb", alone("added", lambda: [add("note", text(null=True))]))
    killed = bench.process(die_at=3)
    assert len(killed.done) == 1
    with (
        patch.object(bench, "case", alone("edited", lambda: [add("remark", text(null=True))])),
        pytest.raises(Refused, match="was edited after a part of it had been applied"),
    ):
        bench.process()


@pytest.mark.parametrize("kind", ["mariadb", "postgresql", "sqlite"])
def test_null_under_a_coming_not_null_is_told_and_can_be_mended(make_bench: MakeBench, kind: str):
    bench = make_bench(kind, alone("nulls", lambda: [alter("slug", text())]))
    with pytest.raises(RunbookError, match=r"failed at 'Alter field slug on author'.*(slug|null|1265)"):
        bench.process()
    execute(bench, "UPDATE library_author SET slug = 'bob' WHERE slug IS NULL")
    bench.process()
    assert f"('{APP}', '0002_tested')" in bench.outcome


def stumbles(apps: object, editor: object) -> None:
    raise ValueError("a bug")


@pytest.mark.parametrize(
    ("atomic", "hint"),
    [
        (True, NOTHING_IN_DOUBT),
        (
            False,
            "It does not run in a transaction, so a part of it may be done, and it will run again. Mend the "
            "data, or this operation, and run `manage.py runbook resume`; or restore the run's backup.",
        ),
    ],
)
def test_a_function_that_raises_is_told_with_what_that_means(make_bench: MakeBench, atomic: bool, hint: str):
    bench = make_bench("mariadb", alone("bug", lambda: [migrations.RunPython(stumbles, atomic=atomic)]))
    with pytest.raises(RunbookError) as caught:
        bench.process()
    assert caught.value.message == ("Migration library.0002_tested failed at 'Raw Python operation': a bug")
    assert caught.value.hint == hint


def test_a_lost_session_is_a_crash_and_no_failure(make_bench: MakeBench):
    """Whether its last statement was done is decided when the run goes on."""
    bench = make_bench("mariadb", ORGANISATION_GAINS_A_LEVEL)
    bench.process()
    outcome = bench.outcome
    bench.reset()

    def lose_session(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        if "ADD COLUMN `sous_direction_id`" in sql and "django_runbook_" not in sql:
            session = bench.connection.connection.thread_id()
            with closing(second_session(bench.connection)) as other:
                other.kill(session)
        return execute(sql, params, many, context)

    with bench.connection.execute_wrapper(lose_session), pytest.raises(OperationalError):
        bench.process()
    bench.connection.close()
    assert bench.outcome != outcome
    bench.process()
    assert bench.outcome == outcome


def second_session(connection: Any) -> Any:
    return connection.get_new_connection(connection.get_connection_params())
