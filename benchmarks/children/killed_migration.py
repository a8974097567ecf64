"""Apply core 0033 of the example in this process, and be killed at a given point of it; for crash_points.py.

    python killed_migration.py plain|runbook POINT     point 0 is none; prints the points passed and a digest

A point is right after a statement that changes the schema, or after the commit of a transaction with one.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import django

sys.path.insert(0, str(Path.cwd()))
sys.path.insert(0, str(Path(__file__).parent.parent.parent / "tests"))
django.setup()

from canonical import SCHEMA
from django.core.management import call_command

from django_runbook.databases import Database, get_database
from django_runbook.ledger import TABLE_PREFIX, Ledger
from django_runbook.schema.executor import apply
from django_runbook.schema.history import History
from django_runbook.schema.states import applied_migrations

TARGET = ("core", "0033_sous_direction")
CHANGES_SCHEMA = re.compile(r"\s*(?:/\*.*?\*/\s*)?(CREATE|ALTER|DROP|RENAME)\b", re.IGNORECASE | re.DOTALL)
PATIENCE = timedelta(seconds=30)
"""For the session of the process that was killed before: it goes on until the server has noticed."""


class Points:
    """Counts the points, and kills this process at one."""

    def __init__(self, connection: Any, kill_at: int) -> None:
        self.kill_at = kill_at
        self.passed = 0
        self.uncommitted = False
        self.commit = connection.commit
        connection.commit = self.watch_commit
        connection.execute_wrappers.append(self.watch_statement)

    def watch_statement(
        self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any
    ) -> Any:
        result = execute(sql, params, many, context)
        if CHANGES_SCHEMA.match(sql) and TABLE_PREFIX not in sql:
            self.uncommitted = context["connection"].in_atomic_block
            self.point()
        return result

    def watch_commit(self) -> None:
        self.commit()
        if self.uncommitted:
            self.uncommitted = False
            self.point()

    def point(self) -> None:
        self.passed += 1
        if self.passed == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)


def plain(database: Database) -> None:
    call_command("migrate", *TARGET, verbosity=0, interactive=False)


def runbook(database: Database) -> None:
    with database.lock(PATIENCE):
        Ledger(database.connection).ensure()
        history = History.load(database.connection)
        keys = history.path(TARGET, applied_migrations(database.connection))
        apply(database, keys, run_id="crash-points", progress=nothing, safe_point=nothing)


def nothing(*args: Any, **kwargs: Any) -> None:
    """Nobody looks at the progress, and nobody interrupts."""


def digest(database: Database) -> str:
    """Of the schema, every row, and the migrations recorded; the ledger's tables are there in either way."""
    Ledger(database.connection).ensure()
    tables = [name for name in database.row_counts() if not name.startswith(TABLE_PREFIX)]
    schema = SCHEMA[database.connection.vendor](database, tables)
    migrations = sorted(database.ask("SELECT app, name FROM django_migrations"))
    tables.remove("django_migrations")
    rows = [sorted(map(repr, database.ask(f"SELECT * FROM {database.quote(it)}"))) for it in tables]
    return hashlib.sha256(json.dumps([schema, migrations, rows], default=str).encode()).hexdigest()


WAYS: dict[str, Callable[[Database], None]] = {"plain": plain, "runbook": runbook}

if __name__ == "__main__":
    database = get_database("default")
    points = Points(database.connection, kill_at=int(sys.argv[2]))
    WAYS[sys.argv[1]](database)
    print(json.dumps({"points": points.passed, "digest": digest(database)}))
