"""What the server writes is what Django would write, whatever the value."""

# ruff: noqa: DJ001, DJ008

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.apps.registry import Apps
from django.core import serializers
from django.db import connections, models
from django.db.models import QuerySet
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from django_runbook.databases import Database
from django_runbook.databases.readers import Readers
from django_runbook.fixtures import pieces
from django_runbook.fixtures.lines import Lines, _kind_of_class
from django_runbook.fixtures.serializers import FixtureText, Format

FORMATS: tuple[Format, ...] = ("json", "jsonl")
AWKWARD = "".join(map(chr, range(1, 0x20))) + "\"\\/'%s{}é€\x7f\x80\u2028\ufeff🦒"
SINCE = datetime.fromisoformat("1970-01-01")
MOMENTS = st.datetimes(SINCE.replace(year=1000), timezones=st.just(UTC)) | st.builds(
    lambda at: at.replace(microsecond=at.microsecond // 1000 % 7),
    st.datetimes(timezones=st.just(UTC), min_value=SINCE),
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats(-1e9, 1e9) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)
PLAIN = {
    "small": st.integers(-(2**15), 2**15 - 1),
    "number": st.integers(-(2**31), 2**31 - 1),
    "large": st.integers(-(2**63), 2**63 - 1),
    "positive": st.integers(0, 2**31 - 1),
    "yes": st.booleans(),
    "char": TEXTS,
    "text": TEXTS,
    "mail": TEXTS,
    "file": TEXTS,
    "day": st.dates(date(1000, 1, 1)),
    "at": MOMENTS,
    "key": st.uuids(version=4),
    "target_id": st.none(),
}
OTHERS = {
    "real": st.floats(allow_nan=False, allow_infinity=False),
    "amount": st.decimals(-(10**8), 10**8, places=3),
    "tiny": st.decimals(-1, 1, places=9),
    "hour": st.times(),
    "span": st.timedeltas(timedelta(days=-9999), timedelta(days=9999)),
    "octets": st.binary(max_size=80),
    "data": JSON,
    "address": st.ip_addresses().map(str),
}
EXTREMES = {
    "char": AWKWARD,
    "text": AWKWARD,
    "at": datetime(2026, 11, 24, 7, 8, 9, 5, tzinfo=UTC),
    "day": date(9999, 12, 31),
    "real": 1e16,
    "amount": Decimal("-0.100"),
    "tiny": Decimal("0.000000001"),
    "hour": time(23, 59, 59, 5),
    "span": timedelta(microseconds=-1),
    "octets": bytes(range(80)),
    "data": {"b": [1.0, 1e30, "1.5", "é\n"], "a": {"": None}},
    "address": "::ffff:1.2.3.4",
}
apps = Apps()


class Target(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)

    class Meta:
        apps = apps
        app_label = "lines"


class Plain(models.Model):
    """What every server writes itself."""

    small = models.SmallIntegerField(null=True)
    number = models.IntegerField(null=True)
    large = models.BigIntegerField(null=True)
    positive = models.PositiveIntegerField(null=True)
    yes = models.BooleanField(null=True)
    char = models.CharField(max_length=100, null=True, db_column="it's the char")
    text = models.TextField(null=True)
    mail = models.EmailField(max_length=100, null=True)
    file = models.FileField(null=True)
    day = models.DateField(null=True)
    at = models.DateTimeField(null=True)
    key = models.UUIDField(null=True)
    target = models.ForeignKey(Target, models.CASCADE, null=True)

    class Meta:
        apps = apps
        app_label = "lines"


class Mixed(Plain):
    """And what is Django's, on one server or on all; the columns of its parent are not its own."""

    real = models.FloatField(null=True)
    amount = models.DecimalField(max_digits=12, decimal_places=3, null=True)
    tiny = models.DecimalField(max_digits=12, decimal_places=9, null=True)
    hour = models.TimeField(null=True)
    span = models.DurationField(null=True)
    octets = models.BinaryField(null=True)
    data = models.JSONField(null=True)
    address = models.GenericIPAddressField(null=True)

    class Meta:
        apps = apps
        app_label = "lines"


@pytest.fixture
def tables(database: Database) -> Iterator[Database]:
    """The tables of these models, without foreign keys to hinder."""
    with connections[database.alias].schema_editor() as editor:
        for model in (Target, Plain, Mixed):
            editor.create_model(model)
    return database


def rows_of(fields: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[list[dict[str, Any]]]:
    return st.lists(
        st.fixed_dictionaries({name: st.none() | values for name, values in fields.items()}), max_size=3
    )


THOROUGH = settings(
    max_examples=15 if os.environ.get("CI") else 100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)


@THOROUGH
@given(rows=rows_of(PLAIN))
@example(rows=[{name: EXTREMES.get(name) for name in PLAIN}])
def test_the_server_writes_what_django_would(tables: Database, rows: list[dict[str, Any]]) -> None:
    fill(tables, Plain, [Plain(pk=number + 1, **row) for number, row in enumerate(rows)])
    assert written(tables, Plain) == expected(tables, Plain)


@THOROUGH
@given(rows=rows_of(OTHERS))
@example(rows=[{name: EXTREMES.get(name) for name in OTHERS}])
def test_what_the_server_cannot_write_stands_beside_it(tables: Database, rows: list[dict[str, Any]]) -> None:
    fill(tables, Plain, [Plain(pk=number + 1) for number in range(len(rows))])
    children = [Mixed(plain_ptr_id=number + 1, **row) for number, row in enumerate(rows)]
    for child in children:
        child.save_base(raw=True, using=tables.alias, force_insert=True)
    assert written(tables, Mixed) == expected(tables, Mixed)


def test_it_is_the_server_that_writes_ordinary_rows(
    tables: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the two tests above would compare Django with itself."""
    values = {
        **{"small": 1, "number": 2, "large": 3, "positive": 4, "yes": True, "char": 'a "b" é', "text": "\n"},
        **{"mail": "a@b.c", "file": "x/y.png", "day": date(2026, 1, 2), "key": uuid.uuid4()},
        "at": datetime(2026, 1, 2, 3, 4, 5, 678900, tzinfo=UTC),
    }
    target = Target.objects.using(tables.alias).create()
    fill(tables, Plain, [Plain(pk=1), Plain(pk=2, target=target, **values)])

    def refuse(*args: Any) -> None:
        raise AssertionError("Django was asked")

    monkeypatch.setattr(pieces._Reading, "_by_django", refuse)
    assert all(Lines(Plain, tables, FixtureText(format)).by_server for format in FORMATS)
    assert len(json.loads(written(tables, Plain)["json"])) == 2


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_what_is_of_another_type_than_its_column_is_written_by_django(tables: Database) -> None:
    """SQLite takes it. The moment lacks two digits, as other programs write it."""
    fill(tables, Plain, [Plain(pk=1, yes=True), Plain(pk=2), Plain(pk=3, small=3)])
    with connections[tables.alias].cursor() as cursor:
        cursor.execute("""UPDATE lines_plain SET text = X'41', at = '2026-01-02 03:04:05.6' WHERE id = 2""")
    assert '"2026-01-02T03:04:05.600Z"' in written(tables, Plain)["json"]
    assert written(tables, Plain) == expected(tables, Plain)


def test_long_rows_are_read_a_few_at_a_time(tables: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "LARGE", 10_000)
    monkeypatch.setattr(pieces, "FIRST", 2)
    fill(tables, Plain, [Plain(pk=number + 1, text="x" * 3000) for number in range(20)])
    with Readers(tables.alias, 0, ()) as readers:
        found = list(pieces.read_pieces(Plain, tables, FixtureText("json"), readers))
    assert [count for _text, count in found] == [2, 3, 3, 3, 3, 3, 3]
    assert written(tables, Plain) == expected(tables, Plain)


class Shouting:
    """What a field has whose values are others in Python than in its column."""

    def from_db_value(self, value: str | None, expression: Any, connection: Any) -> str | None:
        return value and value.upper()


class Before(Shouting, models.CharField):
    pass


class Behind(models.CharField, Shouting):
    pass


class Own(models.CharField):
    def value_to_string(self, obj: models.Model) -> str:
        return "own"


class Harmless(models.CharField):
    description = "a code"

    def formfield(self, **kwargs: Any) -> Any:
        return super().formfield(**kwargs)


@pytest.mark.parametrize(
    ("field", "kind"),
    [
        *((Before, ""), (Behind, ""), (Own, ""), (Harmless, "text"), (models.SlugField, "text")),
        *((models.BigAutoField, "integer"), (models.ImageField, "file"), (models.FloatField, "")),
    ],
)
def test_a_field_with_values_of_its_own_is_left_to_django(field: type, kind: str) -> None:
    assert _kind_of_class(field) == kind


def fill(database: Database, model: type[models.Model], rows: list[Any]) -> None:
    with connections[database.alias].cursor() as cursor:
        for table in ("lines_mixed", "lines_plain"):
            cursor.execute(f"DELETE FROM {table}")
    QuerySet(model, using=database.alias).bulk_create(rows)


def written(database: Database, model: type[models.Model]) -> dict[str, str]:
    """What an export makes of a table, in each format."""
    found = {}
    for format in FORMATS:
        text = FixtureText(format)
        with Readers(database.alias, 0, ()) as readers:
            parts = [piece for piece, _count in pieces.read_pieces(model, database, text, readers)]
        found[format] = text.head + text.between.join(parts) + (text.tail or ("\n" if parts else ""))
    return found


def expected(database: Database, model: type[models.Model]) -> dict[str, str]:
    rows = QuerySet(model, using=database.alias).order_by("pk")
    return {format: serializers.serialize(format, rows) for format in FORMATS}
