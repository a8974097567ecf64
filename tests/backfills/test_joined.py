"""An UPDATE with values of related tables does what the same work in Python would do."""

# ruff: noqa: DJ001, DJ008 -- nobody reads these objects

from __future__ import annotations

import threading
import time
from contextlib import closing
from functools import cache
from itertools import pairwise
from typing import Any

import pytest
from django.apps.registry import Apps
from django.core.exceptions import FieldError
from django.db import connections, models, transaction
from django.db.migrations.state import ModelState, ProjectState
from django.db.models import Count, F, Q, Value
from django.db.models.functions import Coalesce, Concat, Upper
from harvest import create_tables

from django_runbook.databases import Database
from django_runbook.databases.joined import update_joined


class Village(models.Model):
    name = models.CharField(max_length=40, unique=True)

    class Meta:
        apps = Apps()
        app_label = "joined"


class Farm(models.Model):
    name = models.CharField(max_length=40, db_column="Farm's name")
    village = models.ForeignKey(Village, models.CASCADE, null=True)

    class Meta:
        apps = Village._meta.apps
        app_label = "joined"


class Field(models.Model):
    farm = models.ForeignKey(Farm, models.CASCADE, null=True)
    twin = models.ForeignKey("self", models.CASCADE, null=True)
    village = models.ForeignKey(Village, models.CASCADE, null=True)
    label = models.CharField(max_length=90, null=True)
    day = models.DateField(null=True)
    size = models.IntegerField(default=1)

    class Meta:
        apps = Village._meta.apps
        app_label = "joined"


class Strip(models.Model):
    pk = models.CompositePrimaryKey("field", "row")
    field = models.ForeignKey(Field, models.CASCADE)
    row = models.IntegerField()
    label = models.CharField(max_length=90, null=True)

    class Meta:
        apps = Village._meta.apps
        app_label = "joined"


class Meadow(Field):
    grass = models.CharField(max_length=40, null=True)

    class Meta:
        apps = Village._meta.apps
        app_label = "joined"


MODELS = (Village, Farm, Field, Strip, Meadow)


@pytest.fixture
def land(database: Database) -> str:
    """The alias of a database with fields of three villages, of a farm of none, and one of no farm."""
    create_tables(database, *historical().get_models())
    alias = database.alias
    Village, Farm, Field, Strip = (historical().get_model("joined", it.__name__) for it in MODELS[:4])
    villages = [Village(name=name) for name in ("Aix", "Beaune", "Cluny")]
    all_of(Village, alias).bulk_create(villages)
    farms = [Farm(name=f"farm {n}", village=village) for n, village in enumerate([*villages, None])]
    all_of(Farm, alias).bulk_create(farms)
    fields = [Field(farm=farm) for farm in [*farms * 5, None]]
    all_of(Field, alias).bulk_create(fields)
    for field, twin in pairwise(fields):
        field.twin = twin
        field.save(using=alias)
    all_of(Strip, alias).bulk_create([Strip(field=field, row=n) for field in fields for n in (1, 2)])
    return alias


@cache
def historical() -> Apps:
    """The models as a migration gets them, which know those that point at them."""
    state = ProjectState()
    for model in MODELS:
        state.add_model(ModelState.from_model(model))
    return state.apps


def all_of(model: type[models.Model], alias: str) -> Any:
    return historical().get_model("joined", model.__name__)._base_manager.using(alias)


def fields(alias: str, *names: str) -> list[Any]:
    return list(all_of(Field, alias).order_by("pk").values_list(*names, flat=len(names) == 1))


def test_a_column_is_filled_along_two_relations(land: str) -> None:
    assert (
        update_joined(all_of(Field, land), village=F("farm__village"), label=Upper("farm__village__name"))
        == 21
    )
    assert fields(land, "village__name", "label") == [
        ("Aix", "AIX"),
        ("Beaune", "BEAUNE"),
        ("Cluny", "CLUNY"),
        (None, None),
    ] * 5 + [(None, None)]


def test_rows_outside_of_the_conditions_keep_what_they_have(land: str) -> None:
    all_of(Field, land).update(label="old")
    first = all_of(Field, land).order_by("pk").first().pk
    rows = all_of(Field, land).filter(pk__gt=first, pk__lte=first + 6, farm__village__isnull=False)
    assert update_joined(rows, label=F("farm__name")) == 5
    expected = ["old", "farm 1", "farm 2", "old", "farm 0", "farm 1", "farm 2"] + ["old"] * 14
    assert fields(land, "label") == expected


def test_conditions_may_be_about_related_rows_in_any_form(land: str) -> None:
    rows = all_of(Field, land).filter(
        ~Q(farm__village__name="Aix"), Q(farm__name="farm 0") | Q(farm=None) | Q(pk__gt=0)
    )
    assert update_joined(rows, label=Concat("farm__name", Value(" %s "), F("twin__farm__name"))) == 16
    assert fields(land, "label")[:4] == [None, "farm 1 %s farm 2", "farm 2 %s farm 3", "farm 3 %s farm 0"]


def test_constants_and_other_columns_go_with_them(land: str) -> None:
    aix = all_of(Village, land).get(name="Aix")
    done = update_joined(
        all_of(Field, land),
        label=F("farm__name"),
        village=aix,
        day=None,
        size=F("size") + Coalesce("twin__size", 0),
    )
    assert done == 21
    assert fields(land, "label", "village", "day", "size")[:2] == [
        ("farm 0", aix.pk, None, 2),
        ("farm 1", aix.pk, None, 2),
    ]


def test_constants_alone_are_a_plain_update(land: str) -> None:
    assert update_joined(all_of(Field, land).filter(farm__name="farm 1"), label="it's 100 %s") == 5
    assert fields(land, "label").count("it's 100 %s") == 5


def test_rows_with_a_composite_key_are_found_again(land: str) -> None:
    rows = all_of(Strip, land).filter(row=2, field__farm__isnull=False)
    assert update_joined(rows, label=F("field__farm__name")) == 20
    assert all_of(Strip, land).filter(label__isnull=False).exclude(row=2).count() == 0
    assert all_of(Strip, land).filter(row=2, label=F("field__farm__name")).count() == 20


def test_of_several_related_rows_one_counts_and_the_row_counts_once(land: str) -> None:
    rows = all_of(Farm, land).filter(field__isnull=False)
    assert (
        update_joined(rows, name=Concat(Value("has "), F("field__pk"), output_field=models.CharField())) == 4
    )
    assert all(it.name.startswith("has ") for it in all_of(Farm, land))


def test_nothing_to_do_is_done(land: str) -> None:
    assert update_joined(all_of(Field, land).none(), label=F("farm__name")) == 0
    assert update_joined(all_of(Field, land).filter(pk__in=[]), label=F("farm__name")) == 0
    assert update_joined(all_of(Field, land).filter(pk=-1), label=F("farm__name")) == 0
    assert update_joined(all_of(Field, land)) == 0


def test_it_is_refused_for_what_is_no_column_of_the_table(land: str) -> None:
    with pytest.raises(FieldError, match=r"size is no column of the table of joined\.Meadow itself"):
        update_joined(all_of(Meadow, land), size=F("farm__village"))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda it: it[:3],
        lambda it: it.distinct(),
        lambda it: it.union(it),
        lambda it: it.annotate(n=Count("strip")),
    ],
)
def test_it_is_refused_for_rows_that_are_not_rows_of_the_table(land: str, spoil: Any) -> None:
    with pytest.raises(TypeError, match="takes rows of one table"):
        update_joined(spoil(all_of(Field, land)), label=F("farm__name"))


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_the_session_plans_afterwards_as_before(land: str, database: Database) -> None:
    with transaction.atomic(using=land):
        database.ask_nothing("SET LOCAL join_collapse_limit = 7")
        assert update_joined(all_of(Field, land), label=F("farm__name")) == 21
        assert database.ask("SHOW join_collapse_limit") == [("7",)]


@pytest.mark.parametrize("database", ["mariadb", "postgresql"], indirect=True)
def test_what_another_client_changes_meanwhile_is_not_overwritten(land: str, database: Database) -> None:
    first = all_of(Field, land).order_by("pk").first().pk
    counted: list[int] = []

    def fill() -> None:
        counted.append(update_joined(all_of(Field, land).filter(label__isnull=True), label=F("farm__name")))
        connections[land].close()

    with closing(database.connection.copy()) as other, other.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute(f"UPDATE joined_field SET label = 'theirs' WHERE id = {first}")
        cursor.execute(f"UPDATE joined_field SET farm_id = NULL WHERE id = {first + 1}")
        waiting = threading.Thread(target=fill)
        waiting.start()
        time.sleep(0.5)
        assert waiting.is_alive()
        cursor.execute("COMMIT")
        waiting.join()
    assert fields(land, "label")[:3] == ["theirs", None, "farm 2"]
    assert counted == [20]
