"""Users of a test's database who may do little."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connections

from django_runbook.databases import Database

PASSWORD = "little"


@contextmanager
def connected_as(database: Database, user: str) -> Iterator[Database]:
    """Within the block, Django's connection is another user's."""
    settings = connections.settings[database.alias]
    before = {name: settings[name] for name in ("USER", "PASSWORD")}
    _forget(database)
    settings.update(USER=user, PASSWORD=PASSWORD)
    try:
        yield database
    finally:
        _forget(database)
        settings.update(before)


def _forget(database: Database) -> None:
    """Also a connection that a failed schema editor has left in its transaction."""
    database.connection.close()
    if database.connection.connection is not None:
        database.connection.connection.close()
    del connections[database.alias]


@contextmanager
def mariadb_user(database: Database, *grants: str) -> Iterator[str]:
    """A user with these grants: a list of rights for the whole database, or text with ON in it."""
    user = f"u{database.name[-8:]}"
    pattern = database.name.replace("_", "\\_")
    database.ask_nothing(f"CREATE USER {user}@'%' IDENTIFIED BY '{PASSWORD}'")
    try:
        for grant in grants:
            place = "" if " ON " in grant else f" ON `{pattern}`.*"
            database.ask_nothing(f"GRANT {grant}{place} TO {user}@'%'")
        yield user
    finally:
        database.ask_nothing(f"DROP USER {user}@'%'")


@contextmanager
def postgresql_user(database: Database, *statements: str) -> Iterator[str]:
    """A role after these statements, in which {user} is its name."""
    user = f"u{database.name[-8:]}"
    database.ask_nothing(f"CREATE ROLE {user} LOGIN PASSWORD '{PASSWORD}'")
    try:
        for statement in statements:
            database.ask_nothing(statement.format(user=user))
        yield user
    finally:
        database.ask_nothing(f"REASSIGN OWNED BY {user} TO CURRENT_USER")
        database.ask_nothing(f"DROP OWNED BY {user}")
        database.ask_nothing(f"DROP ROLE {user}")
