"""A backup that could only be checksummed is named before the run, with what would allow its proof."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from django.test import override_settings
from library import runbook, start
from looking import found_by
from restricted import connected_as, mariadb_user, postgresql_user

from django_runbook.databases import Database
from django_runbook.plan import make_plan
from django_runbook.preflight import Finding, Severity
from django_runbook.runbooks import OnFailure
from django_runbook.steps import Backup, Step, Verify

SERVERS = pytest.mark.parametrize("database", ["mariadb", "postgresql"], indirect=True)
RESTRICTED = {"mysql": lambda it: mariadb_user(it, "ALL"), "postgresql": postgresql_user}


@contextmanager
def without_rights(database: Database) -> Iterator[Database]:
    """As a user who may do all in this database, and create no other."""
    with RESTRICTED[database.connection.vendor](database) as user, connected_as(database, user) as it:
        yield it


def found(database: Database, *steps: Step) -> list[Finding]:
    return found_by("runbook.P124", database, make_plan(runbook(*steps), start()))


@SERVERS
def test_who_may_create_no_database_is_told_what_would_allow_it(database: Database) -> None:
    with without_rights(database):
        [finding] = found(database, Backup(), Verify())
        assert finding.severity is Severity.WARNING
        assert database.refuses_scratch() in finding.message
        assert found(database, Verify()) == []


@SERVERS
def test_a_proof_that_is_demanded_and_cannot_be_given_is_an_error(database: Database) -> None:
    with without_rights(database), override_settings(RUNBOOK={"BACKUP": {"LEVEL": "proven"}}):
        [finding] = found(database, Backup(), Verify())
        assert finding.severity is Severity.ERROR


@SERVERS
def test_who_has_chosen_less_is_not_told_again(database: Database) -> None:
    with without_rights(database), override_settings(RUNBOOK={"BACKUP": {"LEVEL": "checksummed"}}):
        assert found(database, Backup(), Verify()) == []


def test_nothing_is_said_where_a_scratch_database_may_be_created(database: Database) -> None:
    assert found(database, Backup(), Verify()) == []


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_restore_on_failure_of_a_backup_that_only_others_can_open_is_an_error(database: Database) -> None:
    key = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"
    plan = replace(make_plan(runbook(Backup(), Verify()), start()), on_failure=OnFailure.RESTORE)
    assert found_by("runbook.P124", database, plan) == []
    with override_settings(RUNBOOK={"BACKUP": {"RECIPIENTS": [key]}}):
        [finding] = found_by("runbook.P124", database, plan)
    assert finding.severity is Severity.ERROR
    assert finding.message == (
        'The runbook says on_failure = "restore", and its backup will be encrypted: '
        "this machine cannot open it."
    )
