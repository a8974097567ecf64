"""What every table was before a run: a file in the run's folder, which no restore rewinds."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path

from django_runbook.databases import Database
from django_runbook.files import new_files

DEFINITIONS_FILE = "schema-before.json"


def save_definitions(folder: Path, database: Database) -> None:
    """Write down the definition of every table."""
    with new_files(folder / DEFINITIONS_FILE) as (file,):
        file.write(json.dumps(database.all_definitions(), indent=1, ensure_ascii=False).encode())


def load_definitions(folder: Path) -> dict[str, str]:
    """What `save_definitions` wrote; empty if the run was opened and did not come so far."""
    path = folder / DEFINITIONS_FILE
    return dict(json.loads(path.read_text())) if path.exists() else {}


def changed_tables(database: Database, before: Mapping[str, str], made: Collection[str]) -> list[str]:
    """Names of tables whose definition is not what it was, in more than the order of keys and the like.

    A table that was not there before counts if it is one of `made`; others may make what they like.
    """
    now = database.all_definitions()
    new = [name for name in now if name not in before and name in made]
    gone = [name for name in before if name not in now]
    other = [
        name
        for name in before.keys() & now.keys()
        if database.shape(now[name]) != database.shape(before[name])
    ]
    return sorted([*new, *gone, *other])
