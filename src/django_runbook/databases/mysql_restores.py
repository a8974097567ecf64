"""A mark that stands in a database while a restore is not finished: there, no restore is all or nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from django.db import DatabaseError

if TYPE_CHECKING:
    from django_runbook.databases.mysql import MySQLDatabase

MARK = "django_runbook_restoring"
"""A table that no dump holds. In the database, where every machine sees it, and not in a file on this one."""


@contextmanager
def marked(database: MySQLDatabase) -> Iterator[None]:
    """Call the database incomplete in the block, and after it if it fails and has changed something."""
    if database.is_scratch:
        yield
        return
    again, before = bool(began(database)), database.objects()
    if not again:
        database.ask_nothing(f"CREATE TABLE {MARK} ENGINE=InnoDB AS SELECT UTC_TIMESTAMP() AS began")
    try:
        yield
    except BaseException:
        with suppress(DatabaseError):  # the server may be what failed
            if not again and database.objects() == before:
                _unmark(database)
        raise
    _unmark(database)


def began(database: MySQLDatabase) -> str:
    """When the restore began that did not end, in UTC; empty if there is none."""
    is_there = database.ask(
        "SELECT 1 FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = %s", [MARK]
    )
    if not is_there:
        return ""
    rows = database.ask(f"SELECT began FROM {MARK}")
    return f"{rows[0][0]:%Y-%m-%d %H:%M:%S}" if rows else "?"


def _unmark(database: MySQLDatabase) -> None:
    database.ask_nothing(f"DROP TABLE IF EXISTS {MARK}")
