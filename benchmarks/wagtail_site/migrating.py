"""Migrate the site's empty database in one of two ways, in a process of its own: `python -m … plain|runbook`.

Prints the seconds, those of this process on the processor, and a digest of the schema that it ended with, as
JSON. Django is set up before.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import django

django.setup()

from canonical import SCHEMA
from django.core.management import call_command

from django_runbook.databases import Database, get_database
from django_runbook.ledger import TABLE_PREFIX, Ledger
from django_runbook.schema.executor import apply
from django_runbook.schema.history import History

NO_PATIENCE = timedelta(0)
RUN = "bench"


def nothing(*args: Any, **kwargs: Any) -> None:
    """Nobody looks at the progress, and nobody interrupts."""


def plain(database: Database) -> None:
    call_command("migrate", verbosity=0, interactive=False, skip_checks=True)


def runbook(
    database: Database, patience: timedelta = NO_PATIENCE, waiting: Callable[[str], None] = nothing
) -> None:
    """As the step `Migrate.all()` does within a run: under the lock, with a ledger, which is made too."""
    with database.lock(patience, waiting):
        Ledger(database.connection).ensure()
        keys = History.load(database.connection).pending(frozenset())
        apply(database, keys, run_id=RUN, progress=nothing, safe_point=nothing)


def digest(database: Database) -> str:
    """Of the whole schema, the migrations recorded, and how many rows each table has.

    The rows themselves have random values in them, and the time of now.
    """
    Ledger(database.connection).ensure()  # after the plain way too: its tables are in the schema
    counts = {name: n for name, n in database.row_counts().items() if not name.startswith(TABLE_PREFIX)}
    tables = [name for name in counts if name != "django_migrations"]
    schema = SCHEMA[database.connection.vendor](database, tables)
    migrations = database.ask("SELECT app, name FROM django_migrations ORDER BY id")
    text = json.dumps([schema, migrations, sorted(counts.items())], default=str)
    return hashlib.sha256(text.encode()).hexdigest()


WAYS: dict[str, Callable[[Database], None]] = {"plain": plain, "runbook": runbook}

if __name__ == "__main__":
    database = get_database("default")
    database.connection.ensure_connection()
    began, cpu_began = time.perf_counter(), time.process_time()
    WAYS[sys.argv[1]](database)
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu_began
    print(json.dumps({"seconds": seconds, "cpu_seconds": cpu_seconds, "digest": digest(database)}))
