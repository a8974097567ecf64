"""Really apply the migrations of a test's own history, whole or cut off before one of their statements."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from library import APP, history, runbook, start

from django_runbook.databases import Database
from django_runbook.plan import Plan, make_plan
from django_runbook.preflight import PLAN_CHECKS, Finding
from django_runbook.steps import Backup, Migrate

WRITES = re.compile(r"\s*(CREATE|ALTER|DROP|INSERT|UPDATE|DELETE)\b", re.IGNORECASE)
IDS = ("runbook.P301", "runbook.P302", "runbook.P303", "runbook.P304", "runbook.P305", "runbook.P305")

Written = tuple[str, Sequence[Any]]


class Cut(Exception):
    """Stands for the end of the process."""


def apply(database: Database, written: Sequence[Written], *, statements: int | None = None) -> bool:
    """Apply the last of a history as Django does, or only so many of its statements. Was all of it done?"""
    past = history(*written, applied=[name for name, _operations in written[:-1]])
    migration = past.migration((APP, written[-1][0]))
    try:
        with (
            cut_after(database, statements),
            database.connection.schema_editor(atomic=migration.atomic) as it,
        ):
            migration.apply(past.state(past.applied), it)
    except Cut:
        return False
    return True


def apply_all(database: Database, written: Sequence[Written]) -> None:
    for number in range(len(written)):
        apply(database, written[: number + 1])


@contextmanager
def cut_after(database: Database, statements: int | None) -> Iterator[None]:
    left = statements

    def count(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        nonlocal left
        if left is not None and WRITES.match(sql):
            if left == 0:
                raise Cut
            left -= 1
        return execute(sql, params, many, context)

    with database.connection.execute_wrapper(count):
        yield


def pending(written: Sequence[Written], *, applied: int = 1) -> Plan:
    """The plan that applies all but the first migrations of a history."""
    names = [name for name, _operations in written[:applied]]
    return make_plan(runbook(Backup(), Migrate.all()), start(*written, applied=names))


def drift(plan: Plan, database: Database) -> list[Finding]:
    """What the checks of this subject find, reading only."""
    with database.read_only():
        return [it for check in PLAN_CHECKS if check.id in IDS for it in check.look(plan, database)]


def paste(database: Database, findings: Sequence[Finding]) -> None:
    """Run every statement of the hints, as an operator would."""
    for finding in findings:
        for line in finding.hint.splitlines():
            if line.endswith(";"):
                database.ask_nothing(line.rstrip(";"))
