"""A migration that builds its indexes and constraints later ends as one that builds them at once."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import closing, nullcontext
from itertools import count
from typing import Any

import pytest
from bench import APP, Bench, Case
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models
from django.db.migrations.recorder import MigrationRecorder
from sampling import some_in_ci
from situations_of_migrations import (
    AUTHORS,
    BOOKS,
    ORGANISATION_GAINS_A_LEVEL,
    add,
    authors,
    books,
    key,
    text,
)
from undone import plan_of_undo, undo

from django_runbook.exceptions import RunbookError

MakeBench = Callable[[str, Case], Bench]

KINDS = ("sqlite", "mariadb", "postgresql")


def everything() -> list[Any]:
    """Each way to build over an added column, and on the same table after it."""
    return [
        add("tag", text(null=True, unique=True)),
        add("mentor", key("self", null=True)),
        add("shadow", models.OneToOneField(f"{APP}.author", models.CASCADE, null=True, related_name="+")),
        add("born", models.IntegerField(null=True, db_index=True)),
        migrations.AddIndex("author", models.Index(fields=["age"], name="after_it")),
        migrations.AddIndex("author", models.Index(fields=["mentor", "age"], name="with_key")),
        migrations.AlterUniqueTogether("author", {("name", "born")}),
        migrations.AlterModelOptions("author", {"ordering": ["name"]}),
        migrations.AddConstraint(
            "author", models.UniqueConstraint(fields=["slug", "born"], name="slug_born")
        ),
        migrations.CreateModel(
            "Prize",
            [("id", models.BigAutoField(primary_key=True)), ("author", key()), ("word", text(db_index=True))],
        ),
        add("prizes", models.ManyToManyField(f"{APP}.prize")),
    ]


def one_after_the_other() -> list[Any]:
    """Operations that rename, alter and drop what is held before them."""
    return [
        add("tag", text(null=True, unique=True)),
        add("mentor", key("self", null=True)),
        migrations.RenameField("author", "tag", "mark"),
        migrations.AddIndex("author", models.Index(fields=["mark"], name="by_mark")),
        migrations.AlterField("author", "mentor", key("self", null=True, db_constraint=False)),
        migrations.RenameModel("Author", "Writer"),
        migrations.AddField("writer", "late", models.IntegerField(null=True, db_index=True)),
    ]


EVERYTHING = Case(name="everything", setup=authors, rows=AUTHORS, operations=everything)
MIXED = Case(name="mixed", setup=books, rows=BOOKS, operations=one_after_the_other)
CASES = [EVERYTHING, MIXED, ORGANISATION_GAINS_A_LEVEL]
CONCURRENTLY = Case(
    name="concurrently",
    setup=authors,
    rows=AUTHORS,
    operations=lambda: [
        add("born", models.IntegerField(null=True, db_index=True)),
        AddIndexConcurrently("author", models.Index(fields=["born"], name="by_year")),
    ],
    atomic=False,
)


def hold(bench: Bench, die_at: int | None = None) -> Any:
    def executor() -> Any:
        made = bench.crash_safe()
        made.holds = {(APP, "0002_tested")}
        return made

    return bench.process(die_at, executor)


def test_an_index_that_is_built_concurrently_is_not_held(make_bench: MakeBench):
    """Its operation refuses to run in the transaction of its ledger row."""
    bench = make_bench("postgresql", CONCURRENTLY)
    hold(bench)
    with bench.connection.cursor() as cursor:
        found = bench.connection.introspection.get_constraints(cursor, "library_author")
    assert [name for name, it in found.items() if it["columns"] == ["born"]] == ["by_year"]
    bench.process()
    outcome = bench.outcome
    bench.reset()
    bench.process(executor=bench.plain)
    assert bench.outcome == outcome


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_it_ends_as_if_nothing_had_been_held(make_bench: MakeBench, kind: str, case: Case):
    bench = make_bench(kind, case)
    bench.process(executor=bench.plain)
    outcome, definitions = bench.outcome, bench.database.all_definitions()
    bench.reset()
    hold(bench)
    assert bench.outcome != outcome
    bench.process()
    assert bench.outcome == outcome
    assert bench.database.all_definitions() == definitions  # with the order of keys, on MariaDB


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_it_can_be_killed_at_any_moment(make_bench: MakeBench, kind: str, case: Case):
    bench = make_bench(kind, case)
    held = hold(bench)
    between = bench.outcome
    finished = bench.process()
    outcome = bench.outcome
    for moment in some_in_ci(range(1, held.moments + 1), one_in=6):
        bench.reset()
        assert hold(bench, die_at=moment).dead
        hold(bench)
        assert bench.outcome == between, moment
    for moment in some_in_ci(range(1, finished.moments + 1), one_in=6):
        bench.reset()
        hold(bench)
        assert bench.process(die_at=moment).dead
        bench.process()
        assert bench.outcome == outcome, moment


def built_on(bench: Bench, table: str) -> set[tuple[str, ...]]:
    """Columns of each index and constraint, as the server tells them."""
    with bench.connection.cursor() as cursor:
        found = bench.connection.introspection.get_constraints(cursor, table)
    return {tuple(it["columns"]) for it in found.values()}


@pytest.mark.parametrize("kind", ["mariadb", "postgresql"])
def test_what_is_held_is_not_there_until_the_end(make_bench: MakeBench, kind: str):
    bench = make_bench(kind, EVERYTHING)
    hold(bench)
    later = {("mentor_id",), ("born",), ("age",), ("mentor_id", "age"), ("name", "born")}
    later |= {("tag",), ("shadow_id",), ("slug", "born")}
    assert not later & built_on(bench, "library_author")
    assert (APP, "0002_tested") not in MigrationRecorder(bench.connection).applied_migrations()
    bench.process()
    found = built_on(bench, "library_author")
    if kind == "mariadb":  # which drops the index of a foreign key beside one that begins with it
        found |= {("mentor_id",)}
    assert later <= found


def test_indexes_are_held_where_a_foreign_key_is_a_part_of_its_column(make_bench: MakeBench):
    bench = make_bench("sqlite", ORGANISATION_GAINS_A_LEVEL)
    hold(bench)
    with bench.connection.cursor() as cursor:
        [key] = [
            it
            for it in bench.connection.introspection.get_constraints(cursor, "library_service").values()
            if "sous_direction_id" in it["columns"]
        ]
    assert key["foreign_key"]
    assert not key["index"]
    bench.process()
    assert ("nom", "sous_direction_id") in built_on(bench, "library_service")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_it_goes_back_from_the_middle_and_from_the_end(make_bench: MakeBench, kind: str, case: Case):
    bench = make_bench(kind, case)
    before, shapes = bench.database.all_definitions(), shapes_of(bench)
    hold(bench)
    between = [*range(1, bench.process().moments + 1)]
    for moment in [0, *some_in_ci(between[::3], one_in=2), None]:
        bench.reset()
        hold(bench)
        if moment != 0:
            bench.process(die_at=moment)
        assert plan_of_undo(bench, before).irreversible == ()
        undo(bench, before)
        assert shapes_of(bench) == shapes, moment


def shapes_of(bench: Bench) -> dict[str, str]:
    found = bench.database.all_definitions()
    return {name: bench.database.shape(text) for name, text in found.items() if name.startswith("library_")}


KEY = "library_author_mentor_id_774c4db9_fk_library_author_id"
GENTLE = {
    "mariadb": [
        "ALTER TABLE `library_author` ADD CONSTRAINT `tag` UNIQUE (`tag`), ALGORITHM=INPLACE, LOCK=NONE",
        f"ALTER TABLE `library_author` ADD CONSTRAINT `{KEY}` "
        "FOREIGN KEY (`mentor_id`) REFERENCES `library_author` (`id`), ALGORITHM=INPLACE, LOCK=NONE",
        "CREATE INDEX `after_it` ON `library_author` (`age`) ALGORITHM=INPLACE LOCK=NONE",
    ],
    "postgresql": [
        'CREATE UNIQUE INDEX CONCURRENTLY "library_author_tag_key" ON "library_author" ("tag")',
        'ALTER TABLE "library_author" ADD CONSTRAINT "library_author_tag_key" UNIQUE USING INDEX '
        '"library_author_tag_key"',
        f'ALTER TABLE "library_author" ADD CONSTRAINT "{KEY}" FOREIGN KEY ("mentor_id") '
        'REFERENCES "library_author" ("id") DEFERRABLE INITIALLY DEFERRED NOT VALID',
        f'ALTER TABLE "library_author" VALIDATE CONSTRAINT "{KEY}"',
        'CREATE INDEX CONCURRENTLY "after_it" ON "library_author" ("age")',
    ],
}


@pytest.mark.parametrize("kind", GENTLE)
def test_what_was_held_is_built_while_others_write(make_bench: MakeBench, kind: str):
    """In the forms that the server refuses where others would have to wait, and it refuses none."""
    bench = make_bench(kind, EVERYTHING)
    hold(bench)
    done = [text.strip() for text in bench.process().done]
    assert [text for text in done if text in GENTLE[kind]] == GENTLE[kind]
    built = [text for text in done if re.match("CREATE|ALTER", text)]
    assert all(re.search("LOCK=NONE|CONCURRENTLY|ADD CONSTRAINT|VALIDATE", text) for text in built)


OLD_KEY = r"\S?library_service_direction_id_\w+\S?"
MADE_ANEW = {
    "mariadb": [rf"ALTER TABLE .* ADD CONSTRAINT {OLD_KEY} FOREIGN KEY .*, ALGORITHM=INPLACE, LOCK=NONE"],
    "postgresql": [
        rf"ALTER TABLE .* ADD CONSTRAINT {OLD_KEY} FOREIGN KEY .* NOT VALID",
        rf"ALTER TABLE .* VALIDATE CONSTRAINT {OLD_KEY}",
    ],
}


@pytest.mark.parametrize("kind", MADE_ANEW)
def test_a_foreign_key_over_old_rows_is_made_anew_while_others_write(make_bench: MakeBench, kind: str):
    """With its column, to which nothing was added that could wait."""
    bench = make_bench(kind, ORGANISATION_GAINS_A_LEVEL)
    done = [text.strip() for text in hold(bench).done]
    anew = [text for text in done if re.search(rf"(ADD|VALIDATE) CONSTRAINT {OLD_KEY}", text)]
    assert len(anew) == len(MADE_ANEW[kind])
    assert all(map(re.fullmatch, MADE_ANEW[kind], anew)), anew


ORPHAN = "UPDATE library_author SET mentor_id = 99 WHERE id = 2"
TWINS = "UPDATE library_author SET tag = 'same'"


@pytest.mark.parametrize(
    ("kind", "breaking", "named"),
    [
        (
            "mariadb",
            ORPHAN,
            "because rows break it: 1 row of library_author with mentor_id = 99, which library_author does "
            "not have",
        ),
        ("postgresql", ORPHAN, 'Key (mentor_id)=(99) is not present in table "library_author"'),
        ("mariadb", TWINS, "Duplicate entry 'same' for key 'tag'"),
        ("postgresql", TWINS, "Key (tag)=(same) is duplicated"),
    ],
)
def test_rows_that_break_a_held_constraint_are_named_and_can_be_mended(
    make_bench: MakeBench, kind: str, breaking: str, named: str
):
    bench = make_bench(kind, EVERYTHING)
    hold(bench)
    bench.process()
    outcome = bench.outcome
    bench.reset()
    hold(bench)
    bench.database.ask_nothing(breaking)
    with pytest.raises(RunbookError, match=re.escape(named)):
        bench.process()
    bench.database.ask_nothing("UPDATE library_author SET tag = NULL, mentor_id = NULL")
    bench.process()
    assert bench.outcome == outcome


def test_an_index_that_failed_on_its_rows_is_not_left_behind(make_bench: MakeBench):
    """PostgreSQL keeps an invalid one, under which inserts could fail."""
    bench = make_bench("postgresql", EVERYTHING)
    hold(bench)
    bench.database.ask_nothing(TWINS)
    with pytest.raises(RunbookError):
        bench.process()
    assert bench.database.ask("SELECT 1 FROM pg_index WHERE NOT indisvalid") == []


@pytest.mark.parametrize("dies", [False, True], ids=["alive", "dead before it looks again"])
def test_rows_that_slip_in_while_a_foreign_key_is_added_are_found(make_bench: MakeBench, dies: bool):
    """The session that adds it in place has the server check no rows."""
    bench = make_bench("mariadb", EVERYTHING)
    moment = moment_after_the_key(bench)
    bench.reset()
    hold(bench)
    with bench.connection.execute_wrapper(slip_in):
        if dies:
            assert bench.process(die_at=moment).dead
            assert ("mentor_id",) in built_on(bench, "library_author")
    others = nullcontext() if dies else bench.connection.execute_wrapper(slip_in)
    with others, pytest.raises(RunbookError, match="1 row of library_author with mentor_id = 99"):
        bench.process()
    assert ("mentor_id",) not in built_on(bench, "library_author")
    bench.database.ask_nothing("UPDATE library_author SET mentor_id = NULL")
    bench.process()
    assert ("mentor_id",) in built_on(bench, "library_author")


def moment_after_the_key(bench: Bench) -> int:
    hold(bench)
    for moment in count(1):
        killed = bench.process(die_at=moment)
        if is_key(killed.last):
            return moment
        bench.reset()
        hold(bench)
    raise AssertionError("the last moment is not the last")


def is_key(sql: str) -> bool:
    return "ADD CONSTRAINT" in sql and "FOREIGN KEY (`mentor_id`)" in sql


def slip_in(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
    """Let another session break the foreign key just before it is added."""
    if is_key(sql):
        connection = context["connection"]
        with closing(connection.get_new_connection(connection.get_connection_params())) as other:
            other.cursor().execute(ORPHAN)
            other.commit()
    return execute(sql, params, many, context)
