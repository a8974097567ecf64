"""A small process that drops a scratch database when the one that made it was killed.

Beside it lies a note of the database, for what no process survives: the next scratch database looks for notes
that nobody holds any more.
"""

from __future__ import annotations

import fcntl
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from django.conf import settings
from django.db import DatabaseError

from django_runbook.conf import run_directory
from django_runbook.databases.base import Database
from django_runbook.exceptions import Refused, RunbookError

NOTES = "scratch"
"""Folder of the notes, in that of the runs."""
DONE = b"done"
WATCHING = """
import pickle, sys
todo = pickle.load(sys.stdin.buffer)
if sys.stdin.buffer.read() != todo["done"]:
    sys.path[:0] = todo["path"]
    from django.conf import settings
    settings.configure(DATABASES={"default": todo["settings"]}, USE_TZ=todo["use_tz"])
    import django
    django.setup()
    from pathlib import Path
    from django_runbook.databases import get_database
    get_database("default").drop_scratch(todo["name"])
    Path(todo["note"]).unlink(missing_ok=True)
"""


@contextmanager
def watched(database: Database, name: str) -> Iterator[None]:
    """Within the block, see to it that the scratch database `name` is dropped if this process is killed.

    What earlier ones could not see to is dropped first.
    """
    drop_forgotten(database)
    with _noted(database, name) as note, _watchdog(database, name, note):
        yield


def drop_forgotten(database: Database) -> list[str]:
    """Drop this database's scratch databases that no process sees to any more; return their names."""
    dropped = []
    for note in sorted(_folder().glob("*.json")):
        with suppress(OSError), note.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            forgotten = json.load(file)
            if forgotten["identity"] != database.identity:
                continue
            with suppress(DatabaseError, RunbookError):  # the next one tries again
                database.drop_scratch(forgotten["name"])
                note.unlink()
                dropped.append(forgotten["name"])
    return dropped


@contextmanager
def _noted(database: Database, name: str) -> Iterator[Path]:
    """A note on the disk before the database is made, locked as long as somebody sees to it."""
    folder = _folder()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    note = folder / f"{Path(name).name}.json"
    with open(os.open(note, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:  # noqa: PTH123
        fcntl.flock(file, fcntl.LOCK_EX)
        json.dump({"name": name, "identity": database.identity}, file)
        file.flush()
        os.fsync(file.fileno())
        try:
            yield note
        except Refused:
            note.unlink(missing_ok=True)
            raise
        note.unlink(missing_ok=True)


@contextmanager
def _watchdog(database: Database, name: str, note: Path) -> Iterator[None]:
    """Wait, in another process, for the end of this one, or for the word that all is well.

    In a session of its own, so that no Ctrl-C reaches it; what it needs comes through a pipe.
    """
    todo = {
        "settings": _settings(database),
        "name": name,
        "note": str(note),
        "done": DONE,
        "path": [entry for entry in sys.path if entry],
        "use_tz": settings.USE_TZ,
    }
    with subprocess.Popen(
        [sys.executable, "-c", WATCHING],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        pipe: IO[bytes] = process.stdin  # type: ignore[assignment]
        pickle.dump(todo, pipe)
        pipe.flush()
        try:
            yield
        finally:
            pipe.write(DONE)


def _settings(database: Database) -> dict[str, Any]:
    return {key: value for key, value in database.connection.settings_dict.items() if key != "TEST"}


def _folder() -> Path:
    return run_directory() / NOTES
