from __future__ import annotations

from pathlib import Path

from django_runbook.journal import JOURNAL_FILE, Event, Journal, unfinished_ids


def write(folder: Path, name: str, *events: Event) -> Path:
    (folder / name).mkdir()
    path = folder / name / JOURNAL_FILE
    with Journal(path) as journal:
        opened = {
            "run": name,
            "runbook": "r",
            "covers": [],
            "alias": "default",
            "database": {},
            "applied": [],
            "steps": [],
        }
        journal.record(Event.OPENED, **opened)
        for event in events:
            journal.record(event)
    return path


def test_a_run_is_unfinished_until_it_is_closed_and_if_its_journal_cannot_tell(tmp_path: Path) -> None:
    write(tmp_path, "started")
    write(tmp_path, "finished", Event.FINISHED)
    write(tmp_path, "undone", Event.UNDONE)
    damaged = write(tmp_path, "damaged", Event.FINISHED)
    damaged.write_bytes(damaged.read_bytes().replace(b"finished", b"Finished"))
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / JOURNAL_FILE).touch()
    assert unfinished_ids(tmp_path) == {"started", "damaged", "empty"}
