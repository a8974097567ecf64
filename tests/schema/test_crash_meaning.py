"""The plan says beforehand what a crash in a migration would mean."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from unittest.mock import patch

import pytest
from django.db import migrations, models
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState
from library import INITIAL, runbook, start
from rich.console import Console

from django_runbook.plan import make_plan
from django_runbook.report.as_json import plan_to_json
from django_runbook.report.text import plan_to_text
from django_runbook.schema.crashes import CrashJudgement, CrashMeaning, judge_crash
from django_runbook.steps import Backup, Migrate
from django_runbook.steps.migrate import CRASH_WORDS

ADD = migrations.AddField("author", "age", models.IntegerField(null=True))


def with_ddl(apps: object, schema_editor: object) -> None:
    schema_editor.execute("ALTER TABLE author ADD age int")


def with_data(apps: object, schema_editor: object) -> None:
    print(schema_editor.connection.alias)  # noqa: T201


class AppliesItself(migrations.Migration):
    def apply(self, *args: Any, **kwargs: Any) -> ProjectState:
        return super().apply(*args, **kwargs)


def migration(*operations: Operation, atomic: bool = True) -> migrations.Migration:
    attributes = {"operations": list(operations), "atomic": atomic}
    return type("Migration", (migrations.Migration,), attributes)("0001", "library")


@pytest.mark.parametrize(
    ("tried", "rolls_back", "meaning"),
    [
        (migration(ADD), True, CrashMeaning.ALL_OR_NOTHING),
        (migration(ADD), False, CrashMeaning.RESUMABLE),
        (migration(ADD, atomic=False), True, CrashMeaning.RESUMABLE),
        (migration(migrations.RunPython(with_data)), False, CrashMeaning.RESUMABLE),
        (migration(migrations.RunPython(with_ddl)), True, CrashMeaning.ALL_OR_NOTHING),
        (migration(migrations.RunPython(with_ddl)), False, CrashMeaning.AT_LEAST_ONCE),
        (migration(migrations.RunPython(with_data, atomic=False)), False, CrashMeaning.AT_LEAST_ONCE),
        (migration(migrations.RunPython(with_data), atomic=False), True, CrashMeaning.AT_LEAST_ONCE),
        (migration(migrations.RunPython(with_data, atomic=True), atomic=False), True, CrashMeaning.RESUMABLE),
        (
            migration(migrations.SeparateDatabaseAndState([migrations.RunPython(with_ddl)])),
            False,
            CrashMeaning.AT_LEAST_ONCE,
        ),
        (AppliesItself("0001", "library"), True, CrashMeaning.ALL_OR_NOTHING),
        (AppliesItself("0001", "library"), False, CrashMeaning.AT_LEAST_ONCE),
    ],
)
def test_a_crash_means(tried: migrations.Migration, rolls_back: bool, meaning: CrashMeaning):
    judged = judge_crash(tried, rolls_back_ddl=rolls_back)
    assert judged.meaning is meaning
    assert bool(judged.operation) is (meaning is CrashMeaning.AT_LEAST_ONCE)


ROW = "INSERT INTO a VALUES (1, 'COMMIT');\n"
RAW = "Raw SQL operation: "
NEVER = CrashMeaning.NOT_RESUMABLE
TWICE = CrashMeaning.AT_LEAST_ONCE
PROCEDURE = "CREATE PROCEDURE tidy() BEGIN DELETE FROM log; COMMIT; SET @n = (SELECT 1); END"


@pytest.mark.parametrize(
    ("sql", "meaning", "statement"),
    [
        ("UPDATE a SET x = x + 1", CrashMeaning.RESUMABLE, ""),
        ("CREATE TABLE b (x int); UPDATE a SET x = x + 1", CrashMeaning.RESUMABLE, ""),
        (["UPDATE a SET x = ';' -- not; two\n;"], CrashMeaning.RESUMABLE, ""),
        (["UPDATE a SET x = 1; DELETE FROM b;"], CrashMeaning.RESUMABLE, ""),
        ([("UPDATE a SET x = %s", ["COMMIT; BEGIN"])], CrashMeaning.RESUMABLE, ""),
        (PROCEDURE, CrashMeaning.RESUMABLE, ""),
        ([PROCEDURE], CrashMeaning.RESUMABLE, ""),
        (ROW * 2, CrashMeaning.RESUMABLE, ""),
        ([ROW * 2], CrashMeaning.RESUMABLE, ""),
        ([f"{ROW}/* ; */ CALL tidy();{ROW}"], TWICE, "/* ; */ CALL tidy()"),
        ("", CrashMeaning.RESUMABLE, ""),
        ([], CrashMeaning.RESUMABLE, ""),
        ("CALL tidy()", TWICE, "CALL tidy()"),
        ([("/* all */ call tidy(%s)", [1])], TWICE, "/* all */ call tidy(%s)"),
        (f"{PROCEDURE};\nCALL tidy();", TWICE, "CALL tidy()"),
        ("EXECUTE IMMEDIATE 'DROP TABLE a'", TWICE, "EXECUTE IMMEDIATE 'DROP TABLE a'"),
        (["UPDATE a SET x = 1; ALTER TABLE a ADD y int"], TWICE, "ALTER TABLE a ADD y int"),
        ("START TRANSACTION; UPDATE a SET x = 1; COMMIT", TWICE, "START TRANSACTION"),
        (["START TRANSACTION; UPDATE a SET x = 1; COMMIT"], TWICE, "START TRANSACTION"),
        (["UPDATE a SET x = 1; COMMIT;"], TWICE, "COMMIT"),
        (
            ["BEGIN NOT ATOMIC DELETE FROM a; COMMIT; END"],
            TWICE,
            "BEGIN NOT ATOMIC DELETE FROM a; COMMIT; END",
        ),
        (["LOCK TABLES a WRITE", "UNLOCK TABLES"], TWICE, "LOCK TABLES a WRITE"),
        ("SET autocommit = 0", TWICE, "SET autocommit = 0"),
        ("SET @@session.autocommit = 0", TWICE, "SET @@session.autocommit = 0"),
        (["ALTER TABLE a ADD y int; UPDATE a SET y = 1"], NEVER, "UPDATE a SET y = 1"),
        (["ALTER TABLE a ADD y int; ALTER TABLE a ADD z int"], NEVER, "ALTER TABLE a ADD z int"),
    ],
)
def test_where_ddl_commits_raw_sql_means(sql: Any, meaning: CrashMeaning, statement: str):
    judged = judge_crash(migration(migrations.RunSQL(sql)), rolls_back_ddl=False)
    assert judged == CrashJudgement(meaning=meaning, operation=f"{RAW}{statement}" if statement else "")


@pytest.mark.parametrize(
    ("sql", "statement"),
    [
        ("UPDATE a SET x = 1; COMMIT; BEGIN", "COMMIT"),
        (["UPDATE a SET x = 1", "commit"], "commit"),
        ("END TRANSACTION", "END TRANSACTION"),
        ("ROLLBACK AND CHAIN", "ROLLBACK AND CHAIN"),
        ("ROLLBACK TO SAVEPOINT s", ""),
        ("SAVEPOINT s; RELEASE SAVEPOINT s", ""),
        ("CALL tidy(); EXECUTE s; CREATE TEMP TABLE t (x int); UPDATE a SET x = 'COMMIT; '", ""),
        ("CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETURN 1; END; $$; SELECT f()", ""),
        ("CREATE TRIGGER t AFTER INSERT ON a BEGIN DELETE FROM b; END; SELECT 1", ""),
        ("DO $$ BEGIN COMMIT; END $$; SELECT 1", ""),
    ],
)
@pytest.mark.parametrize("atomic", [True, False])
def test_where_ddl_rolls_back_a_commit_of_its_own_means_at_least_once(sql: Any, statement: str, atomic: bool):
    judged = judge_crash(migration(migrations.RunSQL(sql), atomic=atomic), rolls_back_ddl=True)
    if statement:
        assert judged == CrashJudgement(meaning=TWICE, operation=f"{RAW}{statement}")
    else:
        assert judged.meaning is (CrashMeaning.ALL_OR_NOTHING if atomic else CrashMeaning.RESUMABLE)


@pytest.mark.parametrize(
    ("keeping", "rolls_back", "lost"),
    [
        ("SELECT MAX(id) INTO @last FROM a", False, True),
        ("SELECT @n := COUNT(*) FROM a", False, False),
        ("SELECT @`last` := COUNT(*) FROM a", False, True),
        ("SET @last = (SELECT MAX(id) FROM a)", False, True),
        ("SET @last := NOW()", False, True),
        ("SET @last = 7", False, False),
        ("SET @other = (SELECT MAX(id) FROM a)", False, False),
        ("SET sql_mode = CONCAT(@@sql_mode, ',ANSI_QUOTES')", False, False),
        (["SET foreign_key_checks = 0; DELETE FROM a"], False, True),
        ("CREATE TEMPORARY TABLE t AS SELECT 1", False, True),
        ("PREPARE s FROM 'DROP TABLE a'", False, True),
        ("CREATE TEMP TABLE t AS SELECT 1", True, True),
        ("SELECT 1 INTO TEMP t", True, True),
        ("SELECT set_config('app.tenant', 'x', false)", True, True),
        ("SELECT set_config('app.tenant', 'x', true)", True, False),
        ("SET search_path = a", True, False),
        ("SET search_path = a; DELETE FROM b", True, True),
        ("SET lock_timeout = '2s'; DELETE FROM b", True, False),
        ("SET LOCAL search_path = a; DELETE FROM b", True, False),
    ],
)
def test_what_a_session_keeps_for_later_statements_is_lost_on_a_resume(
    keeping: Any, rolls_back: bool, lost: bool
):
    """Not if it is the last, and not where the migration is one transaction."""
    first, second = migrations.RunSQL(keeping), migrations.RunSQL("UPDATE a SET x = @last")
    pieces = migration(first, second, atomic=False)
    judged = judge_crash(pieces, rolls_back_ddl=rolls_back)
    assert judged.meaning is (NEVER if lost else CrashMeaning.RESUMABLE)
    if lost:
        text = keeping if isinstance(keeping, str) else keeping[0]
        assert judged.operation == RAW + text.partition(";")[0]
    alone = judge_crash(migration(first, atomic=False), rolls_back_ddl=rolls_back)
    assert alone.meaning is CrashMeaning.RESUMABLE
    if rolls_back:
        whole = judge_crash(migration(first, second), rolls_back_ddl=True)
        assert whole.meaning is CrashMeaning.ALL_OR_NOTHING


def test_where_ddl_commits_the_next_statement_of_an_operation_is_a_piece_of_its_own():
    together = ["SELECT MAX(id) INTO @last FROM a", "UPDATE a SET x = @last"]
    for sql in (together, ";".join(together)):
        judged = judge_crash(migration(migrations.RunSQL(sql)), rolls_back_ddl=False)
        assert judged == CrashJudgement(meaning=NEVER, operation=RAW + together[0])
    in_one = judge_crash(migration(migrations.RunSQL([";".join(together)])), rolls_back_ddl=False)
    assert in_one.meaning is CrashMeaning.RESUMABLE


def test_a_long_script_of_rows_is_judged_at_once():
    """The parser would take minutes."""
    with patch("sqlparse.split", side_effect=AssertionError):
        judged = judge_crash(migration(migrations.RunSQL(ROW * 100_000)), rolls_back_ddl=False)
    assert judged.meaning is CrashMeaning.RESUMABLE


def test_the_worst_operation_is_named():
    judged = judge_crash(
        migration(ADD, migrations.RunSQL("CALL one()"), migrations.RunSQL("CALL two()")), rolls_back_ddl=False
    )
    assert judged.operation == "Raw SQL operation: CALL one()"
    left_out = migrations.RunSQL(["DROP TABLE a; DROP TABLE b"])
    judged = judge_crash(migration(migrations.RunSQL("CALL one()"), left_out), rolls_back_ddl=False)
    assert judged.operation == "Raw SQL operation: DROP TABLE b"


def test_where_a_statement_can_be_left_half_done_only_a_restore_is_sure():
    judged = judge_crash(migration(ADD), rolls_back_ddl=False, atomic_ddl=False)
    assert judged == CrashJudgement(meaning=NEVER)
    assert judge_crash(migration(ADD), rolls_back_ddl=True, atomic_ddl=False) == CrashJudgement()


@pytest.mark.parametrize(
    ("capabilities", "operation", "words"),
    [
        ({}, ADD, "all or nothing"),
        ({"rolls_back_ddl": False}, ADD, "goes on by statement"),
        (
            {"rolls_back_ddl": False},
            migrations.RunSQL("CALL tidy()"),
            "at least once: Raw SQL operation: CALL tidy() (library.0002_coming)",
        ),
        (
            {"rolls_back_ddl": False},
            migrations.RunSQL(["DROP TABLE a; DROP TABLE b"]),
            "only a restore is sure: Raw SQL operation: DROP TABLE b (library.0002_coming)",
        ),
        ({"rolls_back_ddl": False, "atomic_ddl": False}, ADD, "only a restore is sure"),
        (
            {},
            migrations.RunSQL("DELETE FROM a; COMMIT"),
            "at least once: Raw SQL operation: COMMIT (library.0002_coming)",
        ),
    ],
)
def test_the_plan_says(capabilities: dict[str, bool], operation: Operation, words: str):
    place = start(INITIAL, ("0002_coming", [operation]), applied=["0001_initial"])
    assert Migrate.all().crash_meaning(replace(place, **capabilities)) == words


def test_the_plan_says_it_of_each_migration():
    called = ("0003_called", [migrations.RunSQL("CALL tidy()")])
    place = start(INITIAL, ("0002_more", [ADD]), called, applied=["0001_initial"])
    steps = runbook(Backup(), Migrate.all())
    plan = make_plan(steps, replace(place, rolls_back_ddl=False))
    words = {
        "library.0002_more": "goes on by statement",
        "library.0003_called": "at least once: Raw SQL operation: CALL tidy()",
    }
    assert plan_to_json(plan)["steps"][1]["crash_details"] == words
    console = Console(width=200)
    with console.capture() as captured:
        console.print(plan_to_text(plan))
    for name, meaning in words.items():
        assert f"  {meaning}: {name}\n" in captured.get()


def test_every_meaning_has_words():
    assert set(CRASH_WORDS) == set(CrashMeaning)
