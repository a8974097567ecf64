"""The plan says beforehand what a crash in a migration would mean."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import migrations, models
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from django_runbook.schema.crashes import CrashMeaning, judge_crash
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


def test_every_meaning_has_words():
    assert set(CRASH_WORDS) == set(CrashMeaning)
