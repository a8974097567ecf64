"""The check's verdict on a value under a new type is that of the server, which Django asks to change it."""

from __future__ import annotations

from typing import Any

import pytest
from altering import TABLE, build, fails, fill, found, plan_of, table_of
from django.db import models
from library import alter

from django_runbook.databases import Database
from django_runbook.preflight import OPERATION_CHECKS, Severity

TEXT = models.CharField(max_length=100, null=True)
TEXTS = (
    "12", "-7", " 12 ", "012", "1.5", "12.0", "1299", "200105", "20201301",
    "1e3", "40000", "9999999999", "abc", "12abc", "", "true", "t", "maybe",
    "2020-02-29", "2020-02-30", "2020-1-5", "2020-01-05 10:00:00", "2020-01-05T10:00", "31.12.2020", "10:30",
    "25:00", "5e2f0c1a-0000-4000-8000-000000000001", "5e2f0c1a000040008000000000000001", "5e2f", '{"a": 1}',
    "{a: 1}",
)  # fmt: skip
NEW_TYPES: dict[str, models.Field] = {
    "integer": models.IntegerField(null=True),
    "decimal": models.DecimalField(max_digits=12, decimal_places=2, null=True),
    "boolean": models.BooleanField(null=True),
    "date": models.DateField(null=True),
    "datetime": models.DateTimeField(null=True),
    "time": models.TimeField(null=True),
    "uuid": models.UUIDField(null=True),
    "json": models.JSONField(null=True),
}
NUMBERS: dict[str, tuple[models.Field, models.Field, tuple[Any, ...]]] = {
    "bigint to int": (
        models.BigIntegerField(null=True),
        models.IntegerField(null=True),
        (2**31 - 1, 2**31, -(2**31), -(2**31) - 1),
    ),
    "int to smallint": (
        models.IntegerField(null=True),
        models.SmallIntegerField(null=True),
        (32767, 32768, -32768, -32769),
    ),
    "int to positive": (
        models.IntegerField(null=True),
        models.PositiveIntegerField(null=True),
        (0, -1, 2**31 - 1),
    ),
    "bigint to positive small": (
        models.BigIntegerField(null=True),
        models.PositiveSmallIntegerField(null=True),
        (0, -1, 32767, 65536),
    ),
    "decimal": (
        models.DecimalField(max_digits=8, decimal_places=3, null=True),
        models.DecimalField(max_digits=5, decimal_places=2, null=True),
        ("999.99", "999.994", "999.995", "-1000", "0.5"),
    ),
    "decimal to smallint": (
        models.DecimalField(max_digits=8, decimal_places=1, null=True),
        models.SmallIntegerField(null=True),
        ("32767.4", "32767.5", "-1.5"),
    ),
    "int to decimal": (
        models.IntegerField(null=True),
        models.DecimalField(max_digits=5, decimal_places=2, null=True),
        (999, 1000, -1000),
    ),
    "float to int": (
        models.FloatField(null=True),
        models.IntegerField(null=True),
        (1.5, 2147483647.4, 2147483647.6, -1e12),
    ),
    "float to decimal": (
        models.FloatField(null=True),
        models.DecimalField(max_digits=5, decimal_places=2, null=True),
        (1.5, 999.994, 999.999, -999.994, 1e10),
    ),
    "positive to int": (
        models.PositiveIntegerField(null=True),
        models.IntegerField(null=True),
        (0, 2**31 - 1),
    ),
    "text to shorter": (
        TEXT,
        models.CharField(max_length=3, null=True),
        ("abc", "abcd", "abc  ", "ééé", "éééé", ""),
    ),
    "endless text to short": (
        models.TextField(null=True),
        models.CharField(max_length=3, null=True),
        ("abc", "abcd", "abc  ", "ééé"),
    ),
    "int to short text": (
        models.IntegerField(null=True),
        models.CharField(max_length=3, null=True),
        (999, 1000, -99, -100),
    ),
}


def disagreements(
    database: Database, old: models.Field, new: models.Field, values: tuple[Any, ...]
) -> list[str]:
    """Values on which the check and the server differ. Run one by one: one table, one ALTER for each."""
    today = table_of(value=old)
    state = build(database, today)
    operation = alter("value", new)
    plan = plan_of(today, operation)
    differing = []
    for value in values:
        fill(database, "value", value)
        errors = [
            it
            for check in OPERATION_CHECKS
            for it in found(check, plan, database)
            if it.severity is Severity.ERROR and "will cut" not in it.message
        ]
        if bool(errors) != refused(database, operation, state, today):
            differing.append(f"{value!r}: {[it.message for it in errors] or 'no error'}")
    return differing


def refused(database: Database, operation: Any, state: Any, today: Any) -> bool:
    """Where it is not, the table is made again as it was."""
    is_refused = fails(database, operation, state)
    if not is_refused:
        database.ask_nothing(f"DROP TABLE {TABLE}")
        build(database, today)
    return is_refused


@pytest.mark.parametrize("new", NEW_TYPES)
def test_the_server_refuses_the_texts_that_the_check_refuses(database: Database, new: str):
    assert disagreements(database, TEXT, NEW_TYPES[new], TEXTS) == []


@pytest.mark.parametrize("case", NUMBERS)
def test_the_server_refuses_the_values_that_the_check_refuses(database: Database, case: str):
    assert disagreements(database, *NUMBERS[case]) == []
