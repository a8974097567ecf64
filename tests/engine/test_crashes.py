"""A run that is killed at any point and resumed ends as if it had not been."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest
from django.core.management import call_command
from django.test import override_settings
from sampling import some_cases_in_ci
from voyage import (
    SAILORS,
    STEPS,
    UPGRADED,
    Killed,
    Voyage,
    killed_after_line,
    killed_around_note,
    killed_around_write,
    killed_in_batch,
)

from django_runbook.backfill_ledger import LedgerRange
from django_runbook.backfills.worker import Worker
from django_runbook.databases import Database
from django_runbook.engine import reopen_run
from django_runbook.exceptions import JournalDamaged, Refused, RunbookError
from django_runbook.journal import RunStatus, StepStatus
from django_runbook.runs import find_run
from django_runbook.steps import Backfill, Backup, Command, Migrate


@pytest.fixture
def voyage(database: Database, tmp_path: Path) -> Iterator[Voyage]:
    """A crew at the schema before its upgrade, and no other app."""
    with override_settings(INSTALLED_APPS=["django_runbook", "crew"], RUNBOOK={"DIR": tmp_path / "runs"}):
        call_command("migrate", "crew", "0001", database=database.alias, verbosity=0)
        with database.connection.cursor() as cursor:
            for name in SAILORS:
                cursor.execute("INSERT INTO crew_sailor (name, voyages) VALUES (%s, 0)", [name])
        yield Voyage(database)


LINES = 3 + 2 * len(STEPS) + 4
"""Opened, measured, finished; each step's start and end; progress of four steps."""
NOTES = 2 * len(STEPS) + 1
BATCHES = 4
WRITES = 4
"""Under way, prepared, the row set closed, finished."""


def test_an_uninterrupted_run_ends_upgraded(voyage: Voyage):
    voyage.run()
    assert voyage.outcome == UPGRADED
    assert voyage.state.status is RunStatus.FINISHED
    assert len(voyage.entries) >= LINES


@pytest.mark.parametrize("number", some_cases_in_ci(range(1, LINES)))
def test_a_run_killed_after_any_line_of_its_journal_ends_upgraded(voyage: Voyage, number: int):
    with pytest.raises(Killed):
        voyage.run(announce=killed_after_line(number))
    assert voyage.state.status is RunStatus.STARTED
    voyage.resume()
    assert voyage.outcome == UPGRADED


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("number", range(1, NOTES + 1))
@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_run_killed_around_any_note_in_the_ledger_ends_upgraded(voyage: Voyage, number: int, after: bool):
    with killed_around_note(number, after=after), pytest.raises(Killed):
        voyage.run()
    voyage.resume()
    assert voyage.outcome == UPGRADED


@pytest.mark.parametrize("number", range(1, BATCHES + 1))
def test_a_backfill_killed_in_any_batch_does_every_row_once(voyage: Voyage, number: int):
    with killed_in_batch(number), pytest.raises(Killed):
        voyage.run()
    voyage.resume()
    assert voyage.outcome == UPGRADED


@pytest.mark.parametrize("number", range(1, WRITES + 1))
def test_a_backfill_killed_around_any_word_about_itself_does_every_row_once(voyage: Voyage, number: int):
    with killed_around_write(number), pytest.raises(Killed):
        voyage.run()
    voyage.resume()
    assert voyage.outcome == UPGRADED


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_the_drill_sees_it_when_cursor_and_rows_do_not_commit_together(voyage: Voyage):
    with (
        patch.object(Worker, "_commit", _rows_before_cursor),
        killed_in_batch(3),
        pytest.raises(Killed),
    ):
        voyage.run()
    voyage.resume()
    assert max(visits for _name, _slug, visits in voyage.outcome["rows"]) == 2


def _rows_before_cursor(self: Worker, owned: LedgerRange, after: object, upto: object, count: int) -> None:
    self.task.batch(self.keys.between(after, upto))
    self.ledger.add_rows(owned, count)
    self._move(owned, upto, count)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_run_survives_being_killed_again_and_again(voyage: Voyage):
    for number in range(1, BATCHES + 3):
        with killed_in_batch(1), pytest.raises(Killed):
            voyage.run() if number == 1 else voyage.resume()
    voyage.resume()
    assert voyage.outcome == UPGRADED


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_step_that_raises_is_failed_and_mended_steps_go_on(voyage: Voyage):
    with pytest.raises(RunbookError, match="Step 'Command false' failed: false ended with exit code 1"):
        voyage.run([*STEPS[:-1], Command(["false"])])
    assert voyage.state.status is RunStatus.FAILED
    assert voyage.state.steps["7-command-false"].status is StepStatus.FAILED
    voyage.resume(STEPS)
    assert voyage.outcome == UPGRADED


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_editing_a_finished_step_is_refused(voyage: Voyage):
    with pytest.raises(RunbookError):
        voyage.run([*STEPS[:-1], Command(["false"])])
    edited = [Backup(), Migrate("crew", "0002"), Backfill(CountAgain), *STEPS[3:]]
    with pytest.raises(Refused, match="was edited, moved or removed after it had run"):
        voyage.resume(edited)
    assert voyage.state.status is RunStatus.FAILED


class CountAgain(Backfill):
    model = "crew.Sailor"
    fills = ("slug",)

    def batch(self, rows: object) -> None:
        raise AssertionError("never called")


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
class TestACommandThatWasKilled:
    steps = (Backup(), Migrate("crew", "0002"), Command(["true"]))

    @pytest.fixture(autouse=True)
    def _killed(self, voyage: Voyage):
        with pytest.raises(Killed):
            voyage.run(self.steps, announce=killed_after_line(8))
        assert voyage.state.steps["3-command-true"].status is StepStatus.IN_DOUBT

    def test_is_not_run_again_unless_the_operator_says_so(self, voyage: Voyage):
        with pytest.raises(Refused, match="is not declared repeatable"):
            voyage.resume(self.steps)
        assert voyage.state.steps["3-command-true"].attempts == 1
        voyage.resume(self.steps, run_again=True)
        assert voyage.state.steps["3-command-true"].attempts == 2

    def test_is_passed_over_if_the_operator_says_that_it_is_done(self, voyage: Voyage):
        voyage.resume(self.steps, assume_done=True)
        assert voyage.state.steps["3-command-true"].attempts == 1
        assert voyage.state.status is RunStatus.FINISHED


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_journal_that_lost_its_last_lines_is_refused(voyage: Voyage):
    with pytest.raises(Killed):
        voyage.run(announce=killed_after_line(9))
    path = find_run("", voyage.database).path
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-3]))
    with pytest.raises(JournalDamaged, match="lines are missing or were replaced"):
        voyage.resume()


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_database_that_was_replaced_meanwhile_is_refused(voyage: Voyage):
    with pytest.raises(Killed):
        voyage.run(announce=killed_after_line(9))
    with voyage.database.connection.cursor() as cursor:
        cursor.execute("DELETE FROM django_runbook_run")
    with pytest.raises(Refused, match="The database was replaced or restored since run"):
        voyage.resume()


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_run_of_another_database_is_refused(voyage: Voyage):
    with pytest.raises(Killed):
        voyage.run(announce=killed_after_line(9))
    path = find_run("", voyage.database).path
    with (
        patch.object(type(voyage.database), "identity", {"vendor": "sqlite", "name": "elsewhere"}),
        pytest.raises(Refused, match=r"worked on .* and database 'default' is now elsewhere"),
    ):
        reopen_run(path, voyage.database, lambda entry: None).__enter__()


def test_planning_writes_nothing(voyage: Voyage, tmp_path: Path):
    tables = voyage.database.connection.introspection.table_names()
    voyage.plan()
    assert voyage.database.connection.introspection.table_names() == tables
    assert not (tmp_path / "runs").exists()
