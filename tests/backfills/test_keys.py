"""The way through a table by its primary key, whatever that is."""

from __future__ import annotations

from typing import Any

import pytest
from django.test.utils import CaptureQueriesContext
from harvest import KEYS, MODELS, AddOne, counts, make_run, rows

from django_runbook.backfills.keys import Keys
from django_runbook.databases import Database


def filled(database: Database, name: str) -> Keys:
    model = MODELS[name]
    rows(database, model).bulk_create([model(**key) for key in KEYS[name]])
    return Keys(rows(database, model))


def walk(keys: Keys, count: int) -> list[Any]:
    found, after, upto = [], None, keys.last()
    while True:
        last, seen = keys.ahead(after, upto, count)
        if not seen:
            return found
        here = list(keys.between(after, last).order_by("pk").values_list("pk", flat=True))
        assert len(here) == seen
        assert here[-1] == last
        found += here
        after = keys.from_text(keys.to_text(last))


@pytest.mark.parametrize("count", [1, 2, 100])
@pytest.mark.parametrize("name", KEYS)
def test_every_key_is_passed_once_in_the_order_of_the_server(harvest: Database, name: str, count: int):
    keys = filled(harvest, name)
    assert walk(keys, count) == list(keys.rows.order_by("pk").values_list("pk", flat=True))
    assert len(walk(keys, count)) == len(KEYS[name])


@pytest.mark.parametrize("name", KEYS)
def test_a_key_as_text_is_exact(harvest: Database, name: str):
    keys = filled(harvest, name)
    for key in keys.rows.values_list("pk", flat=True):
        assert keys.from_text(keys.to_text(key)) == key


@pytest.mark.parametrize("name", KEYS)
def test_the_neighbours_of_a_key_are_found(harvest: Database, name: str):
    keys = filled(harvest, name)
    ordered = list(keys.rows.order_by("pk").values_list("pk", flat=True))
    assert keys.before(ordered[0]) is None
    assert keys.before(ordered[3]) == ordered[2]
    assert keys.last() == ordered[-1]


def test_the_span_of_numbers_is_no_less_than_their_count(harvest: Database):
    assert Keys(rows(harvest)).span() == 0
    assert filled(harvest, "Sheaf").span() == 2**63 + 5
    assert filled(harvest, "ByUuid").span() == 0


@pytest.mark.parametrize("name", KEYS)
def test_every_row_is_done_once_whatever_its_key(harvest: Database, name: str):
    filled(harvest, name)
    task = type("AddOneHere", (AddOne,), {"model": f"harvest.{name}"})
    done = make_run(harvest, task).execute()
    assert counts(harvest, MODELS[name]) == [1] * len(KEYS[name])
    assert done["rows"] == len(KEYS[name])


@pytest.mark.parametrize("name", ["Sheaf", "ByText", "ByPair"])
def test_no_batch_skips_or_counts_its_way_through_the_table(harvest: Database, name: str):
    keys = filled(harvest, name)
    with CaptureQueriesContext(harvest.connection) as captured:
        walk(keys, 2)
    sent = [query["sql"].upper() for query in captured]
    assert len(sent) > len(KEYS[name])
    assert not [sql for sql in sent if "OFFSET" in sql]
    assert not [sql for sql in sent if "COUNT(" in sql and "LIMIT 2" not in sql]
