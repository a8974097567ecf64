"""What is found of a migration graph, what Django says of it, and records of what was never run."""

from __future__ import annotations

from django.core.management import call_command
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from looking import situation

from django_runbook.databases import Database
from django_runbook.preflight import Finding


def record(database: Database, *names: str) -> None:
    """Write into the record, as in "zoo.0001_initial", what was never run."""
    recorder = MigrationRecorder(database.connection)
    recorder.ensure_schema()
    for name in names:
        recorder.record_applied(*name.split(".", 1))


def run(database: Database, sql: str) -> None:
    for statement in filter(str.strip, sql.split(";")):
        database.ask_nothing(statement)


def migrate(database: Database, *target: str) -> None:
    call_command("migrate", *target, database=database.alias, verbosity=0)


def found(database: Database) -> list[Finding]:
    """What is found of the graph."""
    return [it for it in situation(database) if it.id.startswith("runbook.P2")]


def in_short(database: Database) -> list[tuple[str, str, str]]:
    return [(it.id.removeprefix("runbook."), it.severity.value, it.subject) for it in found(database)]


def django_says(database: Database) -> str:
    """The name of the error with which Django refuses to migrate; empty if it would not."""
    try:
        loader = MigrationLoader(database.connection)
        loader.check_consistent_history(database.connection)
    except Exception as error:  # whatever it is
        return type(error).__name__
    return "CommandError" if loader.detect_conflicts() else ""
