"""Empty databases, where the tests find them, and servers that are not there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import pytest
from django.db import connections
from private_server import PrivateServer

from django_runbook.databases import Database, get_database

ALIASES = {"sqlite": "default", "mariadb": "mariadb", "postgresql": "postgresql"}
"""Each kind of database and its alias in tests/settings.py."""

missing_servers = pytest.StashKey[dict[str, str]]()


@contextmanager
def empty_database(server: PrivateServer) -> Iterator[dict[str, Any]]:
    """Create a database on the server, give the settings that reach it, and drop it."""
    name = f"test_{uuid4().hex[:12]}"
    server.create_database(name)
    try:
        yield {
            "HOST": server.host,
            "PORT": str(server.port),
            "USER": server.user,
            "PASSWORD": server.password,
            "NAME": name,
        }
    finally:
        server.drop_database(name)


@contextmanager
def pointed_at(alias: str, place: dict[str, Any]) -> Iterator[Database]:
    """Point an alias at a place with a new connection, and put everything back."""
    settings = connections.settings[alias]
    before = dict(settings)
    settings.update(place)
    try:
        yield get_database(alias)
    finally:
        connections[alias].close()
        del connections[alias]
        settings.clear()
        settings.update(before)


def report_missing(config: pytest.Config, kind: str, why: str) -> None:
    """Skip the test and remember the server's name; in CI, where all must be there, fail."""
    if os.environ.get("CI"):
        pytest.fail(f"No {kind}: {why}")
    config.stash.setdefault(missing_servers, {})[kind] = why
    pytest.skip(f"no {kind}")
