"""A server whose clock is far from this machine's is named."""

from __future__ import annotations

import time

import pytest
from looking import found_by

from django_runbook.databases import Database
from django_runbook.preflight import Finding, Severity
from django_runbook.preflight import clock as clock_check

ON_SERVERS = pytest.mark.parametrize("database", ["mariadb", "postgresql"], indirect=True)


def at(offset: float, monkeypatch: pytest.MonkeyPatch) -> None:
    class Clock:
        @staticmethod
        def time() -> float:
            return time.time() + offset

    monkeypatch.setattr(clock_check, "time", Clock)


@ON_SERVERS
@pytest.mark.parametrize(("offset", "words"), [(-90.0, "ahead of"), (90.0, "behind")])
def test_clocks_that_differ_by_more_than_seconds_are_named(
    database: Database, monkeypatch: pytest.MonkeyPatch, offset: float, words: str
) -> None:
    at(offset, monkeypatch)
    [finding] = found_by("runbook.P117", database)
    assert finding == Finding(
        id="runbook.P117",
        severity=Severity.WARNING,
        message=f"The clock of the server of database '{database.alias}' is {finding.message.split()[9]} s "
        f"{words} this machine's.",
        hint="Set both by NTP (`timedatectl` shows whether that is on); the run's journal has this "
        "machine's.",
    )
    assert finding.message.split()[9] in ("89", "90")


@ON_SERVERS
@pytest.mark.parametrize("offset", [-4.0, 0.0, 4.0])
def test_clocks_a_few_seconds_apart_are_not(
    database: Database, monkeypatch: pytest.MonkeyPatch, offset: float
) -> None:
    at(offset, monkeypatch)
    assert found_by("runbook.P117", database) == []


@ON_SERVERS
def test_the_sessions_time_zone_does_not_matter(database: Database) -> None:
    database.ask_nothing("SET time_zone = '+05:00'" if database.alias == "mariadb" else "SET TIME ZONE 5")
    assert found_by("runbook.P117", database) == []
