"""Dates that are zero, which MySQL and MariaDB keep until they copy the row."""

from __future__ import annotations

import pytest
from altering import TABLE, build, fails, found, plan_of, table_of
from django.db import models
from library import alter

from django_runbook.databases import Database
from django_runbook.preflight import Finding, Severity
from django_runbook.preflight.zero_dates import CHECK

on_mariadb = pytest.mark.parametrize("database", ["mariadb"], indirect=True)
BORN = table_of(age=models.IntegerField(null=True), born=models.DateField(null=True))
WIDER = alter("age", models.BigIntegerField(null=True))
STRICT = "STRICT_TRANS_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE"


def put_zero(database: Database, date: str, mode: str) -> None:
    database.ask_nothing("SET SESSION sql_mode = ''")
    database.ask_nothing(f"INSERT INTO {TABLE} (id, age, born) VALUES (1, 1, '{date}'), (2, 1, '2020-02-02')")
    database.ask_nothing(f"SET SESSION sql_mode = '{mode}'")


@on_mariadb
@pytest.mark.parametrize("date", ["0000-00-00", "2020-00-10"])
def test_dates_that_a_copy_refuses_are_named(database: Database, date: str):
    state = build(database, BORN)
    try:
        put_zero(database, date, STRICT)
        [finding] = found(CHECK, plan_of(BORN, WIDER), database)
        query = finding.hint.partition("\n")[2]
        assert finding == Finding(
            id="runbook.P413",
            severity=Severity.ERROR,
            message="library.0002_coming makes the server copy all rows of library_author, and its sql_mode "
            "refuses dates that are zero, as in '0000-00-00'. Rows with such a date: 1.",
            hint="Set them to NULL or to a real date before. This lists them all:\n" + query,
            subject=TABLE,
            examples=("id = 1",),
        )
        assert len(database.ask(query.rstrip(";"))) == 1
        assert fails(database, WIDER, state)
    finally:
        database.connection.close()


@on_mariadb
def test_zero_dates_are_silent_where_the_server_takes_them(database: Database):
    state = build(database, BORN)
    try:
        put_zero(database, "0000-00-00", "STRICT_TRANS_TABLES")
        assert found(CHECK, plan_of(BORN, WIDER), database) == []
        assert not fails(database, WIDER, state)
    finally:
        database.connection.close()


def test_real_dates_are_silent(database: Database):
    build(database, BORN)
    database.ask_nothing(f"INSERT INTO {TABLE} (id, age, born) VALUES (1, 1, '2020-02-02'), (2, 1, NULL)")
    assert found(CHECK, plan_of(BORN, WIDER), database) == []
