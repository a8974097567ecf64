"""The run journal: append-only, chained, and honest about what it does not know."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from django_runbook.exceptions import JournalDamaged, JournalUnwritable, LockHeld
from django_runbook.journal import (
    FOLDS,
    Event,
    Journal,
    RunStatus,
    StepStatus,
    is_held,
    read_journal,
    replay,
)

STEPS = [
    {"key": f"{number}-{word}", "title": word, "reason": "", "fingerprint": word}
    for number, word in enumerate(["backup", "migrate"], start=1)
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.jsonl"


@contextmanager
def opened(path: Path) -> Iterator[Journal]:
    with Journal(path, secrets=["s3cr:t/"]) as journal:
        journal.record(Event.OPENED, **opening())
        yield journal


def opening() -> dict[str, Any]:
    return {
        "run": "r1",
        "runbook": "core.release",
        "covers": ["core.release"],
        "alias": "default",
        "database": {"vendor": "sqlite", "name": "db"},
        "server": "SQLite 3",
        "applied": [["core", "0001"]],
        "steps": STEPS,
    }


def test_what_was_recorded_is_read_back_as_the_same_state(path: Path):
    with opened(path) as journal:
        journal.record(Event.STARTED, "1-backup")
        journal.record(Event.SUCCEEDED, "1-backup", backup="/b/manifest.json")
        journal.record(Event.STARTED, "2-migrate")
        state = journal.state
    assert replay(read_journal(path)) == state
    assert state.steps["1-backup"].status is StepStatus.SUCCEEDED
    assert state.steps["2-migrate"].status is StepStatus.IN_DOUBT
    assert state.status is RunStatus.STARTED
    assert state.backup == "/b/manifest.json"
    assert state.applied == frozenset({("core", "0001")})


def test_every_prefix_of_a_journal_can_be_replayed(path: Path):
    with opened(path) as journal:
        for event in (Event.STARTED, Event.PROGRESS, Event.SUCCEEDED):
            journal.record(event, "1-backup")
        journal.record(Event.STARTED, "2-migrate")
        journal.record(Event.FAILED, "2-migrate", error="no", kind="E")
        journal.record(Event.RESUMED, steps=STEPS)
        journal.record(Event.STARTED, "2-migrate")
        journal.record(Event.SUCCEEDED, "2-migrate")
        journal.record(Event.FINISHED)
    entries = read_journal(path)
    statuses = [replay(entries[:count]).status for count in range(1, len(entries) + 1)]
    assert statuses[5] is RunStatus.FAILED
    assert statuses[6] is RunStatus.STARTED
    assert statuses[-1] is RunStatus.FINISHED
    assert replay(entries).steps["2-migrate"].attempts == 2


@pytest.mark.parametrize("cut", range(1, 40, 7))
def test_a_torn_last_line_is_dropped_and_the_journal_goes_on(path: Path, cut: int):
    with opened(path) as journal:
        journal.record(Event.STARTED, "1-backup")
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    with Journal(path) as journal:
        assert len(journal.entries) == 1
        journal.record(Event.STARTED, "1-backup")
    assert len(read_journal(path)) == 2


def test_any_changed_byte_is_noticed(path: Path):
    with opened(path) as journal:
        journal.record(Event.STARTED, "1-backup")
        journal.record(Event.FINISHED)
    whole = path.read_bytes()
    for at in range(0, len(whole) - 1, 3):
        damaged = bytearray(whole)
        damaged[at] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(JournalDamaged):
            read_journal(path)


def test_a_removed_line_is_noticed_and_named(path: Path):
    with opened(path) as journal:
        journal.record(Event.STARTED, "1-backup")
        journal.record(Event.SUCCEEDED, "1-backup")
    first, _second, third = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + third)
    with pytest.raises(JournalDamaged, match=r"Line 2 of .* does not follow from the lines before it"):
        read_journal(path)


def test_secrets_never_reach_the_file(path: Path):
    with opened(path) as journal:
        journal.record(Event.STARTED, "1-backup")
        journal.record(Event.FAILED, "1-backup", error="login with s3cr:t/ failed", kind=["s3cr%3At%2F"])
    assert b"s3cr" not in path.read_bytes()
    assert json.loads(path.read_bytes().splitlines()[-1])["facts"]["error"] == "login with *** failed"


def test_the_file_is_private(path: Path):
    with opened(path):
        pass
    assert path.stat().st_mode & 0o777 == 0o600


def test_two_processes_cannot_write_one_journal(path: Path):
    with opened(path):
        assert is_held(path)
        with pytest.raises(LockHeld), Journal(path):
            pass
    assert not is_held(path)


def test_a_line_that_cannot_be_written_stops_the_run_and_leaves_the_file_whole(
    path: Path, monkeypatch: pytest.MonkeyPatch
):
    with opened(path) as journal:
        before = path.read_bytes()
        monkeypatch.setattr(os, "write", lambda file, line: _half(file, line))
        with pytest.raises(JournalUnwritable, match="No space left on device"):
            journal.record(Event.STARTED, "1-backup")
        monkeypatch.undo()
        assert path.read_bytes() == before
        journal.record(Event.STARTED, "1-backup")
    assert len(read_journal(path)) == 2


def _half(file: int, line: bytes) -> int:
    """What a disk that fills up does."""
    with os.fdopen(os.dup(file), "ab", buffering=0) as half:
        return half.write(line[: len(line) // 2])


def test_the_clock_is_the_one_it_was_given(path: Path):
    noon = datetime(2026, 11, 22, 12, tzinfo=UTC)
    with Journal(path, now=lambda: noon) as journal:
        journal.record(Event.OPENED, **opening())
    assert read_journal(path)[0].at == noon


def test_facts_of_any_name_and_type_can_be_recorded(path: Path):
    with opened(path) as journal:
        journal.record(Event.STARTED, "1-backup")
        journal.record(
            Event.SUCCEEDED, "1-backup", event="fair", step=path, seq=datetime(2026, 1, 1, tzinfo=UTC)
        )
    facts = read_journal(path)[-1].facts
    assert facts == {"event": "fair", "step": str(path), "seq": "2026-01-01 00:00:00+00:00"}


def test_every_event_has_a_fold():
    assert set(FOLDS) == set(Event)


def test_a_journal_that_opens_no_run_is_damaged():
    with pytest.raises(JournalDamaged, match="does not begin with the opening of a run"):
        replay([])
