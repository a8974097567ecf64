"""What a crash in the middle of a migration would mean. Pure: judged from the operations alone."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from enum import StrEnum

from django.db.migrations.migration import Migration
from django.db.migrations.operations import RunPython
from django.db.migrations.operations.base import Operation

from django_runbook.schema.nature import flat


class CrashMeaning(StrEnum):
    """What is left of a migration that was cut in its middle, and what a resume does; the mildest first."""

    ALL_OR_NOTHING = "all or nothing"
    """The server takes it back whole; a resume applies it again."""
    RESUMABLE = "resumable by statement"
    """What was done stays; a resume goes on with the statement that is next."""
    AT_LEAST_ONCE = "at least once"
    """An operation in it can have had effects that no transaction takes back; a resume repeats it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CrashJudgement:
    """What a crash would mean, and which operation is the reason, if one is."""

    meaning: CrashMeaning = CrashMeaning.ALL_OR_NOTHING
    operation: str = ""


def judge_crash(migration: Migration, *, rolls_back_ddl: bool) -> CrashJudgement:
    """Judge one migration for a database of this capability."""
    if rolls_back_ddl and migration.atomic:
        return CrashJudgement()
    if applies_itself(migration):
        return CrashJudgement(meaning=CrashMeaning.AT_LEAST_ONCE, operation="Migration.apply()")
    for operation in flat(migration.operations):
        if escapes_transactions(operation, migration, rolls_back_ddl):
            return CrashJudgement(meaning=CrashMeaning.AT_LEAST_ONCE, operation=operation.describe())
    return CrashJudgement(meaning=CrashMeaning.RESUMABLE)


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
