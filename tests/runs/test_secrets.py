"""The database's password: on no command line while anything runs, and in nothing that is left."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread
from urllib.parse import quote

import pytest
from drill import at_start, runbook, write_runbook
from example_project import Project

INTERVAL = 0.01


@contextmanager
def watched_command_lines() -> Iterator[set[bytes]]:
    """Collect those of all processes of the machine, as anyone can read them, while the block lasts."""
    seen: set[bytes] = set()
    over = Event()

    def watch() -> None:
        while not over.wait(INTERVAL):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                with suppress(OSError):
                    seen.add(path.read_bytes())

    thread = Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


@pytest.mark.parametrize(
    ("kind", "programs"),
    [
        ("mariadb", ["mariadb-dump", "mariadb"]),
        ("postgresql", ["pg_dump", "psql"]),
    ],
)
def test_the_password_is_nowhere(
    make_project: Callable[[str], Project], kind: str, programs: list[str]
) -> None:
    project = at_start(make_project(kind))
    write_runbook(project, "sous_directions", "Backup()", "Migrate.all()", 'Command(["false"])')
    said = []
    with watched_command_lines() as seen:
        for words, exit in (
            (["rehearse", "sous_directions"], 0),
            (["run", "sous_directions"], 1),
            (["restore", "--noinput"], 0),
            (["status", "--format", "json"], 0),
        ):
            ended = runbook(project, *words, exit=exit)
            said += [ended.stdout, ended.stderr]
        time.sleep(2 * INTERVAL)
    assert {Path(line.split(b"\0")[0].decode()).name for line in seen}.issuperset(programs)
    password = project.place.server.password
    for form in {password, quote(password, safe="")}:
        assert not [line for line in seen if form.encode() in line]
        assert not [text for text in said if form in text]
        files = [path for path in (project.folder / "var").rglob("*") if path.is_file()]
        assert len(files) > 5
        assert not [path for path in files if form.encode() in path.read_bytes()]
