"""What a crash in the middle of a migration would mean. Pure: judged from the operations alone."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from textwrap import shorten

from django.db.migrations.migration import Migration
from django.db.migrations.operations import RunPython, RunSQL
from django.db.migrations.operations.base import Operation

from django_runbook.schema import scripts
from django_runbook.schema.nature import flat

LONGEST_STATEMENT = 60
"""Characters of a statement that name it in a plan."""


class CrashMeaning(StrEnum):
    """What is left of a migration that was cut in its middle, and what a resume does; the mildest first."""

    ALL_OR_NOTHING = "all or nothing"
    """The server takes it back whole; a resume applies it again."""
    RESUMABLE = "resumable by statement"
    """What was done stays; a resume goes on with the statement that is next."""
    AT_LEAST_ONCE = "at least once"
    """An operation in it can have had effects that no transaction takes back; a resume repeats it."""
    NOT_RESUMABLE = "not resumable"
    """What was done stays, and a resume may go on wrongly: only a restore of the backup is sure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CrashJudgement:
    """What a crash would mean, and which operation is the reason, if one is."""

    meaning: CrashMeaning = CrashMeaning.ALL_OR_NOTHING
    operation: str = ""
    number: int = field(default=0, compare=False)
    """The operation's place among those that touch the database, from 0."""


def judge_crash(
    migration: Migration, *, rolls_back_ddl: bool, atomic_ddl: bool = True, in_pieces: bool = False
) -> CrashJudgement:
    """Judge one migration for a database of these capabilities: by the worst of its operations, the first
    of them.

    `atomic_ddl`: does a crash of the server leave each DDL statement done or not done? `in_pieces`: is it
    applied operation by operation even if one transaction could hold it?
    """
    whole = rolls_back_ddl and migration.atomic and not in_pieces
    if not (rolls_back_ddl or atomic_ddl):
        return CrashJudgement(meaning=CrashMeaning.NOT_RESUMABLE)
    if applies_itself(migration):
        return CrashJudgement() if whole else _at_least_once("Migration.apply()")
    mildest = CrashJudgement(meaning=CrashMeaning.ALL_OR_NOTHING if whole else CrashMeaning.RESUMABLE)
    return worst([mildest, *_of_operations(migration, rolls_back_ddl, whole)])


def worst(judged: Sequence[CrashJudgement]) -> CrashJudgement:
    """The first of the worst judgements; the mildest there is if there are none."""
    order = list(CrashMeaning)
    return max(judged, key=lambda it: order.index(it.meaning), default=CrashJudgement())


def _of_operations(migration: Migration, rolls_back_ddl: bool, whole: bool) -> Iterator[CrashJudgement]:
    found = list(flat(migration.operations))
    for number, operation in enumerate(found):
        if isinstance(operation, RunSQL):
            judged = [*_of_sql(operation, rolls_back_ddl)]
            if not whole:
                judged += _of_session(operation, found[number + 1 :], rolls_back_ddl)
            yield from (replace(it, number=number) for it in judged)
        elif not whole and escapes_transactions(operation, migration, rolls_back_ddl):
            yield _at_least_once(operation.describe())


def _of_sql(operation: RunSQL, rolls_back_ddl: bool) -> Iterator[CrashJudgement]:
    """By what its statements do to the transaction that they run in."""
    for text in scripts.texts(operation, split=not rolls_back_ddl):
        found = scripts.statements(text)
        if rolls_back_ddl:
            repeated = scripts.ending_transaction(found)
        elif left_out := scripts.left_out(found):
            yield _not_resumable(operation, left_out)
            continue
        else:
            repeated = scripts.repeated(found)
        if repeated:
            yield _at_least_once(_named(operation, repeated))


def _of_session(
    operation: RunSQL, later: Sequence[Operation], rolls_back_ddl: bool
) -> Iterator[CrashJudgement]:
    """By what its statements leave in the session for others, which a resume has not.

    Where DDL rolls back, an operation is one piece, so only later operations are others.
    """
    sent = scripts.texts(operation, split=not rolls_back_ddl)
    for number, text in enumerate(sent, start=1):
        behind = [] if rolls_back_ddl else sent[number:]
        rest = "\n".join([*behind, *(str(it.sql) for it in later if isinstance(it, RunSQL))])
        found = scripts.lost(scripts.statements(text), rest)
        if found and (behind or later):
            yield _not_resumable(operation, found)


def _at_least_once(operation: str) -> CrashJudgement:
    return CrashJudgement(meaning=CrashMeaning.AT_LEAST_ONCE, operation=operation)


def _not_resumable(operation: Operation, statement: str) -> CrashJudgement:
    return CrashJudgement(meaning=CrashMeaning.NOT_RESUMABLE, operation=_named(operation, statement))


def _named(operation: Operation, statement: str) -> str:
    """The operation, and the beginning of the statement in it that is the reason."""
    return f"{operation.describe()}: {shorten(statement.strip().rstrip(';'), LONGEST_STATEMENT)}"


def escapes_transactions(operation: Operation, migration: Migration, rolls_back_ddl: bool) -> bool:
    """May it have effects outside of the transaction with its ledger row?"""
    if operation.reduces_to_sql:
        return False
    if not runs_in_transaction(operation, migration):
        return True
    if rolls_back_ddl:
        return False
    return not isinstance(operation, RunPython) or _uses_schema_editor(operation)


def applies_itself(migration: Migration) -> bool:
    """Has it an `apply()` of its own, so that its operations do not tell what it does?"""
    return type(migration).apply is not Migration.apply


def runs_in_transaction(operation: Operation, migration: Migration) -> bool:
    """Does Django put this operation into a transaction of its own? By the rule of `Migration.apply`."""
    return bool(operation.atomic or (migration.atomic and operation.atomic is not False))


def _uses_schema_editor(operation: RunPython) -> bool:
    """Does its source send DDL? On a server that commits at each DDL statement no transaction holds it."""
    try:
        source = inspect.getsource(operation.code)
    except (OSError, TypeError):
        return False
    return bool(re.search(r"\bschema_editor\.(?!connection\b)", source))
